INSERT INTO budget_buckets (budget, value, bucket_ms, cost_picos, inline_picos, unknown_count)
SELECT budget, value, bucket_ms, cost_picos, inline_picos, unknown_count
FROM json_populate_recordset(NULL::budget_buckets, $1)
ON CONFLICT (budget, value, bucket_ms) DO UPDATE SET
    cost_picos = tallyd_add(budget_buckets.cost_picos, excluded.cost_picos),
    inline_picos = tallyd_add(budget_buckets.inline_picos, excluded.inline_picos),
    unknown_count = tallyd_add(budget_buckets.unknown_count, excluded.unknown_count)
