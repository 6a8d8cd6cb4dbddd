SELECT id, sha256, tail, app, end_user, session, tags, upstream, created_ms, expires_ms, revoked_ms, last_used_ms
FROM tally_keys
WHERE id = $1 OR (tail = $2 AND revoked_ms IS NULL)
ORDER BY id DESC
LIMIT $3
