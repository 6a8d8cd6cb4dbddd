UPDATE budget_grants
SET granted_picos = CASE WHEN granted_picos > $4 THEN granted_picos - $4 ELSE 0 END
WHERE daemon = $1 AND budget = $2 AND value = $3
