-- Each part by the index that holds just these rows; leased ones are few.
SELECT MIN(next_ms)
FROM (
    SELECT next_ms
    FROM (
        SELECT settle_due_ms AS next_ms
        FROM calls
        WHERE settle_due_ms IS NOT NULL
            AND cost_picos IS NULL
            AND (lease_until_ms IS NULL OR lease_until_ms <= $1)
        ORDER BY settle_due_ms
        LIMIT 1
    ) AS unknown
    UNION ALL
    SELECT next_ms
    FROM (
        SELECT settle_due_ms AS next_ms
        FROM calls
        WHERE settle_due_ms IS NOT NULL
            AND cost_picos IS NOT NULL
            AND (lease_until_ms IS NULL OR lease_until_ms <= $1)
        ORDER BY settle_due_ms
        LIMIT 1
    ) AS inline
    UNION ALL
    SELECT MIN(lease_until_ms)
    FROM calls
    WHERE lease_owner IS NOT NULL AND lease_until_ms > $1
) AS parts
