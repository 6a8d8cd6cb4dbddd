SELECT
    '' AS value,
    bucket_ms,
    CAST(SUM(cost_picos) AS BIGINT) AS cost_picos,
    CAST(SUM(inline_picos) AS BIGINT) AS inline_picos,
    CAST(SUM(unknown_count) AS BIGINT) AS unknown_count
FROM budget_buckets
WHERE budget = $1 AND bucket_ms >= $2 AND bucket_ms < $3
GROUP BY bucket_ms
ORDER BY bucket_ms
