INSERT INTO spend_buckets (
    bucket_ms, app, key_name, model, provider, endpoint, is_byok, completions, failures, unknown,
    inline_completions, cost_picos, inline_picos, charged_picos, cache_discount_picos, tokens_prompt,
    tokens_completion, native_tokens_prompt, native_tokens_completion, native_tokens_reasoning,
    native_tokens_cached
)
SELECT
    bucket_ms, app, key_name, model, provider, endpoint, is_byok, completions, failures, unknown,
    inline_completions, cost_picos, inline_picos, charged_picos, cache_discount_picos, tokens_prompt,
    tokens_completion, native_tokens_prompt, native_tokens_completion, native_tokens_reasoning,
    native_tokens_cached
FROM json_populate_recordset(NULL::spend_buckets, $1)
ON CONFLICT (bucket_ms, app, key_name, model, provider, endpoint, is_byok) DO UPDATE SET
    completions = tallyd_add(spend_buckets.completions, excluded.completions),
    failures = tallyd_add(spend_buckets.failures, excluded.failures),
    unknown = tallyd_add(spend_buckets.unknown, excluded.unknown),
    inline_completions = tallyd_add(spend_buckets.inline_completions, excluded.inline_completions),
    cost_picos = tallyd_add(spend_buckets.cost_picos, excluded.cost_picos),
    inline_picos = tallyd_add(spend_buckets.inline_picos, excluded.inline_picos),
    charged_picos = tallyd_add(spend_buckets.charged_picos, excluded.charged_picos),
    cache_discount_picos = tallyd_add(spend_buckets.cache_discount_picos, excluded.cache_discount_picos),
    tokens_prompt = tallyd_add(spend_buckets.tokens_prompt, excluded.tokens_prompt),
    tokens_completion = tallyd_add(spend_buckets.tokens_completion, excluded.tokens_completion),
    native_tokens_prompt = tallyd_add(spend_buckets.native_tokens_prompt, excluded.native_tokens_prompt),
    native_tokens_completion = tallyd_add(spend_buckets.native_tokens_completion, excluded.native_tokens_completion),
    native_tokens_reasoning = tallyd_add(spend_buckets.native_tokens_reasoning, excluded.native_tokens_reasoning),
    native_tokens_cached = tallyd_add(spend_buckets.native_tokens_cached, excluded.native_tokens_cached)
