-- Since when a budget counts what it counts, in windows cut as they are; NULL: since defined_ms.
ALTER TABLE budgets ADD COLUMN shaped_ms BIGINT;
-- What holds of a budget beside its definition. The last override stays when it has ended.
-- limit_picos is from now on the limit of the window that the budget was last turned to.
ALTER TABLE budgets ADD COLUMN paused_ms BIGINT;
ALTER TABLE budgets ADD COLUMN override_picos BIGINT;
ALTER TABLE budgets ADD COLUMN override_since_ms BIGINT;
ALTER TABLE budgets ADD COLUMN override_until_ms BIGINT;
ALTER TABLE budgets ADD COLUMN override_reason TEXT;
ALTER TABLE budgets ADD COLUMN own_limit_picos BIGINT;
ALTER TABLE budgets ADD COLUMN rolled_over_picos BIGINT;
ALTER TABLE budgets ADD COLUMN topped_up_picos BIGINT;

-- Budgets of the dashboard, the shell and the API, in force or behind one of the file with the same name.
CREATE TABLE own_budgets (
    name TEXT NOT NULL PRIMARY KEY,
    definition TEXT NOT NULL
);
-- Amounts added to limits.
CREATE TABLE budget_topups (
    topup_id TEXT NOT NULL PRIMARY KEY,
    budget TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    amount_picos BIGINT NOT NULL
);
CREATE INDEX budget_topups_by_budget ON budget_topups (budget, at_ms);
-- What each window took over from the one before, as known when it began.
CREATE TABLE budget_rollovers (
    budget TEXT NOT NULL,
    window_start_ms BIGINT NOT NULL,
    amount_picos BIGINT NOT NULL,
    PRIMARY KEY (budget, window_start_ms)
);
-- The audit trail: never changed, never deleted. Definitions are JSON.
CREATE TABLE budget_trail (
    seq BIGINT NOT NULL PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    budget TEXT NOT NULL,
    action TEXT NOT NULL,
    door TEXT NOT NULL,
    who TEXT NOT NULL,
    definition_before TEXT,
    definition_after TEXT,
    limit_before_picos BIGINT,
    limit_after_picos BIGINT,
    note TEXT NOT NULL
);
CREATE INDEX budget_trail_by_budget ON budget_trail (budget, seq);

CREATE VIEW budget_changes AS
SELECT
    seq AS change_id,
    to_char(to_timestamp(at_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS changed_at,
    at_ms AS changed_ms,
    budget,
    action,
    door,
    who,
    CAST(limit_before_picos * 0.000000000001 AS NUMERIC(20, 12)) AS limit_before_usd,
    CAST(limit_after_picos * 0.000000000001 AS NUMERIC(20, 12)) AS limit_after_usd,
    definition_before,
    definition_after,
    NULLIF(note, '') AS note
FROM budget_trail;

CREATE VIEW budget_limits AS
SELECT
    name,
    CAST(limit_picos * 0.000000000001 AS NUMERIC(20, 12)) AS limit_usd,
    CAST(COALESCE(own_limit_picos, limit_picos) * 0.000000000001 AS NUMERIC(20, 12)) AS own_limit_usd,
    CAST(COALESCE(rolled_over_picos, 0) * 0.000000000001 AS NUMERIC(20, 12)) AS rolled_over_usd,
    CAST(COALESCE(topped_up_picos, 0) * 0.000000000001 AS NUMERIC(20, 12)) AS topped_up_usd,
    CAST(override_picos * 0.000000000001 AS NUMERIC(20, 12)) AS override_usd,
    to_char(to_timestamp(override_since_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS override_since,
    to_char(to_timestamp(override_until_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS override_until,
    override_reason,
    to_char(to_timestamp(paused_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS paused_at
FROM budgets
WHERE present;

-- Who asks through `tallyd sql` may read them.
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'tallyd_reader') THEN
        GRANT SELECT ON budget_changes, budget_limits TO tallyd_reader;
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE NOTICE 'tallyd_reader may not read the new views: %', SQLERRM;
END
$$;
