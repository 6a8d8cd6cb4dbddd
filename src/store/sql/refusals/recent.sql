SELECT at_ms, cause, budget, app, key_name, requested_model, endpoint
FROM refusals_recent
ORDER BY seq DESC
LIMIT $1
