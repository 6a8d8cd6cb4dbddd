INSERT INTO models (model_id, permaslug, name, context_length, first_seen_ms, last_seen_ms)
SELECT
    value ->> 'model_id',
    value ->> 'permaslug',
    value ->> 'name',
    CAST(value ->> 'context_length' AS BIGINT),
    CAST(value ->> 'seen_ms' AS BIGINT),
    CAST(value ->> 'seen_ms' AS BIGINT)
FROM json_each($1)
WHERE TRUE
ON CONFLICT (model_id) DO UPDATE SET
    permaslug = excluded.permaslug,
    name = excluded.name,
    context_length = excluded.context_length,
    last_seen_ms = excluded.last_seen_ms
