-- Spend of a budget in hours that begin at $2, not at the clock's full hours. $3: the first instant after them.
SELECT
    (bucket_ms - $2) / 3600000 AS place,
    CAST(SUM(cost_picos / 1000000000000) AS BIGINT) AS cost_usd,
    CAST(SUM(cost_picos % 1000000000000) AS BIGINT) AS cost_picos
FROM budget_buckets
WHERE budget = $1 AND bucket_ms >= $2 AND bucket_ms < $3
GROUP BY 1
