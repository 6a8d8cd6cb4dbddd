-- Each report with its last run, if it ever ran.
SELECT
    reports.name,
    reports.since_ms,
    last.scheduled_ms AS last_scheduled_ms,
    last.covers_until_ms AS last_until_ms
FROM reports
LEFT JOIN report_runs AS last ON last.report = reports.name AND last.scheduled_ms = (
    SELECT MAX(runs.scheduled_ms) FROM report_runs AS runs WHERE runs.report = reports.name
)
WHERE reports.present
ORDER BY reports.name
