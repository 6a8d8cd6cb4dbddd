-- Row by row in the order given, so that two writers lock in one order.
INSERT INTO calls (
    call_id, state, captured_by, recorded_ms, seen_ms, created_ms, attribution_by, facts_by, flags, settle_step,
    settle_attempts, settle_failures, settle_zero_readings, generation_id, under_way_in, settled_ms, key_name,
    key_sha256, key_tail, app, end_user, session, tags, requested_model, routing, endpoint, http_status,
    error_code, error_type, error_message, model, openrouter_created_ms, reply_model, permaslug, provider,
    finish_reason, streamed, cancelled, is_byok, tokens_prompt, tokens_completion, native_tokens_prompt,
    native_tokens_completion, native_tokens_reasoning, native_tokens_cached, cache_write_tokens, inline_picos,
    inline_upstream_picos, settled_picos, settled_upstream_picos, cache_discount_picos, latency_ms,
    generation_time_ms, charged_picos, upstream_picos, cost_picos, first_byte_ms, duration_ms, settle_due_ms,
    settle_since_ms, settle_reason, tally_key_id, requested_models, attempts, failed_attempts, job_id, estimate_picos
)
SELECT
    call_id, state, captured_by, recorded_ms, seen_ms, created_ms, attribution_by, facts_by, flags, settle_step,
    settle_attempts, settle_failures, settle_zero_readings, generation_id, under_way_in, settled_ms, key_name,
    key_sha256, key_tail, app, end_user, session, tags, requested_model, routing, endpoint, http_status,
    error_code, error_type, error_message, model, openrouter_created_ms, reply_model, permaslug, provider,
    finish_reason, streamed, cancelled, is_byok, tokens_prompt, tokens_completion, native_tokens_prompt,
    native_tokens_completion, native_tokens_reasoning, native_tokens_cached, cache_write_tokens, inline_picos,
    inline_upstream_picos, settled_picos, settled_upstream_picos, cache_discount_picos, latency_ms,
    generation_time_ms, charged_picos, upstream_picos, cost_picos, first_byte_ms, duration_ms, settle_due_ms,
    settle_since_ms, settle_reason, tally_key_id, requested_models, attempts, failed_attempts, job_id, estimate_picos
FROM json_populate_recordset(NULL::calls, $1)
