SELECT id, sha256, tail, app, end_user, session, tags, upstream, created_ms, expires_ms, revoked_ms, last_used_ms
FROM tally_keys
WHERE id < $1
ORDER BY id DESC
LIMIT $2
