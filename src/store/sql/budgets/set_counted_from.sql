UPDATE budgets SET counted_from_ms = $2 WHERE name = $1
