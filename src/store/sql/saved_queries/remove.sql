DELETE FROM saved_queries WHERE name = $1
