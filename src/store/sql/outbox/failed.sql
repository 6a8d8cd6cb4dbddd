UPDATE messages SET
    state = 'failed',
    attempts = attempts + 1,
    last_error = $2,
    lease_until_ms = NULL
WHERE message_id = $1 AND state = 'queued'
