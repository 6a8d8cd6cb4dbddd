UPDATE messages SET state = $2, next_attempt_ms = $3 WHERE state = $1
