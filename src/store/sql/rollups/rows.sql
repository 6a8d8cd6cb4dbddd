-- $1: spans. The rows of each, with all that sums and timings are made of: src/store/rollups/rows.rs knows the order.
SELECT
    CAST(span.key AS BIGINT) AS span,
    c.app, c.key_name, c.model, c.provider, c.endpoint,
    CASE WHEN c.is_byok THEN 'true' ELSE 'false' END AS is_byok,
    c.end_user, c.session, c.requested_model, c.state, c.error_type, c.tags,
    c.cost_picos, c.charged_picos, c.cache_discount_picos,
    c.tokens_prompt, c.tokens_completion, c.native_tokens_prompt, c.native_tokens_completion,
    c.native_tokens_reasoning, c.native_tokens_cached,
    c.latency_ms, c.first_byte_ms, c.generation_time_ms
FROM json_each($1) AS span
CROSS JOIN calls AS c
WHERE c.created_ms >= CAST(span.value ->> 'since' AS BIGINT)
    AND c.created_ms < CAST(span.value ->> 'until' AS BIGINT)
    AND c.state <> 'open'
