INSERT INTO refusals_recent (seq, at_ms, cause, budget, app, key_name, requested_model, endpoint)
SELECT
    (SELECT COALESCE(MAX(seq), 0) FROM refusals_recent) + CAST(key AS BIGINT) + 1,
    CAST(value ->> 'at_ms' AS BIGINT),
    value ->> 'cause',
    value ->> 'budget',
    value ->> 'app',
    value ->> 'key_name',
    value ->> 'requested_model',
    value ->> 'endpoint'
FROM json_each($1)
