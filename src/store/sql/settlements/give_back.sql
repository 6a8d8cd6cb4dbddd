UPDATE calls SET lease_owner = NULL, lease_until_ms = NULL
WHERE call_id IN (SELECT key FROM json_each($1))
