INSERT INTO budget_forecasts (
    budget, window_start_ms, as_of_ms, signals, reason, basis, known, projected_usd, projected_picos, low_usd, low_picos,
    high_usd, high_picos, early_ms, likely_ms, late_ms
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
ON CONFLICT (budget) DO UPDATE SET
    window_start_ms = excluded.window_start_ms,
    as_of_ms = excluded.as_of_ms,
    signals = excluded.signals,
    reason = excluded.reason,
    basis = excluded.basis,
    known = excluded.known,
    projected_usd = excluded.projected_usd,
    projected_picos = excluded.projected_picos,
    low_usd = excluded.low_usd,
    low_picos = excluded.low_picos,
    high_usd = excluded.high_usd,
    high_picos = excluded.high_picos,
    early_ms = excluded.early_ms,
    likely_ms = excluded.likely_ms,
    late_ms = excluded.late_ms
