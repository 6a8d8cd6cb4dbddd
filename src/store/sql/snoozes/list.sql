SELECT budget, since_ms, until_ms FROM snoozes
WHERE since_ms <= $1 AND COALESCE(ended_ms, until_ms) > $1
ORDER BY until_ms, budget
LIMIT $2
