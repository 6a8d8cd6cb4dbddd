-- What waits for a channel that is there is queued, what is queued for one that is not waits. All mail is one channel,
-- each webhook one by its own name.
UPDATE messages SET
    state = CASE WHEN state = 'waiting' THEN 'queued' ELSE 'waiting' END,
    next_attempt_ms = $2
WHERE state IN ('waiting', 'queued')
    AND (state = 'waiting') = (
        CASE WHEN recipient LIKE 'webhook:%' THEN recipient ELSE 'mail' END IN (SELECT key FROM json_each($1))
    )
