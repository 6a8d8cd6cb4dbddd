//! `/messages`: Anthropic's Messages API as OpenRouter speaks it.

use std::fmt::Write as _;

use super::Words;
use crate::sim::behaviour::Usage;
use crate::sim::plan::Plan;

/// The fields of a final usage, without the braces.
fn usage(plan: &Plan) -> String {
    let notation = plan.behaviour.notation.unwrap_or_default();
    let tokens = plan.shown();
    let bill = plan.bill(tokens);
    // As at Anthropic, input tokens are those that the cache had no part in.
    let mut text = format!(
        "\"input_tokens\":{},\"output_tokens\":{},\"cache_creation_input_tokens\":{},\"cache_read_input_tokens\":{}",
        tokens.prompt - tokens.cached - tokens.cache_write,
        tokens.completion,
        tokens.cache_write,
        tokens.cached
    );
    match plan.behaviour.usage {
        Some(Usage::NoCost | Usage::None) => {}
        Some(Usage::NullCost) => text.push_str(",\"cost\":null"),
        _ => {
            let _ = write!(
                text,
                ",\"cost\":{},\"is_byok\":{},\"cost_details\":{{\"upstream_inference_cost\":{},\"upstream_inference_prompt_cost\":{},\"upstream_inference_completions_cost\":{}}}",
                bill.charged.json(notation),
                plan.byok,
                bill.list().json(notation),
                bill.prompt.json(notation),
                bill.completion.json(notation)
            );
        }
    }
    text
}

fn stop_reason(plan: &Plan) -> &str {
    match plan.finish.as_ref() {
        "stop" => "end_turn",
        "length" => "max_tokens",
        "tool_calls" => "tool_use",
        other => other,
    }
}

/// The body of a reply that is not streamed.
pub(in crate::sim) fn whole(plan: &Plan) -> String {
    let words = Words::of(plan);
    let count = if plan.behaviour.big.is_some() || plan.behaviour.text.is_some() { 1 } else { 12 };
    let usage = match plan.behaviour.usage {
        Some(Usage::None) => String::new(),
        _ => format!(
            ",\"usage\":{{\"cache_creation\":null,\"inference_geo\":null,\"server_tool_use\":null,\"service_tier\":\"standard\",\"speed\":\"standard\",{}}}",
            usage(plan)
        ),
    };
    format!(
        "{{\"id\":\"{}\",\"type\":\"message\",\"role\":\"assistant\",\"container\":null,\"model\":\"{}\",\"provider\":\"{}\",\"content\":[{{\"type\":\"text\",\"text\":\"{}\",\"citations\":[]}}],\"stop_reason\":\"{}\",\"stop_sequence\":null,\"stop_details\":null{usage}}}",
        plan.id,
        plan.model_name(),
        plan.route.provider.name,
        words.all(count),
        stop_reason(plan)
    )
}

/// Writes the nth event before the content; false when there is none.
pub(in crate::sim) fn prologue(plan: &Plan, nth: u32, out: &mut String) -> bool {
    match nth {
        0 => {
            let _ = write!(
                out,
                "event: message_start\ndata: {{\"type\":\"message_start\",\"message\":{{\"id\":\"{}\",\"type\":\"message\",\"role\":\"assistant\",\"container\":null,\"content\":[],\"model\":\"{}\",\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{{\"input_tokens\":0,\"output_tokens\":0,\"cache_creation_input_tokens\":null,\"cache_read_input_tokens\":null,\"cache_creation\":null,\"service_tier\":null,\"server_tool_use\":null}},\"provider\":\"{}\"}}}}\n\n",
                plan.id,
                plan.model_name(),
                plan.route.provider.name
            );
        }
        1 => out.push_str("event: ping\ndata: {\"type\":\"ping\"}\n\n"),
        2 => out.push_str(
            "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\",\"citations\":[]}}\n\n",
        ),
        _ => return false,
    }
    true
}

/// Writes the nth piece of content.
pub(in crate::sim) fn content(words: &Words, reasoning: bool, nth: u32, out: &mut String) {
    out.push_str(
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"",
    );
    out.push_str(if reasoning { "thinking_delta\",\"thinking\":\"" } else { "text_delta\",\"text\":\"" });
    words.push(nth, out);
    out.push_str("\"}}\n\n");
}

/// Writes the nth event after the content; false when there is none.
pub(in crate::sim) fn epilogue(plan: &Plan, nth: u32, out: &mut String) -> bool {
    match nth {
        0 => out.push_str("event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"),
        1 => {
            let usage = match plan.behaviour.usage {
                Some(Usage::None) => String::new(),
                _ => format!(",\"usage\":{{{}}}", usage(plan)),
            };
            let _ = write!(
                out,
                "event: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"{}\",\"stop_sequence\":null,\"container\":null}}{usage}}}\n\n",
                stop_reason(plan)
            );
        }
        2 => out.push_str("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"),
        _ => return false,
    }
    true
}

/// The event that says that the provider failed.
pub(in crate::sim) const ERROR: &str = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"Provider disconnected\",\"error_type\":\"provider_unavailable\"},\"request_id\":null}\n\n";
