INSERT INTO budget_accounts (
    budget, value, spent_usd, spent_picos, inline_usd, inline_picos, reserved_usd, reserved_picos, unknown_count, state,
    as_of_ms
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (budget, value) DO UPDATE SET
    spent_usd = excluded.spent_usd,
    spent_picos = excluded.spent_picos,
    inline_usd = excluded.inline_usd,
    inline_picos = excluded.inline_picos,
    reserved_usd = excluded.reserved_usd,
    reserved_picos = excluded.reserved_picos,
    unknown_count = excluded.unknown_count,
    state = excluded.state,
    as_of_ms = excluded.as_of_ms
