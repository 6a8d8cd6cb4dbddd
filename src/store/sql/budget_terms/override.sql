UPDATE budgets SET
    override_picos = $2,
    override_since_ms = $3,
    override_until_ms = $4,
    override_reason = $5
WHERE name = $1
