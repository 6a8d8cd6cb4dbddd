-- The first calls of a session after a cursor, the earliest first.
SELECT calls.*
FROM calls
WHERE session = $1 AND (created_ms, call_id) > ($2, $3) AND state <> 'open'
ORDER BY created_ms, call_id
LIMIT $4
