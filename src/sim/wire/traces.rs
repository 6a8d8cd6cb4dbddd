//! What Broadcast pushes: a root span with everything, and children that repeat the cost.

use std::fmt::Write as _;

use super::quoted;
use crate::sim::picos::Notation;
use crate::sim::truth::{Billed, Outcome};

/// The body of a push. Without `privacy`, prompt and completion are in it.
pub(in crate::sim) fn body(billed: &Billed, privacy: bool) -> String {
    let cost = billed.cost.json(Notation::JavaScript);
    let text =
        |key: &str, value: &str| format!("{{\"key\":\"{key}\",\"value\":{{\"stringValue\":{}}}}}", quoted(value));
    let int = |key: &str, value: u32| format!("{{\"key\":\"{key}\",\"value\":{{\"intValue\":\"{value}\"}}}}");
    let double = |key: &str, value: &str| format!("{{\"key\":\"{key}\",\"value\":{{\"doubleValue\":{value}}}}}");
    let id = text("gen_ai.response.id", billed.id.as_str());
    let total = double("gen_ai.usage.total_cost", &cost);
    let tokens = billed.tokens;
    let mut attempts = String::from("[");
    for (nth, attempt) in billed.attempts.iter().enumerate() {
        let _ = write!(
            attempts,
            "{}{{\"provider_name\":{},\"status\":{},\"latency\":{},\"is_byok\":{}}}",
            if nth == 0 { "" } else { "," },
            quoted(attempt.provider.name),
            attempt.status,
            attempt.latency_ms,
            billed.is_byok
        );
    }
    attempts.push(']');
    let mut root = vec![
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.system", billed.provider.slug),
        text("gen_ai.provider.name", billed.provider.slug),
        text("gen_ai.request.model", billed.requested.split(':').next().unwrap_or_default()),
        text("gen_ai.response.model", billed.model.permaslug),
        id.clone(),
        int("gen_ai.usage.input_tokens", tokens.prompt),
        int("gen_ai.usage.output_tokens", tokens.completion),
        int("gen_ai.usage.total_tokens", tokens.prompt + tokens.completion),
        int("gen_ai.usage.input_tokens.cached", tokens.cached),
        int("gen_ai.usage.output_tokens.reasoning", tokens.reasoning),
        total.clone(),
        text("trace.metadata.openrouter.source", "openrouter"),
        text("trace.metadata.openrouter.api_key_name", &format!("key {}", billed.key.tail)),
        text("trace.metadata.openrouter.provider_name", billed.provider.name),
        double("trace.metadata.openrouter.first_token_ms", &billed.latency_ms.to_string()),
        text("trace.metadata.provider_responses", &attempts),
    ];
    if !privacy {
        root.push(text("gen_ai.prompt", "{\"messages\":[{\"role\":\"user\",\"content\":\"A question.\"}]}"));
        root.push(text("gen_ai.completion", "{\"completion\":\"An answer.\",\"rawRequest\":{}}"));
    }
    let optional = [
        ("gen_ai.response.finish_reason", billed.finish_reason.as_deref()),
        ("user.id", billed.user.as_deref()),
        ("session.id", billed.session.as_deref()),
    ];
    root.extend(optional.into_iter().filter_map(|(key, value)| Some(text(key, value?))));
    let code = if billed.outcome == Outcome::Failed { 2 } else { 1 };
    let start = billed.created_at.millis();
    let end = start + i64::from(billed.generation_ms);
    let span = |span_id: &str, parent: &str, name: &str, attributes: &str| {
        format!(
            "{{\"traceId\":\"b3ebf13c65d471e7b388f8160a498078\",\"spanId\":\"{span_id}\",{parent}\"name\":{},\"kind\":3,\"startTimeUnixNano\":\"{start}000000\",\"endTimeUnixNano\":\"{end}000000\",\"attributes\":[{attributes}],\"status\":{{\"code\":{code}}}}}",
            quoted(name)
        )
    };
    let parent = "\"parentSpanId\":\"b3ebf13c65d471e7\",";
    let attempt = format!("provider attempt 1: {}", billed.provider.name);
    let spans = [
        span("b3ebf13c65d471e7", "", "LLM Generation", &root.join(",")),
        span("00000000000000a1", parent, &attempt, &total),
        span("00000000000000a2", parent, "generation", &format!("{id},{total}")),
    ];
    format!(
        "{{\"resourceSpans\":[{{\"resource\":{{\"attributes\":[{}]}},\"scopeSpans\":[{{\"scope\":{{\"name\":\"openrouter\"}},\"spans\":[{}]}}]}}]}}",
        text("service.name", "openrouter"),
        spans.join(",")
    )
}
