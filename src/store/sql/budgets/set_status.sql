UPDATE budgets SET
    window_start_ms = $2,
    window_end_ms = $3,
    spent_usd = $4,
    spent_picos = $5,
    inline_usd = $6,
    inline_picos = $7,
    reserved_usd = $8,
    reserved_picos = $9,
    unknown_count = $10,
    state = $11,
    as_of_ms = $12
WHERE name = $1
