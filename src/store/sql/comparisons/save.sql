INSERT INTO key_days (
    key_sha256, day_ms, key_name, ours_picos, theirs_picos, unknown_count, estimate_picos, waiting_count,
    dearest_picos, over_midnight_picos, as_of_ms
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (key_sha256, day_ms) DO UPDATE SET
    key_name = excluded.key_name,
    ours_picos = excluded.ours_picos,
    theirs_picos = excluded.theirs_picos,
    unknown_count = excluded.unknown_count,
    estimate_picos = excluded.estimate_picos,
    waiting_count = excluded.waiting_count,
    dearest_picos = excluded.dearest_picos,
    over_midnight_picos = excluded.over_midnight_picos,
    as_of_ms = excluded.as_of_ms
