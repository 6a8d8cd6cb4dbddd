DELETE FROM budget_arms WHERE budget = $1
