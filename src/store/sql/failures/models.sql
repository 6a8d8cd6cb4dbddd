-- $1: since. $2: most models.
SELECT DISTINCT model
FROM spend_buckets
WHERE model <> ''
    AND completions > 0
    AND bucket_ms >= $1
ORDER BY model
LIMIT $2
