-- All spend in hours that begin at $1, not at the clock's full hours. $2: the first instant after them. $3 to $5: the app,
-- key and model it must have, NULL for any.
SELECT
    (bucket_ms - $1) / 3600000 AS place,
    CAST(SUM(cost_picos / 1000000000000) AS BIGINT) AS cost_usd,
    CAST(SUM(cost_picos % 1000000000000) AS BIGINT) AS cost_picos
FROM spend_buckets
WHERE bucket_ms >= $1 AND bucket_ms < $2
    AND (CAST($3 AS TEXT) IS NULL OR app = $3)
    AND (CAST($4 AS TEXT) IS NULL OR key_name = $4)
    AND (CAST($5 AS TEXT) IS NULL OR model = $5)
GROUP BY 1
