-- Whose tables these are: a database that holds tables and not this one is refused.
CREATE TABLE tallyd_meta (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
INSERT INTO tallyd_meta (name, value) VALUES ('schema', 'tallyd');

-- The ledger: one call a row. *_ms are unix milliseconds, *_picos pico-dollars (10^-12 USD); NULL is unknown.
CREATE TABLE calls (
    call_id TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL,
    captured_by TEXT NOT NULL,
    recorded_ms BIGINT NOT NULL,
    seen_ms BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    attribution_by TEXT NOT NULL,
    facts_by TEXT NOT NULL,
    flags TEXT NOT NULL,
    settle_step BIGINT NOT NULL,
    settle_attempts BIGINT NOT NULL,
    settle_failures BIGINT NOT NULL,
    settle_zero_readings BIGINT NOT NULL,
    generation_id TEXT,
    under_way_in TEXT,
    settled_ms BIGINT,
    key_name TEXT,
    key_sha256 TEXT,
    key_tail TEXT,
    app TEXT,
    end_user TEXT,
    session TEXT,
    tags TEXT,
    requested_model TEXT,
    routing TEXT,
    endpoint TEXT,
    http_status BIGINT,
    error_code TEXT,
    error_type TEXT,
    error_message TEXT,
    model TEXT,
    openrouter_created_ms BIGINT,
    reply_model TEXT,
    permaslug TEXT,
    provider TEXT,
    finish_reason TEXT,
    streamed BOOLEAN,
    cancelled BOOLEAN,
    is_byok BOOLEAN,
    tokens_prompt BIGINT,
    tokens_completion BIGINT,
    native_tokens_prompt BIGINT,
    native_tokens_completion BIGINT,
    native_tokens_reasoning BIGINT,
    native_tokens_cached BIGINT,
    cache_write_tokens BIGINT,
    inline_picos BIGINT,
    inline_upstream_picos BIGINT,
    settled_picos BIGINT,
    settled_upstream_picos BIGINT,
    cache_discount_picos BIGINT,
    latency_ms BIGINT,
    generation_time_ms BIGINT,
    charged_picos BIGINT,
    upstream_picos BIGINT,
    cost_picos BIGINT,
    first_byte_ms BIGINT,
    duration_ms BIGINT,
    settle_due_ms BIGINT,
    settle_since_ms BIGINT,
    settle_reason TEXT,
    lease_owner TEXT,
    lease_until_ms BIGINT
);
CREATE UNIQUE INDEX calls_generation ON calls (generation_id);
CREATE INDEX calls_created ON calls (created_ms, call_id);
CREATE INDEX calls_settled ON calls (settled_ms) WHERE settled_ms IS NOT NULL;
CREATE INDEX calls_due_unknown ON calls (settle_due_ms) WHERE settle_due_ms IS NOT NULL AND cost_picos IS NULL;
CREATE INDEX calls_due_inline ON calls (settle_due_ms) WHERE settle_due_ms IS NOT NULL AND cost_picos IS NOT NULL;
CREATE INDEX calls_parked ON calls (key_sha256, settle_since_ms)
    WHERE state = 'pending' AND settle_due_ms IS NULL AND under_way_in IS NULL;
CREATE INDEX calls_under_way ON calls (under_way_in, call_id) WHERE under_way_in IS NOT NULL;
CREATE INDEX calls_leased ON calls (lease_owner) WHERE lease_owner IS NOT NULL;

-- What is kept of a generation record beyond the row's columns: JSON text.
CREATE TABLE generation_records (
    call_id TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL
) WITHOUT ROWID;

-- Sums of rows by 15 minutes (UTC); '' where a row names none. Changed in the transaction that changes the rows.
CREATE TABLE spend_buckets (
    bucket_ms BIGINT NOT NULL,
    app TEXT NOT NULL,
    key_name TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    is_byok BOOLEAN NOT NULL,
    completions BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    unknown BIGINT NOT NULL,
    inline_completions BIGINT NOT NULL,
    cost_picos BIGINT NOT NULL,
    inline_picos BIGINT NOT NULL,
    charged_picos BIGINT NOT NULL,
    cache_discount_picos BIGINT NOT NULL,
    tokens_prompt BIGINT NOT NULL,
    tokens_completion BIGINT NOT NULL,
    native_tokens_prompt BIGINT NOT NULL,
    native_tokens_completion BIGINT NOT NULL,
    native_tokens_reasoning BIGINT NOT NULL,
    native_tokens_cached BIGINT NOT NULL,
    PRIMARY KEY (bucket_ms, app, key_name, model, provider, endpoint, is_byok)
) WITHOUT ROWID;

-- Budgets as last seen in force. *_usd are whole dollars, the *_picos beside them the rest (0 <= rest < 1 dollar).
CREATE TABLE budgets (
    name TEXT NOT NULL PRIMARY KEY,
    origin TEXT NOT NULL,
    present BOOLEAN NOT NULL,
    definition TEXT NOT NULL,
    scope TEXT NOT NULL,
    window_kind TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    limit_picos BIGINT NOT NULL,
    when_exceeded TEXT NOT NULL,
    defined_ms BIGINT NOT NULL,
    counted_from_ms BIGINT,
    window_start_ms BIGINT,
    window_end_ms BIGINT,
    spent_usd BIGINT,
    spent_picos BIGINT,
    inline_usd BIGINT,
    inline_picos BIGINT,
    reserved_usd BIGINT,
    reserved_picos BIGINT,
    unknown_count BIGINT,
    state TEXT,
    as_of_ms BIGINT
);
CREATE TABLE budget_buckets (
    budget TEXT NOT NULL,
    bucket_ms BIGINT NOT NULL,
    cost_picos BIGINT NOT NULL,
    inline_picos BIGINT NOT NULL,
    unknown_count BIGINT NOT NULL,
    PRIMARY KEY (budget, bucket_ms)
) WITHOUT ROWID;
-- When each threshold of a rolling budget was last armed.
CREATE TABLE budget_arms (
    budget TEXT NOT NULL,
    threshold TEXT NOT NULL,
    armed_ms BIGINT NOT NULL,
    PRIMARY KEY (budget, threshold)
) WITHOUT ROWID;

-- One crossing a row; the unique key is what makes it told once.
CREATE TABLE alerts (
    alert_id TEXT NOT NULL PRIMARY KEY,
    budget TEXT NOT NULL,
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
    UNIQUE (budget, window_key_ms, threshold, limit_picos)
);
CREATE INDEX alerts_crossed ON alerts (crossed_ms, alert_id);
-- Mails, one a recipient; the Message-ID stays the same however often one is sent.
CREATE TABLE messages (
    message_id TEXT NOT NULL PRIMARY KEY,
    recipient TEXT NOT NULL,
    subject TEXT NOT NULL,
    text_body TEXT NOT NULL,
    html_body TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    next_attempt_ms BIGINT NOT NULL,
    last_error TEXT,
    lease_until_ms BIGINT,
    created_ms BIGINT NOT NULL,
    sent_ms BIGINT
);
CREATE INDEX messages_due ON messages (next_attempt_ms) WHERE state = 'queued';
CREATE INDEX messages_created ON messages (created_ms, message_id);
-- Who is told of a crossing, and by which mail; message_id is NULL until one is made.
CREATE TABLE alert_recipients (
    alert_id TEXT NOT NULL,
    recipient TEXT NOT NULL,
    crossed_ms BIGINT NOT NULL,
    message_id TEXT,
    PRIMARY KEY (alert_id, recipient)
) WITHOUT ROWID;
CREATE INDEX alert_recipients_uncomposed ON alert_recipients (crossed_ms) WHERE message_id IS NULL;

-- Calls that tallyd refused; '' where none is named.
CREATE TABLE refusals_by_minute (
    minute_ms BIGINT NOT NULL,
    cause TEXT NOT NULL,
    budget TEXT NOT NULL,
    app TEXT NOT NULL,
    key_name TEXT NOT NULL,
    refused BIGINT NOT NULL,
    PRIMARY KEY (minute_ms, cause, budget, app, key_name)
) WITHOUT ROWID;
CREATE TABLE refusals_recent (
    seq BIGINT NOT NULL PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    cause TEXT NOT NULL,
    budget TEXT,
    app TEXT,
    key_name TEXT,
    requested_model TEXT,
    endpoint TEXT NOT NULL
) WITHOUT ROWID;
-- How far each journal is drained.
CREATE TABLE journal_progress (
    journal_id TEXT NOT NULL PRIMARY KEY,
    segment BIGINT NOT NULL,
    segment_offset BIGINT NOT NULL
);
