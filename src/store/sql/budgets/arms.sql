SELECT threshold, armed_ms FROM budget_arms WHERE budget = $1 AND value = $2 ORDER BY threshold
