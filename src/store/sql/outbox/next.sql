-- When the first crossing without a message came, and when the next queued message is to be tried.
SELECT
    (SELECT MIN(crossed_ms) FROM alert_recipients WHERE message_id IS NULL) AS uncomposed_ms,
    (SELECT MIN(next_attempt_ms) FROM messages WHERE state = 'queued') AS attempt_ms
