-- $1: an hour before the day. $2, $3: the day. Sums by the key that made the rows; whole dollars and the rest apart.
SELECT
    key_sha256,
    key_name,
    CAST(COALESCE(SUM(CASE WHEN created_ms >= $2 THEN charged_picos / 1000000000000 END), 0) AS BIGINT) AS ours_usd,
    CAST(COALESCE(SUM(CASE WHEN created_ms >= $2 THEN charged_picos % 1000000000000 END), 0) AS BIGINT) AS ours_picos,
    CAST(COALESCE(MAX(CASE WHEN created_ms >= $2 THEN charged_picos END), 0) AS BIGINT) AS dearest_picos,
    CAST(COALESCE(SUM(
        CASE
            WHEN created_ms < $2 AND created_ms + COALESCE(duration_ms, generation_time_ms, 0) >= $2
                THEN charged_picos / 1000000000000
        END
    ), 0) AS BIGINT) AS over_usd,
    CAST(COALESCE(SUM(
        CASE
            WHEN created_ms < $2 AND created_ms + COALESCE(duration_ms, generation_time_ms, 0) >= $2
                THEN charged_picos % 1000000000000
        END
    ), 0) AS BIGINT) AS over_picos,
    CAST(SUM(CASE WHEN state = 'open' THEN 1 ELSE 0 END) AS BIGINT) AS open_count
FROM calls
WHERE created_ms >= $1 AND created_ms < $3
GROUP BY key_sha256, key_name
