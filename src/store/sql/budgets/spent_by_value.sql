SELECT
    value,
    CAST(COALESCE(SUM(cost_picos / 1000000000000), 0) AS BIGINT) AS cost_usd,
    CAST(COALESCE(SUM(cost_picos % 1000000000000), 0) AS BIGINT) AS cost_picos,
    CAST(COALESCE(SUM(inline_picos / 1000000000000), 0) AS BIGINT) AS inline_usd,
    CAST(COALESCE(SUM(inline_picos % 1000000000000), 0) AS BIGINT) AS inline_picos,
    CAST(COALESCE(SUM(unknown_count), 0) AS BIGINT) AS unknown_count
FROM budget_buckets
WHERE budget = $1 AND bucket_ms >= $2 AND bucket_ms < $3
GROUP BY value
