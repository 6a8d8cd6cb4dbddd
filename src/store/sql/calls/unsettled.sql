-- How many rows since $1 were given up, up to $2, and what their replies told of their costs.
SELECT
    COUNT(*) AS calls,
    CAST(COUNT(found.cost_picos) AS BIGINT) AS told,
    CAST(COALESCE(SUM(found.cost_picos / 1000000000000), 0) AS BIGINT) AS cost_usd,
    CAST(COALESCE(SUM(found.cost_picos % 1000000000000), 0) AS BIGINT) AS cost_picos
FROM (
    SELECT cost_picos FROM calls WHERE state = 'unsettled' AND created_ms >= $1 LIMIT $2
) AS found
