INSERT INTO timing_parts (whole, minutes, start_ms, part, latency, first_byte, speed)
SELECT whole, minutes, start_ms, part, latency, first_byte, speed
FROM json_populate_recordset(NULL::timing_parts, $1)
ON CONFLICT (whole, minutes, start_ms, part) DO NOTHING
