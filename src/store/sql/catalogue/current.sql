SELECT models.model_id, prices.pricing
FROM models
LEFT JOIN model_prices AS prices ON prices.model_id = models.model_id AND prices.valid_until_ms IS NULL
