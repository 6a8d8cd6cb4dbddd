SELECT calls.*
FROM calls
WHERE job_id IN (SELECT key FROM json_each($1))
ORDER BY call_id
