SELECT threshold FROM alerts WHERE budget = $1 AND window_key_ms = $2 AND limit_picos = $3
