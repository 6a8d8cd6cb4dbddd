-- The documented views; see docs/sql.md.
CREATE VIEW usage AS
SELECT
    call_id,
    generation_id,
    to_char(to_timestamp(created_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS created_at,
    created_ms,
    state,
    captured_by,
    app,
    key_name,
    end_user,
    session,
    tags,
    requested_model,
    model,
    provider,
    routing,
    endpoint,
    streamed,
    cancelled,
    http_status,
    error_type,
    finish_reason,
    tokens_prompt,
    tokens_completion,
    native_tokens_prompt,
    native_tokens_completion,
    native_tokens_reasoning,
    native_tokens_cached,
    cache_write_tokens,
    CAST(inline_picos * 0.000000000001 AS NUMERIC(20, 12)) AS inline_cost_usd,
    CAST(settled_picos * 0.000000000001 AS NUMERIC(20, 12)) AS settled_cost_usd,
    CAST(upstream_picos * 0.000000000001 AS NUMERIC(20, 12)) AS upstream_cost_usd,
    CAST(charged_picos * 0.000000000001 AS NUMERIC(20, 12)) AS charged_usd,
    CAST(cost_picos * 0.000000000001 AS NUMERIC(20, 12)) AS cost_usd,
    cost_picos AS cost_picousd,
    CAST(cache_discount_picos * 0.000000000001 AS NUMERIC(20, 12)) AS cache_discount_usd,
    is_byok,
    latency_ms,
    generation_time_ms,
    first_byte_ms,
    duration_ms,
    flags,
    to_char(to_timestamp(recorded_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS recorded_at,
    to_char(to_timestamp(settled_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS settled_at,
    settled_ms
FROM calls
WHERE state <> 'open';

CREATE VIEW usage_tags AS
SELECT calls.call_id, tag.key AS name, tag.value AS value
FROM calls, json_each_text(CAST(calls.tags AS JSON)) AS tag
WHERE calls.state <> 'open';

CREATE VIEW spend_by_day AS
SELECT
    to_char(to_timestamp(bucket_ms / 1000) AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day,
    NULLIF(app, '') AS app,
    NULLIF(key_name, '') AS key_name,
    NULLIF(model, '') AS model,
    NULLIF(provider, '') AS provider,
    CAST(SUM(completions) AS BIGINT) AS completions,
    CAST(SUM(failures) AS BIGINT) AS failures,
    CAST(SUM(tokens_prompt) AS BIGINT) AS tokens_prompt,
    CAST(SUM(tokens_completion) AS BIGINT) AS tokens_completion,
    CAST(SUM(cost_picos) * 0.000000000001 AS NUMERIC(20, 12)) AS cost_usd,
    CAST(SUM(unknown) AS BIGINT) AS unknown
FROM spend_buckets
GROUP BY 1, 2, 3, 4, 5;

CREATE VIEW spend_by_bucket AS
SELECT
    bucket_ms,
    NULLIF(app, '') AS app,
    NULLIF(key_name, '') AS key_name,
    NULLIF(model, '') AS model,
    NULLIF(provider, '') AS provider,
    NULLIF(endpoint, '') AS endpoint,
    is_byok,
    completions,
    failures,
    tokens_prompt,
    tokens_completion,
    native_tokens_prompt,
    native_tokens_completion,
    native_tokens_reasoning,
    native_tokens_cached,
    CAST(cost_picos * 0.000000000001 AS NUMERIC(20, 12)) AS cost_usd,
    cost_picos AS cost_picousd,
    unknown
FROM spend_buckets
WHERE completions <> 0 OR failures <> 0;

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
    to_char(to_timestamp(as_of_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS as_of
FROM budgets
WHERE present;

-- Where the mail of each crossing stands, by what became of its recipients' messages.
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
    to_char(to_timestamp(alerts.window_start_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS window_start,
    to_char(to_timestamp(alerts.window_end_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS window_end,
    alerts.threshold,
    alerts.kind,
    to_char(to_timestamp(alerts.crossed_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS crossed_at,
    CAST(alerts.limit_picos * 0.000000000001 AS NUMERIC(20, 12)) AS limit_usd,
    CAST(alerts.spent_usd + alerts.spent_picos * 0.000000000001 AS NUMERIC(20, 12)) AS spent_usd,
    mail.mail_state,
    to_char(to_timestamp(mail.sent_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS sent_at
FROM alerts
JOIN alert_mail AS mail ON mail.alert_id = alerts.alert_id;

CREATE VIEW refusals AS
SELECT
    to_char(to_timestamp(minute_ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS minute_at,
    minute_ms,
    cause,
    NULLIF(budget, '') AS budget,
    NULLIF(app, '') AS app,
    NULLIF(key_name, '') AS key_name,
    refused
FROM refusals_by_minute;

-- The role that `tallyd sql` takes: it may read the views and nothing else. Where we may not make
-- roles, `tallyd sql` says which statements an administrator has to run.
DO $$
BEGIN
    BEGIN
        IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'tallyd_reader') THEN
            CREATE ROLE tallyd_reader NOLOGIN;
        END IF;
    EXCEPTION
        -- A tallyd on another database of this server was faster.
        WHEN duplicate_object OR unique_violation THEN NULL;
    END;
    -- From version 16 on, making a role does not yet allow to take it.
    IF NOT pg_has_role(current_user, 'tallyd_reader', 'USAGE') THEN
        EXECUTE format('GRANT tallyd_reader TO %I', current_user);
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO tallyd_reader', current_schema());
    GRANT SELECT ON usage, usage_tags, spend_by_day, spend_by_bucket, budget_status, alert_history, refusals
        TO tallyd_reader;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE NOTICE 'tallyd_reader was not made: %', SQLERRM;
END
$$;
