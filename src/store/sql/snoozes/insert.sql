INSERT INTO snoozes (budget, since_ms, until_ms, ended_ms) VALUES ($1, $2, $3, NULL)
ON CONFLICT (budget, since_ms) DO UPDATE SET until_ms = excluded.until_ms, ended_ms = NULL
