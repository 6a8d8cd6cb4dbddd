UPDATE calls SET lease_owner = NULL, lease_until_ms = NULL
WHERE lease_owner IS NOT NULL AND (CAST($1 AS TEXT) IS NULL OR lease_owner = $1)
