INSERT INTO tally_keys (
    id, sha256, tail, app, end_user, session, tags, upstream, created_ms, expires_ms, revoked_ms, last_used_ms
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, NULL, NULL)
ON CONFLICT (id) DO NOTHING
