-- A sum beyond 64 bits becomes REAL here, and CAST holds it at the end of the range.
INSERT INTO spend_buckets (
    bucket_ms, app, key_name, model, provider, endpoint, is_byok, completions, failures, unknown,
    inline_completions, cost_picos, inline_picos, charged_picos, cache_discount_picos, tokens_prompt,
    tokens_completion, native_tokens_prompt, native_tokens_completion, native_tokens_reasoning,
    native_tokens_cached
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (bucket_ms, app, key_name, model, provider, endpoint, is_byok) DO UPDATE SET
    completions = CAST(spend_buckets.completions + excluded.completions AS BIGINT),
    failures = CAST(spend_buckets.failures + excluded.failures AS BIGINT),
    unknown = CAST(spend_buckets.unknown + excluded.unknown AS BIGINT),
    inline_completions = CAST(spend_buckets.inline_completions + excluded.inline_completions AS BIGINT),
    cost_picos = CAST(spend_buckets.cost_picos + excluded.cost_picos AS BIGINT),
    inline_picos = CAST(spend_buckets.inline_picos + excluded.inline_picos AS BIGINT),
    charged_picos = CAST(spend_buckets.charged_picos + excluded.charged_picos AS BIGINT),
    cache_discount_picos = CAST(spend_buckets.cache_discount_picos + excluded.cache_discount_picos AS BIGINT),
    tokens_prompt = CAST(spend_buckets.tokens_prompt + excluded.tokens_prompt AS BIGINT),
    tokens_completion = CAST(spend_buckets.tokens_completion + excluded.tokens_completion AS BIGINT),
    native_tokens_prompt = CAST(spend_buckets.native_tokens_prompt + excluded.native_tokens_prompt AS BIGINT),
    native_tokens_completion = CAST(spend_buckets.native_tokens_completion + excluded.native_tokens_completion AS BIGINT),
    native_tokens_reasoning = CAST(spend_buckets.native_tokens_reasoning + excluded.native_tokens_reasoning AS BIGINT),
    native_tokens_cached = CAST(spend_buckets.native_tokens_cached + excluded.native_tokens_cached AS BIGINT)
