SELECT value, threshold, armed_ms FROM budget_arms WHERE budget = $1 ORDER BY value, threshold
