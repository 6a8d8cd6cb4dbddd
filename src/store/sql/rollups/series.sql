-- What series there are.
SELECT series, app, key_name, model, provider, endpoint, is_byok
FROM spend_series
