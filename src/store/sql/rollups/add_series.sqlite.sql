INSERT INTO spend_series (identity, app, key_name, model, provider, endpoint, is_byok)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (identity) DO NOTHING
