SELECT COUNT(*) FROM saved_views WHERE name <> $1
