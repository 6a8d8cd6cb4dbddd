UPDATE snoozes SET ended_ms = $2 WHERE budget = $1 AND since_ms <= $2 AND COALESCE(ended_ms, until_ms) > $2
