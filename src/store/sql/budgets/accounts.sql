SELECT
    value, spent_usd, spent_picos, inline_usd, inline_picos, reserved_usd, reserved_picos, unknown_count, state, as_of_ms
FROM budget_accounts
WHERE budget = $1 AND (spent_usd, spent_picos, value) < ($2, $3, $4)
ORDER BY spent_usd DESC, spent_picos DESC, value DESC
LIMIT $5
