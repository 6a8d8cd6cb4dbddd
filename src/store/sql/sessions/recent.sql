-- The newest rows older than a cursor ($1, $2), at most $3, and the session of each that is the last of its session and
-- passes the filters: every session is named once, by its last row. Filters that are NULL restrict nothing, an empty one leaves
-- rows that name none.
SELECT
    looked.created_ms,
    looked.call_id,
    CASE
        WHEN (CAST($6 AS TEXT) IS NULL OR COALESCE(looked.app, '') = $6)
            AND (CAST($7 AS TEXT) IS NULL OR COALESCE(looked.key_name, '') = $7)
            AND (CAST($8 AS TEXT) IS NULL OR COALESCE(looked.end_user, '') = $8)
            AND NOT EXISTS (
                SELECT 1
                FROM calls AS later
                WHERE later.session = looked.session
                    AND (later.created_ms, later.call_id) > (looked.created_ms, looked.call_id)
                    AND later.created_ms < $5
                    AND later.state <> 'open'
                    AND (CAST($6 AS TEXT) IS NULL OR COALESCE(later.app, '') = $6)
                    AND (CAST($7 AS TEXT) IS NULL OR COALESCE(later.key_name, '') = $7)
                    AND (CAST($8 AS TEXT) IS NULL OR COALESCE(later.end_user, '') = $8)
            )
            THEN looked.session
    END AS session
FROM (
    SELECT created_ms, call_id, session, app, key_name, end_user
    FROM calls
    WHERE (created_ms, call_id) < ($1, $2) AND created_ms >= $4 AND created_ms < $5 AND state <> 'open'
    ORDER BY created_ms DESC, call_id DESC
    LIMIT $3
) AS looked
ORDER BY looked.created_ms DESC, looked.call_id DESC
