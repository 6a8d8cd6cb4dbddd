-- How often each value was measured. $1 to $26: as in rollups/by_row. $27: which value, `latency`, `first_byte` or `speed`
-- (thousandths of tokens a second), as in `domain::rollup::Timing`.
SELECT
    span, app, key_name, model, provider, endpoint, is_byok, end_user, session, requested_model, state, error_type, tag,
    value,
    COUNT(*) AS count
FROM (
    SELECT
        CAST(span.key AS BIGINT) AS span,
        CASE WHEN $2 THEN COALESCE(c.app, '') END AS app,
        CASE WHEN $3 THEN COALESCE(c.key_name, '') END AS key_name,
        CASE WHEN $4 THEN COALESCE(c.model, '') END AS model,
        CASE WHEN $5 THEN COALESCE(c.provider, '') END AS provider,
        CASE WHEN $6 THEN COALESCE(c.endpoint, '') END AS endpoint,
        CASE WHEN $7 THEN CASE WHEN c.is_byok THEN 'true' ELSE 'false' END END AS is_byok,
        CASE WHEN $8 THEN COALESCE(c.end_user, '') END AS end_user,
        CASE WHEN $9 THEN COALESCE(c.session, '') END AS session,
        CASE WHEN $10 THEN COALESCE(c.requested_model, '') END AS requested_model,
        CASE WHEN $11 THEN c.state END AS state,
        CASE WHEN $12 THEN COALESCE(c.error_type, '') END AS error_type,
        CASE
            WHEN CAST($24 AS TEXT) IS NOT NULL THEN COALESCE((
                SELECT tag.value FROM usage_tags AS tag WHERE tag.call_id = c.call_id AND tag.name = $24
            ), '')
        END AS tag,
        CASE CAST($27 AS TEXT)
            WHEN 'latency' THEN c.latency_ms
            WHEN 'first_byte' THEN c.first_byte_ms
            ELSE CASE
                WHEN c.generation_time_ms > 0 AND c.native_tokens_completion > 0
                    THEN c.native_tokens_completion * 1000000 / c.generation_time_ms
            END
        END AS value
    FROM json_each($1) AS span
    CROSS JOIN calls AS c
    WHERE c.created_ms >= CAST(span.value ->> 'since' AS BIGINT)
        AND c.created_ms < CAST(span.value ->> 'until' AS BIGINT)
        AND c.state <> 'open'
        AND c.state <> 'failed'
        AND (CAST($13 AS TEXT) IS NULL OR COALESCE(c.app, '') = $13)
        AND (CAST($14 AS TEXT) IS NULL OR COALESCE(c.key_name, '') = $14)
        AND (CAST($15 AS TEXT) IS NULL OR COALESCE(c.model, '') = $15)
        AND (CAST($16 AS TEXT) IS NULL OR COALESCE(c.provider, '') = $16)
        AND (CAST($17 AS TEXT) IS NULL OR COALESCE(c.endpoint, '') = $17)
        AND (CAST($18 AS TEXT) IS NULL OR CASE WHEN c.is_byok THEN 'true' ELSE 'false' END = $18)
        AND (CAST($19 AS TEXT) IS NULL OR COALESCE(c.end_user, '') = $19)
        AND (CAST($20 AS TEXT) IS NULL OR COALESCE(c.session, '') = $20)
        AND (CAST($21 AS TEXT) IS NULL OR COALESCE(c.requested_model, '') = $21)
        AND (CAST($22 AS TEXT) IS NULL OR c.state = $22)
        AND (CAST($23 AS TEXT) IS NULL OR COALESCE(c.error_type, '') = $23)
        AND (
            CAST($25 AS TEXT) IS NULL
            OR EXISTS (
                SELECT 1 FROM usage_tags AS tag
                WHERE tag.call_id = c.call_id AND tag.name = $25 AND tag.value = $26
            )
        )
) AS timed
WHERE value >= 0
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14
