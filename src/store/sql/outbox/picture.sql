INSERT INTO message_pictures (message_id, content_id, png) VALUES ($1, $2, $3)
ON CONFLICT (message_id, content_id) DO NOTHING
