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
) WITHOUT ROWID;

CREATE VIEW budget_forecast AS
SELECT
    forecast.budget,
    strftime('%Y-%m-%dT%H:%M:%fZ', forecast.window_start_ms / 1000.0, 'unixepoch') AS window_start,
    strftime('%Y-%m-%dT%H:%M:%fZ', forecast.as_of_ms / 1000.0, 'unixepoch') AS as_of,
    forecast.reason,
    forecast.basis,
    forecast.projected_usd + forecast.projected_picos / 1000000000000.0 AS projected_usd,
    forecast.low_usd + forecast.low_picos / 1000000000000.0 AS low_usd,
    forecast.high_usd + forecast.high_picos / 1000000000000.0 AS high_usd,
    strftime('%Y-%m-%dT%H:%M:%fZ', forecast.early_ms / 1000.0, 'unixepoch') AS reaches_early,
    strftime('%Y-%m-%dT%H:%M:%fZ', forecast.likely_ms / 1000.0, 'unixepoch') AS reaches_likely,
    strftime('%Y-%m-%dT%H:%M:%fZ', forecast.late_ms / 1000.0, 'unixepoch') AS reaches_late
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
    strftime('%Y-%m-%dT%H:%M:%fZ', since_ms / 1000.0, 'unixepoch') AS since,
    strftime('%Y-%m-%dT%H:%M:%fZ', until_ms / 1000.0, 'unixepoch') AS until,
    strftime('%Y-%m-%dT%H:%M:%fZ', found_ms / 1000.0, 'unixepoch') AS found_at,
    cost_usd + cost_picos / 1000000000000.0 AS cost_usd,
    usual_usd + usual_picos / 1000000000000.0 AS usual_usd,
    recipients
FROM spikes;
