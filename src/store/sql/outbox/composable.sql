-- Every crossing not yet in a message, recipient by recipient, those who wait longest first.
SELECT
    told.recipient,
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
    alerts.spent_picos
FROM alert_recipients AS told
JOIN alerts ON alerts.alert_id = told.alert_id
JOIN (
    SELECT waiting.recipient, MIN(waiting.crossed_ms) AS first_ms
    FROM alert_recipients AS waiting
    WHERE waiting.message_id IS NULL
    GROUP BY waiting.recipient
    HAVING MIN(waiting.crossed_ms) <= $1
    ORDER BY 2, 1
    LIMIT $3
) AS first ON first.recipient = told.recipient
WHERE told.message_id IS NULL AND told.crossed_ms <= first.first_ms + $2
ORDER BY first.first_ms, told.recipient, told.crossed_ms, told.alert_id
