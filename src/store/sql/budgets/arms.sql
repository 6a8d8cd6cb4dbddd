SELECT threshold, limit_picos, armed_ms FROM budget_arms WHERE budget = $1 ORDER BY threshold, limit_picos
