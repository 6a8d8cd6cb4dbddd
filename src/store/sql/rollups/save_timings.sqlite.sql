INSERT INTO timing_cells (whole, minutes, start_ms, series, latency, first_byte, speed)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (whole, minutes, start_ms, series) DO UPDATE SET
    latency = excluded.latency,
    first_byte = excluded.first_byte,
    speed = excluded.speed
