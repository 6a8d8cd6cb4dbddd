INSERT INTO timing_parts (whole, minutes, start_ms, part, latency, first_byte, speed)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (whole, minutes, start_ms, part) DO NOTHING
