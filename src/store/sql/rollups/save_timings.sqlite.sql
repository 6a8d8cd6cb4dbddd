INSERT INTO timing_cells (whole, minutes, start_ms, series, latency, first_byte, generation, speed)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (whole, minutes, start_ms, series) DO UPDATE SET
    latency = excluded.latency,
    first_byte = excluded.first_byte,
    generation = excluded.generation,
    speed = excluded.speed
