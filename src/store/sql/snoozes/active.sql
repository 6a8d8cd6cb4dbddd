-- Until when the budget mails nobody, at this instant; no row where it is not snoozed.
SELECT until_ms FROM snoozes
WHERE budget = $1 AND since_ms <= $2 AND COALESCE(ended_ms, until_ms) > $2
ORDER BY until_ms DESC
LIMIT 1
