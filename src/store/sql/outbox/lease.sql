UPDATE messages SET lease_until_ms = $2 WHERE message_id IN (SELECT key FROM json_each($1))
