UPDATE calls SET lease_owner = $2, lease_until_ms = $3
WHERE call_id IN (SELECT key FROM json_each($1))
