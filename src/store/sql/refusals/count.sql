INSERT INTO refusals_by_minute (minute_ms, cause, budget, app, key_name, refused)
SELECT
    CAST(value ->> 'minute_ms' AS BIGINT),
    value ->> 'cause',
    value ->> 'budget',
    value ->> 'app',
    value ->> 'key_name',
    CAST(value ->> 'refused' AS BIGINT)
FROM json_each($1)
WHERE TRUE
ON CONFLICT (minute_ms, cause, budget, app, key_name) DO UPDATE
SET refused = refusals_by_minute.refused + excluded.refused
