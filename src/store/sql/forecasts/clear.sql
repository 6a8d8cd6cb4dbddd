DELETE FROM budget_forecasts
WHERE budget = $1
