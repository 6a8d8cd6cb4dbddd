SELECT
    name,
    window_start_ms,
    spent_usd,
    spent_picos,
    inline_usd,
    inline_picos,
    unknown_count,
    limit_picos,
    as_of_ms
FROM budgets
WHERE present AND window_start_ms IS NOT NULL
