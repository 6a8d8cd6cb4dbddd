-- Its tries begin anew, so that it is tried for as long as a new one.
UPDATE messages SET state = $3, attempts = 0, next_attempt_ms = $2, lease_until_ms = NULL
WHERE message_id = $1 AND state IN ('failed', 'waiting') AND (html_body <> '' OR payload IS NOT NULL)
