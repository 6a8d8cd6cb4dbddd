-- What blocking budgets hold back for a call until its cost is known.
ALTER TABLE calls ADD COLUMN estimate_picos BIGINT;
-- The rows for which something is held back: few, and read at each start.
CREATE INDEX calls_held ON calls (created_ms, call_id)
WHERE estimate_picos IS NOT NULL AND cost_picos IS NULL AND state <> 'unsettled';
