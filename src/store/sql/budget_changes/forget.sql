-- What tells how each budget stands, and the definition that held last before then, stays.
DELETE FROM budget_trail
WHERE at_ms < $1
    AND seq NOT IN (SELECT MAX(last.seq) FROM budget_trail AS last GROUP BY last.budget)
    AND seq NOT IN (
        SELECT MAX(defined.seq)
        FROM budget_trail AS defined
        WHERE defined.definition_after IS NOT NULL AND defined.at_ms < $1
        GROUP BY defined.budget
    )
