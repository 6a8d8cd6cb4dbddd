SELECT
    (SELECT CAST(COALESCE(MAX(seq), 0) AS BIGINT) FROM budget_trail) AS changes,
    (
        SELECT CAST(COALESCE(SUM(segment), 0) AS BIGINT)
        FROM journal_progress
        WHERE journal_id LIKE '% transactions' AND journal_id <> $1
    ) AS transactions
