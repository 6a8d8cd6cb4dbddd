UPDATE reports SET present = FALSE WHERE name NOT IN (SELECT key FROM json_each($1))
