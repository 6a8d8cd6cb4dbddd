SELECT threshold, armed_ms FROM budget_arms WHERE budget = $1 ORDER BY threshold
