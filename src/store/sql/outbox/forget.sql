-- What became of it is kept, as crossings and runs of reports tell it.
UPDATE messages SET text_body = '', html_body = '', payload = NULL
WHERE message_id IN (
    SELECT old.message_id
    FROM messages AS old
    WHERE old.created_ms < $1 AND old.state IN ('sent', 'failed')
        AND (old.text_body <> '' OR old.html_body <> '' OR old.payload IS NOT NULL)
    ORDER BY old.created_ms
    LIMIT $2
)
