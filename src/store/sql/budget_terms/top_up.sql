INSERT INTO budget_topups (topup_id, budget, at_ms, amount_picos)
VALUES ($1, $2, $3, $4)
ON CONFLICT (topup_id) DO NOTHING
