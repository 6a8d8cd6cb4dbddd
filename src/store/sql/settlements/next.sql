-- When the next reading that nobody has leased is due. Few rows are leased, so each index is left after few steps.
SELECT MIN(settle_due_ms)
FROM (
    SELECT MIN(settle_due_ms) AS settle_due_ms
    FROM calls
    WHERE settle_due_ms IS NOT NULL AND cost_picos IS NULL AND (lease_until_ms IS NULL OR lease_until_ms <= $1)
    UNION ALL
    SELECT MIN(settle_due_ms)
    FROM calls
    WHERE settle_due_ms IS NOT NULL AND cost_picos IS NOT NULL AND (lease_until_ms IS NULL OR lease_until_ms <= $1)
) AS parts
