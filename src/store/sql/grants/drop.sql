DELETE FROM budget_grants
WHERE daemon = $1 AND budget || ' ' || value IN (SELECT key FROM json_each($2))
