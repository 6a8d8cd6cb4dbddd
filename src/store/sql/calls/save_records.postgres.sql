INSERT INTO generation_records (call_id, body)
SELECT value ->> 'call_id', value ->> 'body'
FROM json_array_elements($1)
WHERE TRUE
ON CONFLICT (call_id) DO UPDATE SET body = excluded.body
