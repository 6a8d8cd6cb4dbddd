INSERT INTO budget_arms (budget, threshold, limit_picos, armed_ms)
VALUES ($1, $2, $3, $4)
ON CONFLICT (budget, threshold, limit_picos) DO UPDATE SET armed_ms = excluded.armed_ms
