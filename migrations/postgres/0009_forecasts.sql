-- Where each budget's window was heading at the last 15-minute step: one row a budget. Without a forecast `reason` says why.
CREATE TABLE budget_forecasts (
    budget TEXT NOT NULL PRIMARY KEY,
    window_start_ms BIGINT NOT NULL,
    as_of_ms BIGINT NOT NULL,
    signals TEXT NOT NULL,
    reason TEXT,
    basis TEXT,
    known BIGINT,
    projected_usd BIGINT,
    projected_picos BIGINT,
    low_usd BIGINT,
    low_picos BIGINT,
    high_usd BIGINT,
    high_picos BIGINT,
    early_ms BIGINT,
    likely_ms BIGINT,
    late_ms BIGINT
);

CREATE VIEW budget_forecast AS
SELECT
    forecast.budget,
    to_char(to_timestamp(forecast.window_start_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS window_start,
    to_char(to_timestamp(forecast.as_of_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS as_of,
    forecast.reason,
    forecast.basis,
    CAST(forecast.projected_usd + forecast.projected_picos * 0.000000000001 AS NUMERIC(20, 12)) AS projected_usd,
    CAST(forecast.low_usd + forecast.low_picos * 0.000000000001 AS NUMERIC(20, 12)) AS low_usd,
    CAST(forecast.high_usd + forecast.high_picos * 0.000000000001 AS NUMERIC(20, 12)) AS high_usd,
    to_char(to_timestamp(forecast.early_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS reaches_early,
    to_char(to_timestamp(forecast.likely_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS reaches_likely,
    to_char(to_timestamp(forecast.late_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS reaches_late
FROM budget_forecasts AS forecast
JOIN budgets ON budgets.name = forecast.budget
WHERE budgets.present;

-- Hours far above what is usual, and new steady spenders; the unique key is what makes one told once for its day. '' where
-- calls name none.
CREATE TABLE spikes (
    spike_id TEXT NOT NULL PRIMARY KEY,
    day_ms BIGINT NOT NULL,
    kind TEXT NOT NULL,
    dimension TEXT NOT NULL,
    name TEXT NOT NULL,
    since_ms BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    found_ms BIGINT NOT NULL,
    cost_usd BIGINT NOT NULL,
    cost_picos BIGINT NOT NULL,
    usual_usd BIGINT NOT NULL,
    usual_picos BIGINT NOT NULL,
    recipients BIGINT NOT NULL,
    UNIQUE (day_ms, kind, dimension, name)
);
CREATE INDEX spikes_found ON spikes (found_ms, spike_id);

CREATE VIEW spike_history AS
SELECT
    spike_id,
    kind,
    dimension,
    NULLIF(name, '') AS name,
    to_char(to_timestamp(since_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS since,
    to_char(to_timestamp(until_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS until,
    to_char(to_timestamp(found_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS found_at,
    CAST(cost_usd + cost_picos * 0.000000000001 AS NUMERIC(20, 12)) AS cost_usd,
    CAST(usual_usd + usual_picos * 0.000000000001 AS NUMERIC(20, 12)) AS usual_usd,
    recipients
FROM spikes;

-- The role that `tallyd sql` takes reads the new views too, where there is such a role and it is ours to grant.
DO $$
BEGIN
    GRANT SELECT ON budget_forecast, spike_history TO tallyd_reader;
EXCEPTION
    WHEN insufficient_privilege OR undefined_object THEN
        RAISE NOTICE 'tallyd_reader may not read the new views: %', SQLERRM;
END
$$;
