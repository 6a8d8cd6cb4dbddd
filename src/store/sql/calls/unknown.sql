-- The conditions are the partial index's own words.
SELECT calls.*
FROM calls
WHERE cost_picos IS NULL AND state <> 'open' AND state <> 'failed'
    AND created_ms >= $1
    AND created_ms < $2
ORDER BY created_ms DESC
LIMIT $3
