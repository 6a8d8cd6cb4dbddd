-- A price that ended in the millisecond in which it began never held: the new one takes its place.
INSERT INTO model_prices (model_id, valid_from_ms, valid_until_ms, pricing)
SELECT value ->> 'model_id', CAST(value ->> 'from_ms' AS BIGINT), NULL, value ->> 'pricing'
FROM json_each($1)
WHERE TRUE
ON CONFLICT (model_id, valid_from_ms) DO UPDATE SET valid_until_ms = NULL, pricing = excluded.pricing
