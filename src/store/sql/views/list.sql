SELECT name, query, saved_ms FROM saved_views ORDER BY name LIMIT $1
