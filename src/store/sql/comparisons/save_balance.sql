INSERT INTO balances (key_sha256, credits_picos, usage_picos, as_of_ms)
VALUES ($1, $2, $3, $4)
ON CONFLICT (key_sha256) DO UPDATE SET
    credits_picos = excluded.credits_picos,
    usage_picos = excluded.usage_picos,
    as_of_ms = excluded.as_of_ms
