UPDATE messages SET state = 'queued', next_attempt_ms = $2
WHERE message_id = $1 AND state IN ('failed', 'waiting')
