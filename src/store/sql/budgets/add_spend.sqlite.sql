-- A sum beyond 64 bits becomes REAL here, and CAST holds it at the end of the range.
INSERT INTO budget_buckets (budget, value, bucket_ms, cost_picos, inline_picos, unknown_count)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (budget, value, bucket_ms) DO UPDATE SET
    cost_picos = CAST(budget_buckets.cost_picos + excluded.cost_picos AS BIGINT),
    inline_picos = CAST(budget_buckets.inline_picos + excluded.inline_picos AS BIGINT),
    unknown_count = CAST(budget_buckets.unknown_count + excluded.unknown_count AS BIGINT)
