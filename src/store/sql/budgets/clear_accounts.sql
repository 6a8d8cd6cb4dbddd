DELETE FROM budget_accounts WHERE budget = $1
