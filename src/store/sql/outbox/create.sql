INSERT INTO messages (
    message_id, recipient, subject, text_body, html_body, state, attempts, next_attempt_ms, created_ms
)
VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8)
ON CONFLICT (message_id) DO NOTHING
