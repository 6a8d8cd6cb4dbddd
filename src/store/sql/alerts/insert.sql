-- The column details is of the first version; nothing reads it.
INSERT INTO alerts (
    alert_id, budget, window_key_ms, threshold, limit_picos, window_start_ms, window_end_ms, kind, crossed_ms,
    spent_usd, spent_picos, details, value
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, '{}', $12)
ON CONFLICT (budget, value, window_key_ms, threshold, limit_picos) DO NOTHING
