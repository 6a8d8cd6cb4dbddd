-- Budgets of each value of a field: their counters, thresholds and crossings are each value's; '' is a budget of one account.
CREATE TABLE budget_counters (
    budget TEXT NOT NULL,
    value TEXT NOT NULL,
    bucket_ms BIGINT NOT NULL,
    cost_picos BIGINT NOT NULL,
    inline_picos BIGINT NOT NULL,
    unknown_count BIGINT NOT NULL,
    PRIMARY KEY (budget, value, bucket_ms)
) WITHOUT ROWID;
INSERT INTO budget_counters SELECT budget, '', bucket_ms, cost_picos, inline_picos, unknown_count FROM budget_buckets;
DROP TABLE budget_buckets;
ALTER TABLE budget_counters RENAME TO budget_buckets;
CREATE INDEX budget_buckets_by_time ON budget_buckets (budget, bucket_ms);
CREATE TABLE threshold_arms (
    budget TEXT NOT NULL,
    value TEXT NOT NULL,
    threshold TEXT NOT NULL,
    armed_ms BIGINT NOT NULL,
    PRIMARY KEY (budget, value, threshold)
) WITHOUT ROWID;
INSERT INTO threshold_arms SELECT budget, '', threshold, armed_ms FROM budget_arms;
DROP TABLE budget_arms;
ALTER TABLE threshold_arms RENAME TO budget_arms;
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
) WITHOUT ROWID;
CREATE INDEX budget_accounts_by_burn ON budget_accounts (budget, spent_usd, spent_picos, value);

DROP VIEW alert_history;
DROP VIEW alert_mail;
CREATE TABLE crossings (
    alert_id TEXT NOT NULL PRIMARY KEY,
    budget TEXT NOT NULL,
    value TEXT NOT NULL,
    window_key_ms BIGINT NOT NULL,
    threshold TEXT NOT NULL,
    limit_picos BIGINT NOT NULL,
    window_start_ms BIGINT NOT NULL,
    window_end_ms BIGINT,
    kind TEXT NOT NULL,
    crossed_ms BIGINT NOT NULL,
    spent_usd BIGINT NOT NULL,
    spent_picos BIGINT NOT NULL,
    details TEXT NOT NULL,
    UNIQUE (budget, value, window_key_ms, threshold, limit_picos)
);
INSERT INTO crossings
SELECT
    alert_id, budget, '', window_key_ms, threshold, limit_picos, window_start_ms, window_end_ms, kind, crossed_ms,
    spent_usd, spent_picos, details
FROM alerts;
DROP TABLE alerts;
ALTER TABLE crossings RENAME TO alerts;
CREATE INDEX alerts_crossed ON alerts (crossed_ms, alert_id);
CREATE VIEW alert_mail AS
SELECT
    alerts.alert_id,
    CASE
        WHEN COUNT(told.recipient) = 0 THEN 'not_mailed'
        WHEN COUNT(CASE WHEN messages.state = 'sent' THEN 1 END) = COUNT(told.recipient) THEN 'sent'
        WHEN COUNT(CASE WHEN messages.state = 'sent' THEN 1 END) > 0 THEN 'partly'
        WHEN COUNT(CASE WHEN messages.state = 'failed' THEN 1 END) = COUNT(told.recipient) THEN 'failed'
        ELSE 'queued'
    END AS mail_state,
    MAX(messages.sent_ms) AS sent_ms
FROM alerts
LEFT JOIN alert_recipients AS told ON told.alert_id = alerts.alert_id
LEFT JOIN messages ON messages.message_id = told.message_id
GROUP BY alerts.alert_id;

CREATE VIEW alert_history AS
SELECT
    alerts.alert_id,
    alerts.budget,
    strftime('%Y-%m-%dT%H:%M:%fZ', alerts.window_start_ms / 1000.0, 'unixepoch') AS window_start,
    strftime('%Y-%m-%dT%H:%M:%fZ', alerts.window_end_ms / 1000.0, 'unixepoch') AS window_end,
    alerts.threshold,
    alerts.kind,
    strftime('%Y-%m-%dT%H:%M:%fZ', alerts.crossed_ms / 1000.0, 'unixepoch') AS crossed_at,
    alerts.limit_picos / 1000000000000.0 AS limit_usd,
    alerts.spent_usd + alerts.spent_picos / 1000000000000.0 AS spent_usd,
    mail.mail_state,
    strftime('%Y-%m-%dT%H:%M:%fZ', mail.sent_ms / 1000.0, 'unixepoch') AS sent_at,
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
    strftime('%Y-%m-%dT%H:%M:%fZ', window_start_ms / 1000.0, 'unixepoch') AS window_start,
    strftime('%Y-%m-%dT%H:%M:%fZ', window_end_ms / 1000.0, 'unixepoch') AS window_end,
    limit_picos / 1000000000000.0 AS limit_usd,
    spent_usd + spent_picos / 1000000000000.0 AS spent_usd,
    reserved_usd + reserved_picos / 1000000000000.0 AS reserved_usd,
    unknown_count,
    100.0 * (spent_usd + spent_picos / 1000000000000.0) / (NULLIF(limit_picos, 0) / 1000000000000.0) AS percent,
    state,
    when_exceeded,
    strftime('%Y-%m-%dT%H:%M:%fZ', as_of_ms / 1000.0, 'unixepoch') AS as_of,
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
    strftime('%Y-%m-%dT%H:%M:%fZ', budgets.window_start_ms / 1000.0, 'unixepoch') AS window_start,
    strftime('%Y-%m-%dT%H:%M:%fZ', budgets.window_end_ms / 1000.0, 'unixepoch') AS window_end,
    budgets.limit_picos / 1000000000000.0 AS limit_usd,
    value_of.spent_usd + value_of.spent_picos / 1000000000000.0 AS spent_usd,
    value_of.reserved_usd + value_of.reserved_picos / 1000000000000.0 AS reserved_usd,
    value_of.unknown_count,
    100.0 * (value_of.spent_usd + value_of.spent_picos / 1000000000000.0) / (NULLIF(budgets.limit_picos, 0) / 1000000000000.0) AS percent,
    value_of.state,
    strftime('%Y-%m-%dT%H:%M:%fZ', value_of.as_of_ms / 1000.0, 'unixepoch') AS as_of
FROM budget_accounts AS value_of
JOIN budgets ON budgets.name = value_of.budget
WHERE budgets.present;
