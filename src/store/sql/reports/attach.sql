INSERT INTO report_messages (report, scheduled_ms, message_id) VALUES ($1, $2, $3)
ON CONFLICT (report, scheduled_ms, message_id) DO NOTHING
