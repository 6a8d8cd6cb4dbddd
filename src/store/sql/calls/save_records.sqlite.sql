INSERT INTO generation_records (call_id, body)
VALUES (?, ?)
ON CONFLICT (call_id) DO UPDATE SET body = excluded.body
