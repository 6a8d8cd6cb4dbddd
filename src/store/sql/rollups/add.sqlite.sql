-- A count beyond 64 bits becomes REAL here, and CAST holds it at the end of the range. Pico-dollars are the rest beside whole
-- dollars (0 <= rest < 1 dollar), so what two of them carry is 0 or 1.
INSERT INTO spend_cells (
    whole, minutes, start_ms, series, completions, failures, unknown, inline_completions, tokens_prompt,
    tokens_completion, native_tokens_prompt, native_tokens_completion, native_tokens_reasoning,
    native_tokens_cached, cost_usd, cost_picos, inline_usd, inline_picos, charged_usd, charged_picos,
    cache_discount_usd, cache_discount_picos
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (whole, minutes, start_ms, series) DO UPDATE SET
    completions = CAST(spend_cells.completions + excluded.completions AS BIGINT),
    failures = CAST(spend_cells.failures + excluded.failures AS BIGINT),
    unknown = CAST(spend_cells.unknown + excluded.unknown AS BIGINT),
    inline_completions = CAST(spend_cells.inline_completions + excluded.inline_completions AS BIGINT),
    tokens_prompt = CAST(spend_cells.tokens_prompt + excluded.tokens_prompt AS BIGINT),
    tokens_completion = CAST(spend_cells.tokens_completion + excluded.tokens_completion AS BIGINT),
    native_tokens_prompt = CAST(spend_cells.native_tokens_prompt + excluded.native_tokens_prompt AS BIGINT),
    native_tokens_completion = CAST(spend_cells.native_tokens_completion + excluded.native_tokens_completion AS BIGINT),
    native_tokens_reasoning = CAST(spend_cells.native_tokens_reasoning + excluded.native_tokens_reasoning AS BIGINT),
    native_tokens_cached = CAST(spend_cells.native_tokens_cached + excluded.native_tokens_cached AS BIGINT),
    cost_usd = spend_cells.cost_usd + excluded.cost_usd + (spend_cells.cost_picos + excluded.cost_picos) / 1000000000000,
    cost_picos = (spend_cells.cost_picos + excluded.cost_picos) % 1000000000000,
    inline_usd = spend_cells.inline_usd + excluded.inline_usd + (spend_cells.inline_picos + excluded.inline_picos) / 1000000000000,
    inline_picos = (spend_cells.inline_picos + excluded.inline_picos) % 1000000000000,
    charged_usd = spend_cells.charged_usd + excluded.charged_usd + (spend_cells.charged_picos + excluded.charged_picos) / 1000000000000,
    charged_picos = (spend_cells.charged_picos + excluded.charged_picos) % 1000000000000,
    cache_discount_usd = spend_cells.cache_discount_usd + excluded.cache_discount_usd + (spend_cells.cache_discount_picos + excluded.cache_discount_picos) / 1000000000000,
    cache_discount_picos = (spend_cells.cache_discount_picos + excluded.cache_discount_picos) % 1000000000000
