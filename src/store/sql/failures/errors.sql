-- $1, $2: since and until. $3: most groups. Every failed row has an error's type, so the index of errored rows leads.
SELECT
    http_status,
    error_code,
    error_type,
    error_message,
    endpoint,
    requested_model,
    COUNT(*) AS calls,
    MAX(created_ms) AS last_ms
FROM calls
WHERE error_type IS NOT NULL
    AND state <> 'open'
    AND created_ms >= $1
    AND created_ms < $2
GROUP BY http_status, error_code, error_type, error_message, endpoint, requested_model
ORDER BY calls DESC, last_ms DESC
LIMIT $3
