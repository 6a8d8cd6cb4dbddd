UPDATE model_prices
SET valid_until_ms = $2
WHERE valid_until_ms IS NULL AND model_id IN (SELECT key FROM json_each($1))
