SELECT name, query, parameters, saved_ms FROM saved_queries WHERE name = $1
