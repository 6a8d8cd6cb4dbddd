INSERT INTO report_runs (report, scheduled_ms, covers_since_ms, covers_until_ms, made_ms) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (report, scheduled_ms) DO NOTHING
