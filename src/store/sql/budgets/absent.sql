UPDATE budgets SET present = FALSE WHERE present AND name NOT IN (SELECT key FROM json_each($1))
