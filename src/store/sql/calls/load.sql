SELECT calls.*
FROM calls
WHERE call_id IN (
    SELECT key FROM json_each($1)
    UNION
    SELECT known.call_id FROM calls AS known WHERE known.generation_id IN (SELECT key FROM json_each($2))
)
ORDER BY call_id
