INSERT INTO saved_views (name, query, saved_ms) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE SET query = excluded.query, saved_ms = excluded.saved_ms
