INSERT INTO alerts (
    alert_id, budget, window_key_ms, threshold, limit_picos, window_start_ms, window_end_ms, kind, crossed_ms,
    spent_usd, spent_picos, inline_usd, inline_picos, unknown_count, not_mailed
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
ON CONFLICT (budget, window_key_ms, threshold, limit_picos) DO NOTHING
