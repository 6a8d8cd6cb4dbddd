SELECT
    seq,
    at_ms,
    budget,
    action,
    door,
    who,
    definition_before,
    definition_after,
    limit_before_picos,
    limit_after_picos,
    note
FROM budget_trail
WHERE seq < $1 AND (CAST($2 AS TEXT) IS NULL OR budget = $2)
ORDER BY seq DESC
LIMIT $3
