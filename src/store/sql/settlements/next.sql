-- When the next reading that nobody has leased is due.
SELECT MIN(settle_due_ms)
FROM (
    SELECT MIN(settle_due_ms) AS settle_due_ms
    FROM calls
    WHERE settle_due_ms > $1 AND settle_due_ms IS NOT NULL AND cost_picos IS NULL
    UNION ALL
    SELECT MIN(settle_due_ms)
    FROM calls
    WHERE settle_due_ms > $1 AND settle_due_ms IS NOT NULL AND cost_picos IS NOT NULL
) AS parts
