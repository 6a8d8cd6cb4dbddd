UPDATE budgets SET paused_ms = $2 WHERE name = $1
