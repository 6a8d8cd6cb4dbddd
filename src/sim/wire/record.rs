//! `GET /generation`: the record of what one generation was billed.

use std::fmt::Write as _;

use super::{nullable, quoted};
use crate::sim::behaviour::Behaviour;
use crate::sim::picos::{Notation, Picos};
use crate::sim::truth::{Billed, Outcome, Tokens};

/// The record's body; `unready` shows it as it is before it is final: no tokens, no cost.
pub(in crate::sim) fn whole(billed: &Billed, behaviour: &Behaviour, unready: bool) -> String {
    let odd = Behaviour::on(behaviour.odd_record);
    let notation = behaviour.notation.unwrap_or(if odd { Notation::Python } else { Notation::JavaScript });
    let (tokens, cost) = if unready { (Tokens::default(), Picos::ZERO) } else { (billed.tokens, billed.cost) };
    let (prompt, completion) = if unready { (0, 0) } else { billed.normalised() };
    let cost = cost.json(notation);
    let upstream = if unready { Picos::ZERO } else { billed.upstream.unwrap_or_default() };
    let id = if Behaviour::on(behaviour.wrong_id) { "gen-1700000000-AnotherGeneration000" } else { billed.id.as_str() };
    let at = billed.created_at.to_iso();
    let created = if odd { at.replace('Z', "433+00:00") } else { at };
    let native_finish = match billed.finish_reason.as_deref() {
        Some("stop") => Some(billed.model.native_stop),
        other => other,
    };
    let mut text = String::with_capacity(2048);
    let _ = write!(
        text,
        "{{\"data\":{{\"id\":\"{id}\",\"upstream_id\":null,\"total_cost\":{cost},\"cache_discount\":{},\"upstream_inference_cost\":{},\"created_at\":\"{created}\",\"model\":\"{}\",\"app_id\":null,\"streamed\":{},\"cancelled\":{},\"provider_name\":\"{}\",\"latency\":{},\"moderation_latency\":null,\"generation_time\":{},\"finish_reason\":{},\"native_finish_reason\":{},\"tokens_prompt\":{prompt},\"tokens_completion\":{completion},\"native_tokens_prompt\":{},\"native_tokens_completion\":{},\"native_tokens_completion_images\":0,\"native_tokens_reasoning\":{},\"native_tokens_cached\":{},\"num_media_prompt\":null,\"num_input_audio_prompt\":null,\"num_media_completion\":0,\"num_search_results\":null,\"origin\":\"\",\"usage\":{cost},\"is_byok\":{},\"external_user\":{},\"api_type\":\"{}\",\"router\":{}",
        billed.cache_discount.map_or_else(|| "null".to_owned(), |saved| saved.json(notation)),
        upstream.json(notation),
        billed.model.permaslug,
        billed.streamed,
        billed.outcome == Outcome::Cancelled,
        billed.provider.name,
        billed.latency_ms,
        billed.generation_ms,
        nullable(billed.finish_reason.as_deref()),
        nullable(native_finish),
        tokens.prompt,
        tokens.completion,
        tokens.reasoning,
        tokens.cached,
        billed.is_byok,
        nullable(billed.user.as_deref()),
        if odd { "decisions" } else { billed.endpoint.api_type() },
        if billed.requested.starts_with("openrouter/") { quoted(&billed.requested) } else { "null".to_owned() },
    );
    text.push_str(",\"provider_responses\":[");
    for (nth, attempt) in billed.attempts.iter().enumerate() {
        let _ = write!(
            text,
            "{}{{\"endpoint_id\":\"4f0c1d2e-0000-4000-8000-{nth:012}\",\"id\":null,\"is_byok\":{},\"latency\":{},\"model_permaslug\":\"{}\",\"provider_name\":\"{}\",\"status\":{}}}",
            if nth == 0 { "" } else { "," },
            billed.is_byok,
            attempt.latency_ms,
            attempt.model.permaslug,
            attempt.provider.name,
            attempt.status
        );
    }
    text.push(']');
    if !Behaviour::on(behaviour.old_record) {
        let _ = write!(
            text,
            ",\"service_tier\":null,\"web_search_engine\":null,\"num_fetches\":null,\"preset_id\":null,\"user_agent\":null,\"http_referer\":\"\",\"data_region\":\"global\",\"workspace_id\":null,\"request_id\":\"req-{}\",\"session_id\":{},\"response_cache_source_id\":{}",
            billed.id.as_str().trim_start_matches("gen-"),
            nullable(billed.session.as_deref()),
            nullable(billed.cache_source.as_ref().map(crate::domain::ids::GenerationId::as_str)),
        );
    }
    if odd {
        text.push_str(",\"unheard_of\":{\"deep\":[1,2,3]},\"unheard_text\":\"ignored\",\"unheard_number\":-2.023e-06,\"unheard_flag\":true");
    }
    text.push_str("}}");
    text
}
