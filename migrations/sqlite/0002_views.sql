-- The documented views; see docs/sql.md.
CREATE VIEW usage AS
SELECT
    call_id,
    generation_id,
    strftime('%Y-%m-%dT%H:%M:%fZ', created_ms / 1000.0, 'unixepoch') AS created_at,
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
    inline_picos / 1000000000000.0 AS inline_cost_usd,
    settled_picos / 1000000000000.0 AS settled_cost_usd,
    upstream_picos / 1000000000000.0 AS upstream_cost_usd,
    charged_picos / 1000000000000.0 AS charged_usd,
    cost_picos / 1000000000000.0 AS cost_usd,
    cost_picos AS cost_picousd,
    cache_discount_picos / 1000000000000.0 AS cache_discount_usd,
    is_byok,
    latency_ms,
    generation_time_ms,
    first_byte_ms,
    duration_ms,
    flags,
    strftime('%Y-%m-%dT%H:%M:%fZ', recorded_ms / 1000.0, 'unixepoch') AS recorded_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', settled_ms / 1000.0, 'unixepoch') AS settled_at,
    settled_ms
FROM calls
WHERE state <> 'open';

CREATE VIEW usage_tags AS
SELECT calls.call_id, tag.key AS name, tag.value AS value
FROM calls, json_each(calls.tags) AS tag
WHERE calls.state <> 'open';

CREATE VIEW spend_by_day AS
SELECT
    strftime('%Y-%m-%d', bucket_ms / 1000, 'unixepoch') AS day,
    NULLIF(app, '') AS app,
    NULLIF(key_name, '') AS key_name,
    NULLIF(model, '') AS model,
    NULLIF(provider, '') AS provider,
    SUM(completions) AS completions,
    SUM(failures) AS failures,
    SUM(tokens_prompt) AS tokens_prompt,
    SUM(tokens_completion) AS tokens_completion,
    SUM(cost_picos / 1000000000000.0) AS cost_usd,
    SUM(unknown) AS unknown
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
    cost_picos / 1000000000000.0 AS cost_usd,
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
    strftime('%Y-%m-%dT%H:%M:%fZ', window_start_ms / 1000.0, 'unixepoch') AS window_start,
    strftime('%Y-%m-%dT%H:%M:%fZ', window_end_ms / 1000.0, 'unixepoch') AS window_end,
    limit_picos / 1000000000000.0 AS limit_usd,
    spent_usd + spent_picos / 1000000000000.0 AS spent_usd,
    reserved_usd + reserved_picos / 1000000000000.0 AS reserved_usd,
    unknown_count,
    100.0 * (spent_usd + spent_picos / 1000000000000.0) / (NULLIF(limit_picos, 0) / 1000000000000.0) AS percent,
    state,
    when_exceeded,
    strftime('%Y-%m-%dT%H:%M:%fZ', as_of_ms / 1000.0, 'unixepoch') AS as_of
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
    strftime('%Y-%m-%dT%H:%M:%fZ', alerts.window_start_ms / 1000.0, 'unixepoch') AS window_start,
    strftime('%Y-%m-%dT%H:%M:%fZ', alerts.window_end_ms / 1000.0, 'unixepoch') AS window_end,
    alerts.threshold,
    alerts.kind,
    strftime('%Y-%m-%dT%H:%M:%fZ', alerts.crossed_ms / 1000.0, 'unixepoch') AS crossed_at,
    alerts.limit_picos / 1000000000000.0 AS limit_usd,
    alerts.spent_usd + alerts.spent_picos / 1000000000000.0 AS spent_usd,
    mail.mail_state,
    strftime('%Y-%m-%dT%H:%M:%fZ', mail.sent_ms / 1000.0, 'unixepoch') AS sent_at
FROM alerts
JOIN alert_mail AS mail ON mail.alert_id = alerts.alert_id;

CREATE VIEW refusals AS
SELECT
    strftime('%Y-%m-%dT%H:%M:%fZ', minute_ms / 1000.0, 'unixepoch') AS minute_at,
    minute_ms,
    cause,
    NULLIF(budget, '') AS budget,
    NULLIF(app, '') AS app,
    NULLIF(key_name, '') AS key_name,
    refused
FROM refusals_by_minute;
