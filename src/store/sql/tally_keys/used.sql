UPDATE tally_keys
SET last_used_ms = (SELECT CAST(used.value ->> 'at_ms' AS BIGINT) FROM json_each($1) AS used WHERE used.key = tally_keys.id)
WHERE id IN (
    SELECT used.key FROM json_each($1) AS used
    WHERE COALESCE(tally_keys.last_used_ms, -1) < CAST(used.value ->> 'at_ms' AS BIGINT)
)
