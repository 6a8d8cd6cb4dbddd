-- Budgets of each value of a field: their counters, thresholds and crossings are each value's; '' is a budget of one account.
ALTER TABLE budget_buckets ADD COLUMN value TEXT NOT NULL DEFAULT '';
ALTER TABLE budget_buckets DROP CONSTRAINT budget_buckets_pkey;
ALTER TABLE budget_buckets ADD PRIMARY KEY (budget, value, bucket_ms);
CREATE INDEX budget_buckets_by_time ON budget_buckets (budget, bucket_ms);
ALTER TABLE budget_arms ADD COLUMN value TEXT NOT NULL DEFAULT '';
ALTER TABLE budget_arms DROP CONSTRAINT budget_arms_pkey;
ALTER TABLE budget_arms ADD PRIMARY KEY (budget, value, threshold);
-- What a budget shows of itself is its dearest value's.
ALTER TABLE budgets ADD COLUMN each_by TEXT;
ALTER TABLE budgets ADD COLUMN top_value TEXT;
ALTER TABLE budgets ADD COLUMN value_count BIGINT;
-- Where each value of such a budget stands in the current window.
CREATE TABLE budget_accounts (
    budget TEXT NOT NULL,
    value TEXT NOT NULL,
    spent_usd BIGINT NOT NULL,
    spent_picos BIGINT NOT NULL,
    inline_usd BIGINT NOT NULL,
    inline_picos BIGINT NOT NULL,
    reserved_usd BIGINT NOT NULL,
    reserved_picos BIGINT NOT NULL,
    unknown_count BIGINT NOT NULL,
    state TEXT NOT NULL,
    as_of_ms BIGINT NOT NULL,
    PRIMARY KEY (budget, value)
);
CREATE INDEX budget_accounts_by_burn ON budget_accounts (budget, spent_usd, spent_picos, value);

ALTER TABLE alerts ADD COLUMN value TEXT NOT NULL DEFAULT '';
ALTER TABLE alerts DROP CONSTRAINT alerts_budget_window_key_ms_threshold_limit_picos_key;
ALTER TABLE alerts ADD UNIQUE (budget, value, window_key_ms, threshold, limit_picos);
DROP VIEW alert_history;
CREATE VIEW alert_history AS
SELECT
    alerts.alert_id,
    alerts.budget,
    to_char(to_timestamp(alerts.window_start_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS window_start,
    to_char(to_timestamp(alerts.window_end_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS window_end,
    alerts.threshold,
    alerts.kind,
    to_char(to_timestamp(alerts.crossed_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS crossed_at,
    CAST(alerts.limit_picos * 0.000000000001 AS NUMERIC(20, 12)) AS limit_usd,
    CAST(alerts.spent_usd + alerts.spent_picos * 0.000000000001 AS NUMERIC(20, 12)) AS spent_usd,
    mail.mail_state,
    to_char(to_timestamp(mail.sent_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS sent_at,
    NULLIF(alerts.value, '') AS value
FROM alerts
JOIN alert_mail AS mail ON mail.alert_id = alerts.alert_id;

DROP VIEW budget_status;
CREATE VIEW budget_status AS
SELECT
    name,
    origin,
    scope,
    window_kind,
    time_zone,
    to_char(to_timestamp(window_start_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS window_start,
    to_char(to_timestamp(window_end_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS window_end,
    CAST(limit_picos * 0.000000000001 AS NUMERIC(20, 12)) AS limit_usd,
    CAST(spent_usd + spent_picos * 0.000000000001 AS NUMERIC(20, 12)) AS spent_usd,
    CAST(reserved_usd + reserved_picos * 0.000000000001 AS NUMERIC(20, 12)) AS reserved_usd,
    unknown_count,
    CAST(100 * (spent_usd + spent_picos * 0.000000000001) / (NULLIF(limit_picos, 0) * 0.000000000001) AS DOUBLE PRECISION) AS percent,
    state,
    when_exceeded,
    to_char(to_timestamp(as_of_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS as_of,
    each_by,
    top_value,
    value_count
FROM budgets
WHERE present;

CREATE VIEW budget_values AS
SELECT
    value_of.budget AS name,
    budgets.each_by,
    value_of.value,
    to_char(to_timestamp(budgets.window_start_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS window_start,
    to_char(to_timestamp(budgets.window_end_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS window_end,
    CAST(budgets.limit_picos * 0.000000000001 AS NUMERIC(20, 12)) AS limit_usd,
    CAST(value_of.spent_usd + value_of.spent_picos * 0.000000000001 AS NUMERIC(20, 12)) AS spent_usd,
    CAST(value_of.reserved_usd + value_of.reserved_picos * 0.000000000001 AS NUMERIC(20, 12)) AS reserved_usd,
    value_of.unknown_count,
    CAST(100 * (value_of.spent_usd + value_of.spent_picos * 0.000000000001) / (NULLIF(budgets.limit_picos, 0) * 0.000000000001) AS DOUBLE PRECISION) AS percent,
    value_of.state,
    to_char(to_timestamp(value_of.as_of_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS as_of
FROM budget_accounts AS value_of
JOIN budgets ON budgets.name = value_of.budget
WHERE budgets.present;

-- The role that `tallyd sql` takes reads the views made anew, where there is such a role and it is ours to grant.
DO $$
BEGIN
    GRANT SELECT ON budget_status, budget_values, alert_history TO tallyd_reader;
EXCEPTION
    WHEN undefined_object OR insufficient_privilege THEN
        RAISE NOTICE 'tallyd_reader may not read the new views: %', SQLERRM;
END
$$;
