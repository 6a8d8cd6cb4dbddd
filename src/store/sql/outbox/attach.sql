UPDATE alert_recipients SET message_id = $1
WHERE recipient = $2 AND message_id IS NULL AND alert_id IN (SELECT key FROM json_each($3))
