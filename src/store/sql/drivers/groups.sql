-- $1, $2: since and until. $3 to $9: LIKE patterns, NULL for any. $10 to $12: what a scope must see beside them.
SELECT
    app,
    key_name,
    provider,
    model,
    reply_model,
    permaslug,
    CASE WHEN $10 THEN end_user END AS end_user,
    CASE WHEN $11 THEN session END AS session,
    CASE WHEN $12 THEN tags END AS tags,
    CAST(SUM(cost_picos / 1000000000000) AS BIGINT) AS sum_usd,
    CAST(SUM(cost_picos % 1000000000000) AS BIGINT) AS sum_picos
FROM calls
WHERE created_ms >= $1
    AND created_ms < $2
    AND state NOT IN ('open', 'failed')
    AND cost_picos IS NOT NULL
    AND (CAST($3 AS TEXT) IS NULL OR app LIKE $3 ESCAPE '\')
    AND (CAST($4 AS TEXT) IS NULL OR key_name LIKE $4 ESCAPE '\')
    AND (CAST($5 AS TEXT) IS NULL OR end_user LIKE $5 ESCAPE '\')
    AND (CAST($6 AS TEXT) IS NULL OR session LIKE $6 ESCAPE '\')
    AND (CAST($7 AS TEXT) IS NULL OR provider LIKE $7 ESCAPE '\')
    AND (CAST($8 AS TEXT) IS NULL OR reply_model LIKE $8 ESCAPE '\' OR permaslug LIKE $8 ESCAPE '\')
    AND (CAST($9 AS TEXT) IS NULL OR tags LIKE $9 ESCAPE '\')
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
