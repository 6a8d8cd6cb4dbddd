SELECT definition FROM own_budgets ORDER BY name
