-- Each part by the index that holds just these rows.
SELECT
    CAST(COALESCE(SUM(due), 0) AS BIGINT) AS due,
    CAST(COALESCE(SUM(waiting), 0) AS BIGINT) AS waiting,
    CAST(COALESCE(SUM(parked), 0) AS BIGINT) AS parked,
    MIN(oldest_due_ms) AS oldest_due_ms
FROM (
    SELECT
        COUNT(CASE WHEN settle_due_ms <= $1 THEN 1 END) AS due,
        COUNT(CASE WHEN settle_due_ms > $1 THEN 1 END) AS waiting,
        0 AS parked,
        MIN(CASE WHEN settle_due_ms <= $1 THEN settle_due_ms END) AS oldest_due_ms
    FROM calls
    WHERE settle_due_ms IS NOT NULL AND cost_picos IS NULL
    UNION ALL
    SELECT
        COUNT(CASE WHEN settle_due_ms <= $1 THEN 1 END),
        COUNT(CASE WHEN settle_due_ms > $1 THEN 1 END),
        0,
        MIN(CASE WHEN settle_due_ms <= $1 THEN settle_due_ms END)
    FROM calls
    WHERE settle_due_ms IS NOT NULL AND cost_picos IS NOT NULL
    UNION ALL
    SELECT 0, 0, COUNT(*), NULL
    FROM calls
    WHERE state = 'pending' AND settle_due_ms IS NULL AND under_way_in IS NULL
) AS parts
