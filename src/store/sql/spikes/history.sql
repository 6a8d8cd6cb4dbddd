SELECT
    spike_id, day_ms, kind, dimension, name, since_ms, until_ms, found_ms, cost_usd, cost_picos, usual_usd, usual_picos,
    recipients
FROM spikes
ORDER BY found_ms DESC, spike_id
LIMIT $1
