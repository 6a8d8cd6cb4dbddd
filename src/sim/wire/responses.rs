//! `/responses`: the Responses API as OpenRouter speaks it.

use std::fmt::Write as _;

use super::Words;
use crate::sim::behaviour::{Behaviour, Failure, Usage};
use crate::sim::plan::Plan;

fn usage(plan: &Plan) -> String {
    let form = plan.behaviour.usage.unwrap_or(Usage::Twice);
    if form == Usage::None {
        return "null".to_owned();
    }
    let notation = plan.behaviour.notation.unwrap_or_default();
    let tokens = plan.shown();
    let bill = plan.bill(tokens);
    let mut text = format!(
        "{{\"input_tokens\":{},\"input_tokens_details\":{{\"cached_tokens\":{}}},\"output_tokens\":{},\"output_tokens_details\":{{\"reasoning_tokens\":{}}},\"total_tokens\":{}",
        tokens.prompt,
        tokens.cached,
        tokens.completion,
        tokens.reasoning,
        tokens.prompt + tokens.completion
    );
    if form == Usage::NullCost {
        text.push_str(",\"cost\":null");
    } else if form != Usage::NoCost {
        let _ = write!(
            text,
            ",\"cost\":{},\"is_byok\":{},\"cost_details\":{{\"upstream_inference_cost\":{},\"upstream_inference_input_cost\":{},\"upstream_inference_output_cost\":{}}}",
            bill.charged.json(notation),
            plan.byok,
            bill.list().json(notation),
            bill.prompt.json(notation),
            bill.completion.json(notation)
        );
    }
    text.push('}');
    text
}

/// Where a response stands.
enum Standing<'a> {
    InProgress,
    Completed(&'a str),
    Failed,
}

fn object(plan: &Plan, standing: &Standing<'_>) -> String {
    let second = plan.created_second();
    let cut_short = plan.finish == "length";
    let (status, completed, output, error, usage) = match standing {
        Standing::InProgress => ("in_progress", "null".to_owned(), String::new(), "null", "null".to_owned()),
        Standing::Completed(text) => {
            let status = if cut_short { "incomplete" } else { "completed" };
            (status, second.to_string(), item(&format!("[{}]", part(text)), status), "null", usage(plan))
        }
        Standing::Failed => (
            "failed",
            "null".to_owned(),
            String::new(),
            "{\"code\":\"server_error\",\"message\":\"Provider disconnected\"}",
            "null".to_owned(),
        ),
    };
    let details = match standing {
        Standing::Completed(_) if cut_short => "{\"reason\":\"max_output_tokens\"}",
        _ => "null",
    };
    format!(
        "{{\"id\":\"{}\",\"object\":\"response\",\"created_at\":{second},\"model\":\"{}\",\"status\":\"{status}\",\"completed_at\":{completed},\"output\":[{output}],\"error\":{error},\"incomplete_details\":{details},\"tools\":[],\"tool_choice\":\"auto\",\"parallel_tool_calls\":true,\"max_output_tokens\":null,\"temperature\":1,\"top_p\":1,\"metadata\":{{}},\"background\":false,\"previous_response_id\":null,\"service_tier\":\"default\",\"truncation\":\"disabled\",\"store\":false,\"instructions\":null,\"text\":{{\"format\":{{\"type\":\"text\"}}}},\"reasoning\":null,\"safety_identifier\":null,\"prompt_cache_key\":null,\"usage\":{usage}}}",
        plan.id,
        plan.model_name(),
    )
}

fn part(text: &str) -> String {
    format!("{{\"type\":\"output_text\",\"text\":\"{text}\",\"annotations\":[],\"logprobs\":[]}}")
}

fn item(content: &str, status: &str) -> String {
    format!(
        "{{\"id\":\"msg_tmp_simulated\",\"type\":\"message\",\"role\":\"assistant\",\"status\":\"{status}\",\"content\":{content}}}"
    )
}

/// The body of a reply that is not streamed.
pub(in crate::sim) fn whole(plan: &Plan) -> String {
    let words = Words::of(plan);
    let count = if plan.behaviour.big.is_some() || plan.behaviour.text.is_some() { 1 } else { 12 };
    object(plan, &Standing::Completed(&words.all(count)))
}

fn event(kind: &str, fields: &str, sequence: u32, out: &mut String) {
    let _ = write!(out, "data: {{\"type\":\"{kind}\",{fields},\"sequence_number\":{sequence}}}\n\n");
}

const PLACE: &str = "\"output_index\":0,\"item_id\":\"msg_tmp_simulated\",\"content_index\":0";

/// Events before the content.
const BEFORE: u32 = 4;

/// Writes the nth event before the content; false when there is none.
pub(in crate::sim) fn prologue(plan: &Plan, nth: u32, out: &mut String) -> bool {
    match nth {
        0 => event("response.created", &format!("\"response\":{}", object(plan, &Standing::InProgress)), 0, out),
        1 => event("response.in_progress", &format!("\"response\":{}", object(plan, &Standing::InProgress)), 1, out),
        2 => event(
            "response.output_item.added",
            &format!("\"output_index\":0,\"item\":{}", item("[]", "in_progress")),
            2,
            out,
        ),
        3 => event("response.content_part.added", &format!("{PLACE},\"part\":{}", part("")), 3, out),
        _ => return false,
    }
    true
}

/// Writes the nth piece of content.
pub(in crate::sim) fn content(words: &Words, reasoning: bool, nth: u32, out: &mut String) {
    let kind = if reasoning { "reasoning_text" } else { "output_text" };
    let _ = write!(out, "data: {{\"type\":\"response.{kind}.delta\",{PLACE},\"delta\":\"");
    words.push(nth, out);
    let _ = write!(out, "\",\"logprobs\":[],\"sequence_number\":{}}}\n\n", BEFORE + nth);
}

/// Writes the nth event after the content; false when there is none.
pub(in crate::sim) fn epilogue(plan: &Plan, words: &Words, chunks: u32, nth: u32, out: &mut String) -> bool {
    let sequence = BEFORE + chunks + nth;
    let silent = Behaviour::on(plan.behaviour.only_reasoning);
    let text = || if silent { String::new() } else { words.all(chunks) };
    match nth {
        0 => event(
            "response.output_text.done",
            &format!("{PLACE},\"text\":\"{}\",\"logprobs\":[]", text()),
            sequence,
            out,
        ),
        1 => event("response.content_part.done", &format!("{PLACE},\"part\":{}", part(&text())), sequence, out),
        2 => {
            let item = item(&format!("[{}]", part(&text())), "completed");
            event("response.output_item.done", &format!("\"output_index\":0,\"item\":{item}"), sequence, out);
        }
        3 => {
            let text = text();
            let response = object(plan, &Standing::Completed(&text));
            let kind = if plan.finish == "length" { "response.incomplete" } else { "response.completed" };
            event(kind, &format!("\"response\":{response}"), sequence, out);
        }
        _ => return false,
    }
    true
}

/// Writes the event that says that the provider failed.
pub(in crate::sim) fn error(plan: &Plan, sent: u32, out: &mut String) {
    const CODE: &str = "\"code\":\"server_error\",\"message\":\"Provider disconnected\"";
    let sequence = BEFORE + sent;
    match plan.behaviour.error_event.unwrap_or(Failure::Failed) {
        Failure::Failed => {
            let response = object(plan, &Standing::Failed);
            event("response.failed", &format!("\"response\":{response}"), sequence, out);
        }
        Failure::ResponseError => event("response.error", &format!("\"error\":{{{CODE}}}"), sequence, out),
        Failure::Error => event("error", &format!("{CODE},\"param\":null"), sequence, out),
    }
}
