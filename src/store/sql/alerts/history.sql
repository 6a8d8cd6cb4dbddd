SELECT
    alerts.alert_id,
    alerts.budget,
    alerts.value,
    alerts.window_key_ms,
    alerts.threshold,
    alerts.limit_picos,
    alerts.window_start_ms,
    alerts.window_end_ms,
    alerts.kind,
    alerts.crossed_ms,
    alerts.spent_usd,
    alerts.spent_picos,
    mail.mail_state,
    mail.sent_ms,
    mail.mail_state = 'not_mailed' AND EXISTS (
        SELECT 1 FROM snoozes
        WHERE snoozes.budget = alerts.budget
            AND snoozes.since_ms <= alerts.crossed_ms
            AND COALESCE(snoozes.ended_ms, snoozes.until_ms) > alerts.crossed_ms
    ) AS snoozed
FROM alerts
JOIN alert_mail AS mail ON mail.alert_id = alerts.alert_id
WHERE (CAST($1 AS TEXT) IS NULL OR alerts.budget = $1)
    AND (alerts.crossed_ms, alerts.alert_id) < ($2, $3)
ORDER BY alerts.crossed_ms DESC, alerts.alert_id DESC
LIMIT $4
