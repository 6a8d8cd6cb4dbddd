INSERT INTO budget_grants (budget, value, daemon, granted_picos, expires_ms, updated_ms, wanted_ms)
SELECT
    value ->> 'budget',
    value ->> 'value',
    $2,
    CAST(value ->> 'granted_picos' AS BIGINT),
    CAST(value ->> 'expires_ms' AS BIGINT),
    CAST(value ->> 'updated_ms' AS BIGINT),
    CAST(value ->> 'wanted_ms' AS BIGINT)
FROM json_each($1)
WHERE TRUE
ON CONFLICT (budget, value, daemon) DO UPDATE SET
    granted_picos = excluded.granted_picos,
    expires_ms = excluded.expires_ms,
    updated_ms = excluded.updated_ms,
    wanted_ms = excluded.wanted_ms
