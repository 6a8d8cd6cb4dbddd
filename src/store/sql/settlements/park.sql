UPDATE calls SET settle_due_ms = NULL, settle_reason = $3, lease_owner = NULL, lease_until_ms = NULL
WHERE call_id IN (
    SELECT unknown.call_id
    FROM calls AS unknown
    WHERE unknown.settle_due_ms <= $1
        AND unknown.settle_due_ms IS NOT NULL
        AND unknown.cost_picos IS NULL
        AND COALESCE(unknown.key_sha256, '') NOT IN (SELECT key FROM json_each($2))
    UNION ALL
    SELECT inline.call_id
    FROM calls AS inline
    WHERE inline.settle_due_ms <= $1
        AND inline.settle_due_ms IS NOT NULL
        AND inline.cost_picos IS NOT NULL
        AND COALESCE(inline.key_sha256, '') NOT IN (SELECT key FROM json_each($2))
    LIMIT $4
)
