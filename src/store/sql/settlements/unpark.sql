-- $1: 'fingerprint' or 'none'; $2: the fingerprint.
UPDATE calls SET settle_due_ms = $3, settle_reason = NULL
WHERE state = 'pending'
    AND settle_due_ms IS NULL
    AND under_way_in IS NULL
    AND (
        (CAST($1 AS TEXT) = 'fingerprint' AND key_sha256 = $2)
        OR (CAST($1 AS TEXT) = 'none' AND key_sha256 IS NULL)
    )
