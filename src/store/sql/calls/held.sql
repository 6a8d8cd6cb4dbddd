SELECT calls.*
FROM calls
WHERE estimate_picos IS NOT NULL AND cost_picos IS NULL AND state <> 'unsettled' AND (created_ms, call_id) > ($1, $2)
ORDER BY created_ms, call_id
LIMIT $3
