INSERT INTO signing_keys (purpose, secret, created_ms) VALUES ($1, $2, $3)
ON CONFLICT (purpose) DO NOTHING
