SELECT
    message_id, recipient, subject, text_body, html_body, payload, state, attempts, next_attempt_ms, last_error,
    created_ms, sent_ms
FROM messages
WHERE (created_ms, message_id) < ($1, $2)
ORDER BY created_ms DESC, message_id DESC
LIMIT $3
