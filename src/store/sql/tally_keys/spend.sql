-- Whole dollars and the rest apart, so that no sum overflows.
SELECT
    tally_key_id,
    CAST(SUM(CASE WHEN state <> 'failed' THEN 1 ELSE 0 END) AS BIGINT) AS completions,
    CAST(SUM(CASE WHEN state <> 'failed' AND cost_picos IS NULL THEN 1 ELSE 0 END) AS BIGINT) AS unknown,
    CAST(COALESCE(SUM(cost_picos / 1000000000000), 0) AS BIGINT) AS dollars,
    CAST(COALESCE(SUM(cost_picos % 1000000000000), 0) AS BIGINT) AS picos
FROM calls
WHERE tally_key_id IS NOT NULL
    AND tally_key_id IN (SELECT key FROM json_each($1))
    AND created_ms >= $2
    AND state <> 'open'
GROUP BY tally_key_id
