SELECT
    CAST(COALESCE(SUM(amount_picos / 1000000000000), 0) AS BIGINT) AS usd,
    CAST(COALESCE(SUM(amount_picos % 1000000000000), 0) AS BIGINT) AS picos
FROM budget_topups
WHERE budget = $1 AND at_ms >= $2 AND at_ms < $3
