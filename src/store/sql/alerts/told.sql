SELECT threshold, window_key_ms, crossed_ms FROM alerts
WHERE budget = $1 AND value = $2 AND limit_picos = $3 AND window_key_ms >= $4
