UPDATE saved_views SET name = $2
WHERE name = $1 AND NOT EXISTS (SELECT 1 FROM saved_views AS other WHERE other.name = $2)
