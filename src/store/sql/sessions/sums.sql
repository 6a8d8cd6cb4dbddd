-- What the sessions $1 came to by what they name, each over its last $2 calls. Whole dollars and the rest are added apart.
SELECT
    c.session AS session,
    c.model AS model,
    c.app AS app,
    c.key_name AS key_name,
    c.end_user AS end_user,
    CAST(SUM(CASE WHEN c.state <> 'failed' THEN 1 ELSE 0 END) AS BIGINT) AS completions,
    CAST(SUM(CASE WHEN c.state = 'failed' THEN 1 ELSE 0 END) AS BIGINT) AS failures,
    CAST(SUM(CASE WHEN c.state <> 'failed' AND c.cost_picos IS NULL THEN 1 ELSE 0 END) AS BIGINT) AS unknown,
    CAST(SUM(CASE WHEN c.state <> 'failed' THEN COALESCE(c.cost_picos, 0) ELSE 0 END / 1000000000000) AS BIGINT) AS cost_usd,
    CAST(SUM(CASE WHEN c.state <> 'failed' THEN COALESCE(c.cost_picos, 0) ELSE 0 END % 1000000000000) AS BIGINT) AS cost_picos,
    MIN(c.created_ms) AS first_ms,
    MAX(c.created_ms + COALESCE(c.duration_ms, 0)) AS last_ms
FROM (
    SELECT
        wanted.key AS session,
        COALESCE((
            SELECT k.created_ms
            FROM calls AS k
            WHERE k.session = wanted.key
            ORDER BY k.created_ms DESC, k.call_id DESC
            LIMIT 1 OFFSET $2
        ), -1) AS after_ms
    FROM json_each($1) AS wanted
) AS asked
CROSS JOIN calls AS c
WHERE c.session = asked.session AND c.created_ms > asked.after_ms AND c.state <> 'open'
GROUP BY 1, 2, 3, 4, 5
