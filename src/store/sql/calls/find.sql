SELECT calls.*
FROM calls
WHERE call_id = $1 OR generation_id = $1
LIMIT 1
