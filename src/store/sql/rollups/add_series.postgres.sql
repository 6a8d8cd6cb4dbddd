INSERT INTO spend_series (identity, app, key_name, model, provider, endpoint, is_byok)
SELECT identity, app, key_name, model, provider, endpoint, is_byok
FROM json_populate_recordset(NULL::spend_series, $1)
ON CONFLICT (identity) DO NOTHING
