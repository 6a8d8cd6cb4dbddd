INSERT INTO messages (
    message_id, recipient, subject, text_body, html_body, payload, state, attempts, next_attempt_ms, created_ms
)
VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9)
ON CONFLICT (message_id) DO NOTHING
