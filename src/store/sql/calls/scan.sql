SELECT calls.*
FROM calls
WHERE state <> 'open' AND (created_ms, call_id) > ($1, $2) AND created_ms < $3
ORDER BY created_ms, call_id
LIMIT $4
