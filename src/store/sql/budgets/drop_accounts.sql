DELETE FROM budget_accounts WHERE budget = $1 AND value IN (SELECT key FROM json_each($2))
