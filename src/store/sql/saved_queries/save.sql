-- A name that is there takes the new text; a new one only where there is room.
INSERT INTO saved_queries (name, query, parameters, saved_ms)
SELECT $1, $2, $3, $4
WHERE EXISTS (SELECT 1 FROM saved_queries WHERE name = $1) OR (SELECT COUNT(*) FROM saved_queries) < $5
ON CONFLICT (name) DO UPDATE SET query = excluded.query, parameters = excluded.parameters, saved_ms = excluded.saved_ms
