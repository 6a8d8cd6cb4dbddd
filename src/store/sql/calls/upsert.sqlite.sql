-- The row of values is repeated for as many rows as are written at once (`calls::row`).
INSERT INTO calls (
    call_id, state, captured_by, recorded_ms, seen_ms, created_ms, attribution_by, facts_by, flags, settle_step,
    settle_attempts, settle_failures, settle_zero_readings, generation_id, under_way_in, settled_ms, key_name,
    key_sha256, key_tail, app, end_user, session, tags, requested_model, routing, endpoint, http_status,
    error_code, error_type, error_message, model, openrouter_created_ms, reply_model, permaslug, provider,
    finish_reason, streamed, cancelled, is_byok, tokens_prompt, tokens_completion, native_tokens_prompt,
    native_tokens_completion, native_tokens_reasoning, native_tokens_cached, cache_write_tokens, inline_picos,
    inline_upstream_picos, settled_picos, settled_upstream_picos, cache_discount_picos, latency_ms,
    generation_time_ms, charged_picos, upstream_picos, cost_picos, first_byte_ms, duration_ms, settle_due_ms,
    settle_since_ms, settle_reason
)
VALUES
    (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
    ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (call_id) DO UPDATE SET
    state = excluded.state, captured_by = excluded.captured_by, recorded_ms = excluded.recorded_ms,
    seen_ms = excluded.seen_ms, created_ms = excluded.created_ms, attribution_by = excluded.attribution_by,
    facts_by = excluded.facts_by, flags = excluded.flags, settle_step = excluded.settle_step,
    settle_attempts = excluded.settle_attempts, settle_failures = excluded.settle_failures,
    settle_zero_readings = excluded.settle_zero_readings, generation_id = excluded.generation_id,
    under_way_in = excluded.under_way_in, settled_ms = excluded.settled_ms, key_name = excluded.key_name,
    key_sha256 = excluded.key_sha256, key_tail = excluded.key_tail, app = excluded.app,
    end_user = excluded.end_user, session = excluded.session, tags = excluded.tags,
    requested_model = excluded.requested_model, routing = excluded.routing, endpoint = excluded.endpoint,
    http_status = excluded.http_status, error_code = excluded.error_code, error_type = excluded.error_type,
    error_message = excluded.error_message, model = excluded.model,
    openrouter_created_ms = excluded.openrouter_created_ms, reply_model = excluded.reply_model,
    permaslug = excluded.permaslug, provider = excluded.provider, finish_reason = excluded.finish_reason,
    streamed = excluded.streamed, cancelled = excluded.cancelled, is_byok = excluded.is_byok,
    tokens_prompt = excluded.tokens_prompt, tokens_completion = excluded.tokens_completion,
    native_tokens_prompt = excluded.native_tokens_prompt,
    native_tokens_completion = excluded.native_tokens_completion,
    native_tokens_reasoning = excluded.native_tokens_reasoning,
    native_tokens_cached = excluded.native_tokens_cached, cache_write_tokens = excluded.cache_write_tokens,
    inline_picos = excluded.inline_picos, inline_upstream_picos = excluded.inline_upstream_picos,
    settled_picos = excluded.settled_picos, settled_upstream_picos = excluded.settled_upstream_picos,
    cache_discount_picos = excluded.cache_discount_picos, latency_ms = excluded.latency_ms,
    generation_time_ms = excluded.generation_time_ms, charged_picos = excluded.charged_picos,
    upstream_picos = excluded.upstream_picos, cost_picos = excluded.cost_picos,
    first_byte_ms = excluded.first_byte_ms, duration_ms = excluded.duration_ms,
    settle_due_ms = excluded.settle_due_ms, settle_since_ms = excluded.settle_since_ms,
    settle_reason = excluded.settle_reason, lease_owner = NULL, lease_until_ms = NULL
