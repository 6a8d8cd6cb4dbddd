SELECT
    key_sha256, day_ms, key_name, ours_picos, theirs_picos, unknown_count, estimate_picos, waiting_count,
    dearest_picos, over_midnight_picos, as_of_ms
FROM key_days
WHERE day_ms >= $1
ORDER BY day_ms DESC, key_name, key_sha256
LIMIT $2
