-- When the row was made that lies $5 rows further back than a cursor, by the index alone.
SELECT created_ms
FROM calls
WHERE created_ms >= $1 AND created_ms < $2 AND (created_ms, call_id) < ($3, $4)
ORDER BY created_ms DESC, call_id DESC
LIMIT 1 OFFSET $5
