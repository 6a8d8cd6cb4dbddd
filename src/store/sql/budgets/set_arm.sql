INSERT INTO budget_arms (budget, threshold, armed_ms)
VALUES ($1, $2, $3)
ON CONFLICT (budget, threshold) DO UPDATE SET armed_ms = excluded.armed_ms
