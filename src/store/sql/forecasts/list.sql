SELECT
    budget,
    window_start_ms,
    as_of_ms,
    signals,
    reason,
    basis,
    known,
    projected_usd,
    projected_picos,
    low_usd,
    low_picos,
    high_usd,
    high_picos,
    early_ms,
    likely_ms,
    late_ms
FROM budget_forecasts
ORDER BY budget
