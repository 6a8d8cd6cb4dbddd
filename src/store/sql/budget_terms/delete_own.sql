DELETE FROM own_budgets WHERE name = $1
