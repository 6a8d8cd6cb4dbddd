SELECT calls.*
FROM calls
WHERE state <> 'open' AND (created_ms, call_id) > ($1, $2)
ORDER BY created_ms, call_id
LIMIT $3
