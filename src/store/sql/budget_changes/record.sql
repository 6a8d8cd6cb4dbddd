INSERT INTO budget_trail (
    seq, at_ms, budget, action, door, who, definition_before, definition_after, limit_before_picos,
    limit_after_picos, note
)
SELECT
    (SELECT COALESCE(MAX(seq), 0) + 1 FROM budget_trail),
    CAST($1 AS BIGINT),
    CAST($2 AS TEXT),
    CAST($3 AS TEXT),
    CAST($4 AS TEXT),
    CAST($5 AS TEXT),
    CAST($6 AS TEXT),
    CAST($7 AS TEXT),
    CAST($8 AS BIGINT),
    CAST($9 AS BIGINT),
    CAST($10 AS TEXT)
WHERE CAST($11 AS BIGINT) = 0
    OR NOT EXISTS (
        SELECT 1
        FROM budget_trail
        WHERE budget = CAST($2 AS TEXT) AND action = CAST($3 AS TEXT) AND at_ms = CAST($1 AS BIGINT)
    )
