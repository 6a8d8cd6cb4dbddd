-- How many calls there are from $1 until before $2, counted up to $3.
SELECT COUNT(*) FROM (SELECT 1 FROM calls WHERE created_ms >= $1 AND created_ms < $2 LIMIT $3) AS counted
