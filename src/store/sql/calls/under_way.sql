SELECT calls.*
FROM calls
WHERE under_way_in = $1 AND call_id > $2
ORDER BY call_id
LIMIT $3
