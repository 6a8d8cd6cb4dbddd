INSERT INTO budget_arms (budget, value, threshold, armed_ms)
VALUES ($1, $2, $3, $4)
ON CONFLICT (budget, value, threshold) DO UPDATE SET armed_ms = excluded.armed_ms
