SELECT call_id, generation_id, key_sha256, key_name, settle_due_ms
FROM calls
WHERE settle_due_ms <= $1
    AND settle_due_ms > $4
    AND settle_due_ms IS NOT NULL
    AND cost_picos IS NOT NULL
    AND generation_id IS NOT NULL
    AND (lease_until_ms IS NULL OR lease_until_ms <= $1)
    AND COALESCE(key_sha256, '') NOT IN (SELECT key FROM json_each($2))
ORDER BY settle_due_ms DESC
LIMIT $3
