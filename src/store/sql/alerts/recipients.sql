INSERT INTO alert_recipients (alert_id, recipient, crossed_ms, message_id)
SELECT $1, key, $3, NULL FROM json_each($2)
