SELECT value, threshold, window_key_ms, crossed_ms FROM alerts
WHERE budget = $1 AND limit_picos = $2 AND window_key_ms >= $3
