SELECT DISTINCT own.budget, own.value
FROM budget_grants AS own
JOIN budget_grants AS other ON other.budget = own.budget AND other.value = own.value AND other.daemon <> own.daemon
WHERE own.daemon = $1 AND own.granted_picos > 0 AND other.wanted_ms >= own.updated_ms
