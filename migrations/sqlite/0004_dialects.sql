-- What was asked of models, how many attempts it took, and the job under which a film's cost is told.
ALTER TABLE calls ADD COLUMN requested_models TEXT;
ALTER TABLE calls ADD COLUMN attempts BIGINT;
ALTER TABLE calls ADD COLUMN failed_attempts BIGINT;
ALTER TABLE calls ADD COLUMN job_id TEXT;
CREATE INDEX calls_job ON calls (job_id) WHERE job_id IS NOT NULL;
-- Few rows are errors or flagged: what looks for them reads these alone.
CREATE INDEX calls_errored ON calls (created_ms) WHERE error_type IS NOT NULL;
CREATE INDEX calls_flagged ON calls (created_ms) WHERE flags <> '';

DROP VIEW usage;
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
    settled_ms,
    requested_models,
    CASE WHEN instr(requested_model, ':') > 0 THEN substr(requested_model, instr(requested_model, ':') + 1) END AS variant,
    attempts,
    failed_attempts,
    job_id
FROM calls
WHERE state <> 'open';
