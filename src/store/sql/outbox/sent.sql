UPDATE messages SET
    state = 'sent',
    attempts = attempts + 1,
    sent_ms = $2,
    last_error = NULL,
    lease_until_ms = NULL
WHERE message_id = $1
