SELECT value, bucket_ms, cost_picos, inline_picos, unknown_count
FROM budget_buckets
WHERE budget = $1 AND value = $2 AND bucket_ms >= $3 AND bucket_ms < $4
ORDER BY bucket_ms
