-- The last runs of a report, newest first, and how many of their messages stand where.
SELECT
    runs.scheduled_ms,
    runs.covers_since_ms,
    runs.covers_until_ms,
    runs.made_ms,
    COUNT(messages.message_id) AS messages,
    COUNT(CASE WHEN messages.state = 'sent' THEN 1 END) AS sent,
    COUNT(CASE WHEN messages.state = 'failed' THEN 1 END) AS failed
FROM report_runs AS runs
LEFT JOIN report_messages AS told ON told.report = runs.report AND told.scheduled_ms = runs.scheduled_ms
LEFT JOIN messages ON messages.message_id = told.message_id
WHERE runs.report = $1
GROUP BY runs.scheduled_ms, runs.covers_since_ms, runs.covers_until_ms, runs.made_ms
ORDER BY runs.scheduled_ms DESC
LIMIT $2
