SELECT name, query, parameters, saved_ms FROM saved_queries ORDER BY name LIMIT $1
