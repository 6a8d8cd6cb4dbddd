UPDATE messages SET
    attempts = attempts + 1,
    next_attempt_ms = $2,
    last_error = $3,
    lease_until_ms = NULL
WHERE message_id = $1 AND state = 'queued'
