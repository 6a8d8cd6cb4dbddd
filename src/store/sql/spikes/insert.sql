INSERT INTO spikes (
    spike_id, day_ms, kind, dimension, name, since_ms, until_ms, found_ms, cost_usd, cost_picos, usual_usd, usual_picos,
    recipients
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT (day_ms, kind, dimension, name) DO NOTHING
