SELECT COALESCE(MAX(seq), 0) FROM budget_trail
