//! `/chat/completions` and the older `/completions`.

use std::fmt::Write as _;

use super::Words;
use crate::sim::behaviour::{Behaviour, Code, Embedded, Usage};
use crate::sim::endpoint::Endpoint;
use crate::sim::plan::Plan;

/// Words of a reply that is not streamed.
const WHOLE_WORDS: u32 = 12;

fn id_field(plan: &Plan) -> String {
    if Behaviour::on(plan.behaviour.no_body_id) { String::new() } else { format!("\"id\":\"{}\",", plan.id) }
}

/// The `usage` object, or nothing if the reply is to have none.
pub(in crate::sim) fn usage(plan: &Plan) -> Option<String> {
    let form = plan.behaviour.usage.unwrap_or(Usage::Twice);
    if form == Usage::None {
        return None;
    }
    let notation = plan.behaviour.notation.unwrap_or_default();
    let tokens = plan.shown();
    let bill = plan.bill(tokens);
    let mut text = format!(
        "{{\"prompt_tokens\":{},\"completion_tokens\":{},\"total_tokens\":{}",
        tokens.prompt,
        tokens.completion,
        tokens.prompt + tokens.completion
    );
    let _ = match form {
        Usage::NoCost => Ok(()),
        Usage::NullCost => write!(text, ",\"cost\":null,\"is_byok\":{}", plan.byok),
        _ => write!(text, ",\"cost\":{},\"is_byok\":{}", bill.charged.json(notation), plan.byok),
    };
    let _ = write!(
        text,
        ",\"prompt_tokens_details\":{{\"cached_tokens\":{},\"cache_write_tokens\":{},\"audio_tokens\":0,\"video_tokens\":0}}",
        tokens.cached, tokens.cache_write
    );
    if !matches!(form, Usage::NoCost | Usage::NullCost) {
        let _ = write!(
            text,
            ",\"cost_details\":{{\"upstream_inference_cost\":{},\"upstream_inference_prompt_cost\":{},\"upstream_inference_completions_cost\":{}}}",
            bill.list().json(notation),
            bill.prompt.json(notation),
            bill.completion.json(notation)
        );
    }
    let _ = write!(
        text,
        ",\"completion_tokens_details\":{{\"reasoning_tokens\":{},\"image_tokens\":0,\"audio_tokens\":0}}}}",
        tokens.reasoning
    );
    Some(text)
}

/// The body of a reply that is not streamed.
pub(in crate::sim) fn whole(plan: &Plan) -> String {
    let mut out = String::with_capacity(1024);
    let chat = plan.endpoint == Endpoint::Chat;
    let _ = write!(
        out,
        "{{{}\"object\":\"{}\",\"created\":{},\"model\":\"{}\",\"provider\":\"{}\",\"system_fingerprint\":null,\"service_tier\":null,\"choices\":[{{\"index\":0,\"logprobs\":null,",
        id_field(plan),
        if chat { "chat.completion" } else { "text_completion" },
        plan.created_second(),
        plan.model_name(),
        plan.route.provider.name,
    );
    if plan.behaviour.embedded == Some(Embedded::Choice) {
        out.push_str("\"finish_reason\":\"error\",\"native_finish_reason\":null,\"error\":{\"code\":502,\"message\":\"Provider returned error\",\"metadata\":{\"error_type\":\"provider_unavailable\"}},");
    } else {
        let _ =
            write!(out, "\"finish_reason\":\"{}\",\"native_finish_reason\":\"{}\",", plan.finish, plan.native_finish());
    }
    out.push_str(if chat { "\"message\":{\"role\":\"assistant\",\"content\":\"" } else { "\"text\":\"" });
    let words = Words::of(plan);
    let count = if plan.behaviour.big.is_some() || plan.behaviour.text.is_some() { 1 } else { WHOLE_WORDS };
    for nth in 0..count {
        words.push(nth, &mut out);
    }
    out.push_str(if chat { "\",\"refusal\":null,\"reasoning\":null}}]" } else { "\",\"reasoning\":null}]" });
    if let Some(usage) = usage(plan) {
        out.push_str(",\"usage\":");
        out.push_str(&usage);
    }
    if plan.behaviour.embedded == Some(Embedded::Top) {
        out.push_str(",\"error\":{\"code\":502,\"message\":\"Provider returned error\",\"metadata\":{\"error_type\":\"provider_unavailable\"}}");
    }
    out.push('}');
    out
}

/// Writes the chunks of one stream.
#[derive(Debug)]
pub(in crate::sim) struct Chunks {
    /// Everything up to the choices, the same in every chunk.
    head: String,
    chat: bool,
}

impl Chunks {
    pub(in crate::sim) fn new(plan: &Plan) -> Self {
        let chat = plan.endpoint == Endpoint::Chat;
        let head = format!(
            "data: {{{}\"object\":\"{}\",\"created\":{},\"model\":\"{}\",\"provider\":\"{}\",\"system_fingerprint\":null,",
            id_field(plan),
            if chat { "chat.completion.chunk" } else { "text_completion" },
            plan.created_second(),
            plan.model_name(),
            plan.route.provider.name,
        );
        Self { head, chat }
    }

    /// Writes the nth event before the content; false when there is none.
    pub(in crate::sim) fn prologue(&self, plan: &Plan, nth: u32, out: &mut String) -> bool {
        let wanted = nth == 0 && Behaviour::on(plan.behaviour.empty_first);
        if wanted {
            out.push_str(&self.head);
            out.push_str("\"choices\":[],\"debug\":{\"echo_upstream_body\":{}}}\n\n");
        }
        wanted
    }

    /// Writes the nth piece of content, or of reasoning about it.
    pub(in crate::sim) fn content(&self, words: &Words, reasoning: bool, nth: u32, out: &mut String) {
        out.push_str(&self.head);
        out.push_str(if self.chat && reasoning {
            "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\",\"reasoning\":\""
        } else if self.chat {
            "\"choices\":[{\"index\":0,\"delta\":{\"content\":\""
        } else if reasoning {
            "\"choices\":[{\"index\":0,\"text\":\"\",\"reasoning\":\""
        } else {
            "\"choices\":[{\"index\":0,\"text\":\""
        });
        words.push(nth, out);
        out.push_str(if self.chat {
            "\",\"role\":\"assistant\"},\"finish_reason\":null,\"native_finish_reason\":null}]}\n\n"
        } else {
            "\",\"finish_reason\":null,\"native_finish_reason\":null}]}\n\n"
        });
    }

    fn finish(&self, plan: &Plan, out: &mut String) {
        let delta = if self.chat { "\"delta\":{\"content\":\"\",\"role\":\"assistant\"}" } else { "\"text\":\"\"" };
        let _ = write!(
            out,
            "\"choices\":[{{\"index\":0,{delta},\"finish_reason\":\"{}\",\"native_finish_reason\":\"{}\"}}]",
            plan.finish,
            plan.native_finish()
        );
    }

    /// Writes the nth event after the content; false when there is none.
    pub(in crate::sim) fn epilogue(&self, plan: &Plan, nth: u32, out: &mut String) -> bool {
        match nth {
            0 => {
                out.push_str(&self.head);
                self.finish(plan, out);
            }
            1 => {
                let Some(usage) = usage(plan) else { return false };
                out.push_str(&self.head);
                if plan.behaviour.usage == Some(Usage::Empty) {
                    out.push_str("\"choices\":[]");
                } else {
                    out.push_str("\"service_tier\":null,");
                    self.finish(plan, out);
                }
                out.push_str(",\"usage\":");
                out.push_str(&usage);
            }
            _ => return false,
        }
        out.push_str("}\n\n");
        true
    }

    /// Writes the chunk that says that the provider failed.
    pub(in crate::sim) fn error(&self, code: Code, out: &mut String) {
        let delta = if self.chat { "\"delta\":{\"content\":\"\"}" } else { "\"text\":\"\"" };
        let code = match code {
            Code::Number => "\"code\":502,",
            Code::Text => "\"code\":\"server_error\",",
            Code::Missing => "",
        };
        let _ = write!(
            out,
            "{}\"choices\":[{{\"index\":0,{delta},\"finish_reason\":\"error\"}}],\"error\":{{{code}\"message\":\"Provider disconnected\",\"metadata\":{{\"error_type\":\"provider_unavailable\",\"provider_code\":\"upstream_closed\"}}}}}}\n\n",
            self.head
        );
    }
}
