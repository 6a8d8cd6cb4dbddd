-- $1: spans. $2 to $7: whether to group by a dimension. $8 to $13: the value it must have, NULL for any.
-- Whole dollars and the rest are added apart, as 64 bits of pico-dollars end at 9.2 million dollars.
SELECT
    CAST(span.key AS BIGINT) AS span,
    CASE WHEN $2 THEN b.app END AS app,
    CASE WHEN $3 THEN b.key_name END AS key_name,
    CASE WHEN $4 THEN b.model END AS model,
    CASE WHEN $5 THEN b.provider END AS provider,
    CASE WHEN $6 THEN b.endpoint END AS endpoint,
    CASE WHEN $7 THEN CASE WHEN b.is_byok THEN 'true' ELSE 'false' END END AS is_byok,
    CAST(SUM(b.completions) AS BIGINT) AS completions,
    CAST(SUM(b.failures) AS BIGINT) AS failures,
    CAST(SUM(b.unknown) AS BIGINT) AS unknown,
    CAST(SUM(b.inline_completions) AS BIGINT) AS inline_completions,
    CAST(SUM(b.tokens_prompt) AS BIGINT) AS tokens_prompt,
    CAST(SUM(b.tokens_completion) AS BIGINT) AS tokens_completion,
    CAST(SUM(b.native_tokens_prompt) AS BIGINT) AS native_tokens_prompt,
    CAST(SUM(b.native_tokens_completion) AS BIGINT) AS native_tokens_completion,
    CAST(SUM(b.native_tokens_reasoning) AS BIGINT) AS native_tokens_reasoning,
    CAST(SUM(b.native_tokens_cached) AS BIGINT) AS native_tokens_cached,
    CAST(SUM(b.cost_picos / 1000000000000) AS BIGINT) AS cost_usd,
    CAST(SUM(b.cost_picos % 1000000000000) AS BIGINT) AS cost_picos,
    CAST(SUM(b.inline_picos / 1000000000000) AS BIGINT) AS inline_usd,
    CAST(SUM(b.inline_picos % 1000000000000) AS BIGINT) AS inline_picos,
    CAST(SUM(b.charged_picos / 1000000000000) AS BIGINT) AS charged_usd,
    CAST(SUM(b.charged_picos % 1000000000000) AS BIGINT) AS charged_picos,
    CAST(SUM(b.cache_discount_picos / 1000000000000) AS BIGINT) AS cache_discount_usd,
    CAST(SUM(b.cache_discount_picos % 1000000000000) AS BIGINT) AS cache_discount_picos
FROM json_each($1) AS span
CROSS JOIN spend_buckets AS b
WHERE b.bucket_ms >= CAST(span.value ->> 'since' AS BIGINT)
    AND b.bucket_ms < CAST(span.value ->> 'until' AS BIGINT)
    AND (CAST($8 AS TEXT) IS NULL OR b.app = $8)
    AND (CAST($9 AS TEXT) IS NULL OR b.key_name = $9)
    AND (CAST($10 AS TEXT) IS NULL OR b.model = $10)
    AND (CAST($11 AS TEXT) IS NULL OR b.provider = $11)
    AND (CAST($12 AS TEXT) IS NULL OR b.endpoint = $12)
    AND (CAST($13 AS TEXT) IS NULL OR CASE WHEN b.is_byok THEN 'true' ELSE 'false' END = $13)
GROUP BY 1, 2, 3, 4, 5, 6, 7
