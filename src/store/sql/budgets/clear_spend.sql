DELETE FROM budget_buckets WHERE budget = $1
