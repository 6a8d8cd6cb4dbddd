-- The last calls of a session before a cursor, the latest first.
SELECT calls.*
FROM calls
WHERE session = $1 AND (created_ms, call_id) < ($2, $3) AND state <> 'open'
ORDER BY created_ms DESC, call_id DESC
LIMIT $4
