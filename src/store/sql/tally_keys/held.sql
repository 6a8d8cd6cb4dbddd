-- Every key that was not revoked comes before the first that was.
SELECT id, sha256, tail, app, end_user, session, tags, upstream, created_ms, expires_ms, revoked_ms, last_used_ms
FROM tally_keys
ORDER BY CASE WHEN revoked_ms IS NULL THEN 0 ELSE 1 END, id DESC
LIMIT $1
