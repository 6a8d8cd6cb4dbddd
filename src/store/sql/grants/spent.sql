SELECT budget, value, spent_usd, spent_picos
FROM budget_accounts
WHERE budget || ' ' || value IN (SELECT key FROM json_each($1))
