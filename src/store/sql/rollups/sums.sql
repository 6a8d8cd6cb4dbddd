-- $1: pieces: cells of one width that follow each other. $2: 1 for cells of all calls together, 0 for those of each series.
SELECT
    CAST(piece.key AS BIGINT) AS piece,
    c.series,
    c.completions, c.failures, c.unknown, c.inline_completions, c.tokens_prompt, c.tokens_completion,
    c.native_tokens_prompt, c.native_tokens_completion, c.native_tokens_reasoning, c.native_tokens_cached,
    c.cost_usd, c.cost_picos, c.inline_usd, c.inline_picos, c.charged_usd, c.charged_picos,
    c.cache_discount_usd, c.cache_discount_picos
FROM json_each($1) AS piece
CROSS JOIN spend_cells AS c
WHERE c.whole = $2
    AND c.minutes = CAST(piece.value ->> 'minutes' AS BIGINT)
    AND c.start_ms >= CAST(piece.value ->> 'from' AS BIGINT)
    AND c.start_ms < CAST(piece.value ->> 'until' AS BIGINT)
