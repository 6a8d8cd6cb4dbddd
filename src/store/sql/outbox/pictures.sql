SELECT content_id, png FROM message_pictures WHERE message_id = $1 ORDER BY content_id
