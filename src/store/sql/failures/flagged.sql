-- $1, $2: since and until. $3: most groups. The index of flagged rows leads.
SELECT
    flags,
    app,
    endpoint,
    requested_model,
    COUNT(*) AS calls,
    MAX(created_ms) AS last_ms
FROM calls
WHERE flags <> ''
    AND state <> 'open'
    AND created_ms >= $1
    AND created_ms < $2
GROUP BY flags, app, endpoint, requested_model
ORDER BY calls DESC, last_ms DESC
LIMIT $3
