-- The index on (created_ms, call_id) leads; every filter that is NULL restricts nothing, an empty one leaves rows that name none.
SELECT calls.*
FROM calls
WHERE state <> 'open'
    AND created_ms >= $1
    AND created_ms < $2
    AND (created_ms, call_id) < ($3, $4)
    AND (CAST($5 AS TEXT) IS NULL OR COALESCE(app, '') = $5)
    AND (CAST($6 AS TEXT) IS NULL OR COALESCE(key_name, '') = $6)
    AND (CAST($7 AS TEXT) IS NULL OR COALESCE(model, '') = $7)
    AND (CAST($8 AS TEXT) IS NULL OR COALESCE(provider, '') = $8)
    AND (CAST($9 AS TEXT) IS NULL OR COALESCE(end_user, '') = $9)
    AND (CAST($10 AS TEXT) IS NULL OR COALESCE(session, '') = $10)
    AND (CAST($11 AS TEXT) IS NULL OR COALESCE(endpoint, '') = $11)
    AND (CAST($12 AS TEXT) IS NULL OR state = $12)
    AND (CAST($13 AS TEXT) IS NULL OR COALESCE(error_type, '') = $13)
    AND (
        CAST($14 AS TEXT) IS NULL
        OR EXISTS (
            SELECT 1 FROM usage_tags AS tag
            WHERE tag.call_id = calls.call_id AND tag.name = $14 AND tag.value = $15
        )
    )
    AND (CAST($16 AS TEXT) IS NULL OR COALESCE(requested_model, '') = $16)
    AND (CAST($17 AS BIGINT) IS NULL OR http_status = $17)
    AND (CAST($18 AS TEXT) IS NULL OR (',' || flags || ',') LIKE ('%,' || $18 || ',%') ESCAPE '\')
ORDER BY created_ms DESC, call_id DESC
LIMIT $19
