DELETE FROM message_pictures
WHERE message_id IN (
    SELECT old.message_id
    FROM messages AS old
    WHERE old.created_ms < $1 AND old.text_body = '' AND old.html_body = ''
)
