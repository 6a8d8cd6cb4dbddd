SELECT spend_buckets.*
FROM spend_buckets
WHERE bucket_ms >= $1 AND bucket_ms < $2
