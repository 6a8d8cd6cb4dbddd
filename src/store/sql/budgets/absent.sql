UPDATE budgets SET
    present = FALSE,
    paused_ms = NULL,
    override_picos = NULL,
    override_since_ms = NULL,
    override_until_ms = NULL,
    override_reason = NULL
WHERE present AND name NOT IN (SELECT key FROM json_each($1))
