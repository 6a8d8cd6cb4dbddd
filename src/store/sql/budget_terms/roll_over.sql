INSERT INTO budget_rollovers (budget, window_start_ms, amount_picos)
VALUES ($1, $2, $3)
ON CONFLICT (budget, window_start_ms) DO NOTHING
