-- Each part by the index that holds just these rows; few rows are leased, so each index is left after few steps.
SELECT MIN(next_ms)
FROM (
    SELECT MIN(settle_due_ms) AS next_ms
    FROM calls
    WHERE settle_due_ms IS NOT NULL AND cost_picos IS NULL AND (lease_until_ms IS NULL OR lease_until_ms <= $1)
    UNION ALL
    SELECT MIN(settle_due_ms)
    FROM calls
    WHERE settle_due_ms IS NOT NULL AND cost_picos IS NOT NULL AND (lease_until_ms IS NULL OR lease_until_ms <= $1)
    UNION ALL
    SELECT MIN(lease_until_ms)
    FROM calls
    WHERE lease_owner IS NOT NULL AND lease_until_ms > $1
) AS parts
