//! What errors come from, what they mean, how to mend them.

use crate::store::failures::Errors;

/// What an error comes from, as far as its mending differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// 401.
    Key,
    /// 402: no credit.
    Credit,
    /// 402 or 403: the key's own limit.
    KeyLimit,
    /// 402: the longest answer allowed would cost more than there is.
    Preflight,
    /// 403: a budget of the workspace or of a guardrail.
    WorkspaceBudget,
    /// 403: the text was flagged.
    Moderation,
    /// 403: a guardrail.
    Guardrail,
    /// 400 or 404: there is no such model.
    UnknownModel,
    /// 404: nobody who serves the model may answer.
    NoEndpoints,
    /// The prompt and the answer asked for do not fit.
    TooLong,
    /// 413.
    TooLarge,
    /// Any other 400 or 422.
    Invalid,
    /// Any other 404.
    NotFound,
    /// 429: the account's share of free models.
    FreeLimit,
    /// 429.
    RateLimit,
    /// 408, 504, 524.
    Timeout,
    /// 500.
    Internal,
    /// 502.
    BadGateway,
    /// 503.
    NoProvider,
    /// 529.
    Overloaded,
    /// tallyd could not reach OpenRouter.
    Unreachable,
    /// OpenRouter closed the connection without an answer.
    NoReply,
    /// A content filter stopped the answer.
    Filtered,
    /// None of these.
    Other,
}

impl Cause {
    pub(super) fn of(row: &Errors) -> Self {
        let message = row.error_message.as_deref().unwrap_or_default().to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
        match row.error_type.as_str() {
            "upstream_unreachable" => return Self::Unreachable,
            "upstream_no_reply" => return Self::NoReply,
            "context_length_exceeded" | "max_tokens_exceeded" | "token_limit_exceeded" | "string_too_long" => {
                return Self::TooLong;
            }
            "content_policy_violation" | "refusal" => return Self::Filtered,
            _ => {}
        }
        let status = row
            .http_status
            .filter(|status| *status >= 400)
            .or_else(|| row.error_code.as_deref().and_then(|code| code.parse().ok()))
            .or_else(|| status_of(&row.error_type));
        match status {
            Some(401) => Self::Key,
            Some(402 | 403) if says(&["key limit"]) => Self::KeyLimit,
            Some(402) if says(&["afford", "fewer max_tokens"]) => Self::Preflight,
            Some(402) => Self::Credit,
            Some(403) if says(&["budget"]) => Self::WorkspaceBudget,
            Some(403) if says(&["moderation", "flagged"]) => Self::Moderation,
            Some(403) => Self::Guardrail,
            Some(400 | 404)
                if says(&["not a valid model", "no endpoints found for", "model not found", "does not exist"]) =>
            {
                Self::UnknownModel
            }
            Some(404 | 503) if says(&["no endpoints", "no allowed providers", "data policy"]) => Self::NoEndpoints,
            Some(400) if says(&["maximum context length", "context length"]) => Self::TooLong,
            Some(413) => Self::TooLarge,
            Some(400 | 412 | 422) => Self::Invalid,
            Some(404) => Self::NotFound,
            Some(429) if says(&["free-models"]) => Self::FreeLimit,
            Some(429) => Self::RateLimit,
            Some(408 | 504 | 524) => Self::Timeout,
            Some(500) => Self::Internal,
            Some(502) => Self::BadGateway,
            Some(503) => Self::NoProvider,
            Some(529) => Self::Overloaded,
            _ => Self::Other,
        }
    }

    /// What it means.
    pub const fn means(self) -> &'static str {
        match self {
            Self::Key => "OpenRouter does not know the key, or it was switched off.",
            Self::Credit => "The account has no credit left.",
            Self::KeyLimit => "The key has reached the limit set for it.",
            Self::Preflight => {
                "Refused before it ran: the longest answer allowed would cost more than the account or key has left. \
                 Without max_tokens that is the model’s maximum."
            }
            Self::WorkspaceBudget => "A budget of the workspace or a guardrail at OpenRouter is spent.",
            Self::Moderation => "The provider’s moderation flagged the input.",
            Self::Guardrail => "A guardrail, or the account’s permissions, forbid it.",
            Self::UnknownModel => "OpenRouter has no model of this name.",
            Self::NoEndpoints => "The model is there, but no provider of it fits what the request or the account asks.",
            Self::TooLong => "Prompt and answer asked for do not fit into the model’s context.",
            Self::TooLarge => "The request is larger than OpenRouter takes.",
            Self::Invalid => "A parameter of the request is wrong, or its model does not take it.",
            Self::NotFound => "There is nothing at this path.",
            Self::FreeLimit => "The account’s share of calls to free models is used up.",
            Self::RateLimit => "Too many calls: OpenRouter’s limit, or a provider’s.",
            Self::Timeout => "The answer took longer than somebody on the way waits.",
            Self::Internal => "OpenRouter itself failed.",
            Self::BadGateway => "The provider failed, or its answer made no sense.",
            Self::NoProvider => "No provider was free that meets what the request asks.",
            Self::Overloaded => "The provider has more calls than it can take.",
            Self::Unreachable => "tallyd could not connect to OpenRouter; nothing was sent and nothing is billed.",
            Self::NoReply => "The connection ended without an answer; the call may have been billed.",
            Self::Filtered => "A content filter of the provider stopped it.",
            Self::Other => "An error without a meaning that tallyd knows.",
        }
    }

    /// How to mend it.
    pub(super) const fn mend(self) -> &'static str {
        match self {
            Self::Key => {
                "Send `Authorization: Bearer sk-or-v1-…` (on /messages `x-api-key` too): the word Bearer, one space, the \
                 whole key, no quotes, no line end. Then see at openrouter.ai/settings/keys whether the key is there and enabled."
            }
            Self::Credit => {
                "Add credit at openrouter.ai/settings/credits, or turn on auto top-up there. A negative balance stops free models too."
            }
            Self::KeyLimit => {
                "Raise the key’s limit at openrouter.ai/settings/keys, wait for its reset, or use another key."
            }
            Self::Preflight => {
                "Set max_tokens to what an answer needs, or add credit. OpenRouter’s message says what can be afforded."
            }
            Self::WorkspaceBudget => {
                "Whoever runs the workspace raises it at openrouter.ai, or it resets with its window."
            }
            Self::Moderation => "Change the input, or ask a provider or model that does not moderate.",
            Self::Guardrail => {
                "Look at the guardrails and the privacy settings of the key’s workspace: allowed models, providers, patterns."
            }
            Self::UnknownModel => "Write the ID as openrouter.ai/models shows it: author, slash, name.",
            Self::NoEndpoints => {
                "Loosen provider.only, order with allow_fallbacks false, max_price, require_parameters or zdr; look at \
                 openrouter.ai/settings/privacy; or name fallbacks in models."
            }
            Self::TooLong => "Shorten the prompt, lower max_tokens, or take a model with a larger context.",
            Self::TooLarge => "Send images and files by URL, or in several calls.",
            Self::Invalid => {
                "Read OpenRouter’s message: it names the parameter. require_parameters finds providers that take it."
            }
            Self::NotFound => {
                "Check the path: the base URL ends in /api/v1 (Anthropic’s SDKs: /api), and nothing stands twice."
            }
            Self::FreeLimit => {
                "Buy ten credits once for 1,000 free calls a day, wait for midnight UTC, or take the model without :free."
            }
            Self::RateLimit => {
                "Name fallbacks in models ([\"first\", \"second\"]) and leave provider.allow_fallbacks on; wait as long as \
                 Retry-After says; bring a provider key of your own for more."
            }
            Self::Timeout => {
                "Stream, lower max_tokens, or prefer fast providers: provider.sort \"throughput\" or the suffix :nitro."
            }
            Self::Internal => "Try again; if it stays, status.openrouter.ai.",
            Self::BadGateway => {
                "Try again. If one provider fails often, provider.ignore it, and name fallbacks in models."
            }
            Self::NoProvider => "Try again, name fallbacks in models, or loosen what the request asks of providers.",
            Self::Overloaded => {
                "Try again after a while, name fallbacks in models, and leave provider.allow_fallbacks on."
            }
            Self::Unreachable => "Check the network, DNS and openrouter.base_url; `tallyd check` tells more.",
            Self::NoReply => {
                "Look whether the call was billed before you repeat it; a proxy on the way may close idle connections."
            }
            Self::Filtered => "Change the input, or ask another provider or model.",
            Self::Other => "Read OpenRouter’s message on the row.",
        }
    }
}

/// The status that an error's type stands for, where neither a status nor a code tells.
fn status_of(error_type: &str) -> Option<i64> {
    Some(match error_type {
        "authentication" => 401,
        "payment_required" => 402,
        "permission_denied" => 403,
        "not_found" => 404,
        "invalid_request" | "invalid_prompt" => 400,
        "payload_too_large" => 413,
        "unprocessable" => 422,
        "rate_limit_exceeded" => 429,
        "server" | "server_error" => 500,
        "provider_unavailable" => 502,
        "provider_overloaded" => 529,
        "timeout" => 504,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_by_status_type_and_message() {
        let row = |status: i64, code: &str, error_type: &str, message: &str| Errors {
            http_status: Some(status),
            error_code: (!code.is_empty()).then(|| code.to_owned()),
            error_type: error_type.to_owned(),
            error_message: Some(message.to_owned()),
            endpoint: None,
            requested_model: None,
            calls: 1,
            last_ms: 0,
        };
        for (status, code, error_type, message, cause) in [
            (401, "401", "unmapped", "Missing Authentication header", Cause::Key),
            (402, "402", "unmapped", "Insufficient credits. Add more using …", Cause::Credit),
            (402, "402", "unmapped", "… or fewer max_tokens. You requested up to 65536 tokens", Cause::Preflight),
            (402, "402", "unmapped", "Key limit exceeded (monthly limit)", Cause::KeyLimit),
            (403, "403", "unmapped", "Key limit exceeded (monthly limit)", Cause::KeyLimit),
            (403, "403", "unmapped", "Workspace monthly budget of $500.00 exceeded.", Cause::WorkspaceBudget),
            (403, "403", "unmapped", "openai/gpt-4o requires moderation. Your input was flagged", Cause::Moderation),
            (403, "403", "unmapped", "Request blocked: prompt injection patterns detected", Cause::Guardrail),
            (400, "400", "invalid_request", "acme/fake-1.0 is not a valid model ID", Cause::UnknownModel),
            (404, "404", "not_found", "No endpoints found for acme/fake.", Cause::UnknownModel),
            (404, "404", "not_found", "No endpoints found that match your provider preferences.", Cause::NoEndpoints),
            (400, "400", "context_length_exceeded", "…", Cause::TooLong),
            (429, "429", "rate_limit_exceeded", "Rate limit exceeded: free-models-per-day", Cause::FreeLimit),
            (429, "429", "rate_limit_exceeded", "Provider returned error", Cause::RateLimit),
            (200, "502", "provider_unavailable", "Provider disconnected", Cause::BadGateway),
            (200, "server_error", "provider_unavailable", "Provider disconnected", Cause::BadGateway),
            (200, "", "rate_limit_exceeded", "", Cause::RateLimit),
            (524, "", "timeout", "", Cause::Timeout),
            (503, "503", "provider_overloaded", "", Cause::NoProvider),
            (529, "529", "provider_overloaded", "", Cause::Overloaded),
            (502, "502", "upstream_unreachable", "", Cause::Unreachable),
            (418, "418", "unmapped", "", Cause::Other),
        ] {
            assert_eq!(Cause::of(&row(status, code, error_type, message)), cause, "{status} {error_type} {message}");
        }
    }
}
