-- What was asked of models, how many attempts it took, and the job under which a film's cost is told.
ALTER TABLE calls ADD COLUMN requested_models TEXT;
ALTER TABLE calls ADD COLUMN attempts BIGINT;
ALTER TABLE calls ADD COLUMN failed_attempts BIGINT;
ALTER TABLE calls ADD COLUMN job_id TEXT;
CREATE INDEX calls_job ON calls (job_id) WHERE job_id IS NOT NULL;
-- Few rows are errors or flagged: what looks for them reads these alone.
CREATE INDEX calls_errored ON calls (created_ms) WHERE error_type IS NOT NULL;
CREATE INDEX calls_flagged ON calls (created_ms) WHERE flags <> '';

-- New columns stand at the end, so that the view, and who may read it, stays.
CREATE OR REPLACE VIEW usage AS
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
    settled_ms,
    requested_models,
    NULLIF(split_part(requested_model, ':', 2), '') AS variant,
    attempts,
    failed_attempts,
    job_id
FROM calls
WHERE state <> 'open';
