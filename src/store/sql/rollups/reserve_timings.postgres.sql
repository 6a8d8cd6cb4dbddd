INSERT INTO timing_cells (whole, minutes, start_ms, series, latency, first_byte, speed)
SELECT whole, minutes, start_ms, series, latency, first_byte, speed
FROM json_populate_recordset(NULL::timing_cells, $1)
ON CONFLICT (whole, minutes, start_ms, series) DO NOTHING
