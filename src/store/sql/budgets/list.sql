SELECT
    name,
    definition,
    present,
    counted_from_ms,
    defined_ms,
    window_start_ms,
    window_end_ms,
    spent_usd,
    spent_picos,
    inline_usd,
    inline_picos,
    reserved_usd,
    reserved_picos,
    unknown_count,
    state,
    as_of_ms
FROM budgets
WHERE present OR $1
ORDER BY name
