SELECT budget, value, daemon, granted_picos, expires_ms, updated_ms, wanted_ms
FROM budget_grants
WHERE budget || ' ' || value IN (SELECT key FROM json_each($1))
