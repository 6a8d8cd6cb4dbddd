DELETE FROM budget_rollovers WHERE budget = $1 AND window_start_ms > $2
