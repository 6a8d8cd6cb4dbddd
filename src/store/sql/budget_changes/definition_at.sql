SELECT definition_after
FROM budget_trail
WHERE budget = $1 AND at_ms <= $2 AND definition_after IS NOT NULL
ORDER BY seq DESC
LIMIT 1
