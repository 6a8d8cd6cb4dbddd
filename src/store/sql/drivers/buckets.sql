-- $1, $2: since and until, which buckets begin between. $3 to $5: LIKE patterns, NULL for any.
SELECT
    NULLIF(app, '') AS app,
    NULLIF(key_name, '') AS key_name,
    NULLIF(provider, '') AS provider,
    NULLIF(model, '') AS model,
    CAST(SUM(cost_picos / 1000000000000) AS BIGINT) AS sum_usd,
    CAST(SUM(cost_picos % 1000000000000) AS BIGINT) AS sum_picos
FROM spend_buckets
WHERE bucket_ms >= $1
    AND bucket_ms < $2
    AND (CAST($3 AS TEXT) IS NULL OR app LIKE $3 ESCAPE '\')
    AND (CAST($4 AS TEXT) IS NULL OR key_name LIKE $4 ESCAPE '\')
    AND (CAST($5 AS TEXT) IS NULL OR provider LIKE $5 ESCAPE '\')
GROUP BY 1, 2, 3, 4
