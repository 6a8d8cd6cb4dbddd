SELECT model_id, valid_from_ms, valid_until_ms, pricing FROM model_prices ORDER BY model_id, valid_from_ms
