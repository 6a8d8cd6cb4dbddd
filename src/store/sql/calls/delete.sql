DELETE FROM calls WHERE call_id IN (SELECT key FROM json_each($1))
