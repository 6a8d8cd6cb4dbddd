SELECT
    message_id, recipient, subject, text_body, html_body, payload, state, attempts, next_attempt_ms, last_error,
    created_ms, sent_ms
FROM messages
WHERE state = 'queued' AND next_attempt_ms <= $1 AND (lease_until_ms IS NULL OR lease_until_ms <= $1)
ORDER BY next_attempt_ms, message_id
LIMIT $2
