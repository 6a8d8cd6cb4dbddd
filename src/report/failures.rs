//! What went wrong, what it means and how to mend it: the page `/failures` and `tallyd report --failures`.
//!
//! Two kinds: calls that told of an error, grouped by what they told, and silent mistakes: calls that seemed
//! to go well and are flagged.

use std::collections::BTreeMap;

use crate::domain::catalogue::nearest;
use crate::domain::flags;
use crate::domain::table::{Cell, Table};
use crate::domain::time::{DAY_MS, Timestamp};
use crate::store::failures::{self, Errors, Flagged};
use crate::store::{self, Store, StoreError};

/// Most groups read of either kind; the rarest are left out beyond that.
const MAX_GROUPS: u32 = 2_000;

/// Most groups shown of either kind.
pub const MAX_SHOWN: usize = 200;

/// How far back a model may have answered to be suggested, in milliseconds.
const KNOWN_SINCE_MS: i64 = 90 * DAY_MS;

/// Most models looked at for the nearest.
const MAX_MODELS: u32 = 5_000;

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

/// Errors of one cause, on one path, of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The reply's HTTP status; `None` when none came.
    pub status: Option<i64>,
    /// The code of an error that came in a good reply.
    pub code: Option<String>,
    /// The error's type.
    pub error_type: String,
    /// The path below `/api/v1/`.
    pub endpoint: Option<String>,
    /// The model asked for.
    pub model: Option<String>,
    /// How many.
    pub calls: i64,
    /// When the last one was made.
    pub last: Timestamp,
    /// What it comes from.
    pub cause: Cause,
    /// What OpenRouter said, of the most frequent.
    pub message: Option<String>,
    /// Of [`Cause::UnknownModel`]: the nearest model that is there.
    pub nearest: Option<String>,
}

/// Calls with one flag, of one app, on one path, of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The flag.
    pub flag: &'static str,
    /// The application.
    pub app: Option<String>,
    /// The path below `/api/v1/`.
    pub endpoint: Option<String>,
    /// The model asked for.
    pub model: Option<String>,
    /// How many.
    pub calls: i64,
    /// When the last one was made.
    pub last: Timestamp,
}

/// What went wrong in some time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Errors, most frequent first, at most [`MAX_SHOWN`].
    pub errors: Vec<Failure>,
    /// Silent mistakes, likewise.
    pub mistakes: Vec<Mistake>,
    /// Calls of all errors.
    pub error_calls: i64,
    /// Flags of all silent mistakes; a call with two counts twice.
    pub mistake_calls: i64,
}

/// What went wrong in `since..until`.
pub async fn failures(
    store: &Store,
    since: Timestamp,
    until: Timestamp,
    now: Timestamp,
) -> Result<Failures, StoreError> {
    let mut errors = grouped(failures::errors(store, since, until, MAX_GROUPS).await?);
    let mut mistakes = flagged(&failures::flagged(store, since, until, MAX_GROUPS).await?);
    let error_calls = errors.iter().map(|failure| failure.calls).sum();
    let mistake_calls = mistakes.iter().map(|mistake| mistake.calls).sum();
    errors.truncate(MAX_SHOWN);
    mistakes.truncate(MAX_SHOWN);
    if errors.iter().any(|failure| failure.cause == Cause::UnknownModel) {
        let catalogue = store::catalogue::load(store).await?;
        // Where no list was ever read, the models that answered are known to exist.
        let answered = if catalogue.models().is_empty() { answering_models(store, now).await? } else { Vec::new() };
        let nearest = |model: &str| {
            catalogue.nearest(model).or_else(|| nearest(model, answered.iter().map(String::as_str))).map(str::to_owned)
        };
        for failure in errors.iter_mut().filter(|failure| failure.cause == Cause::UnknownModel) {
            failure.nearest = failure.model.as_deref().and_then(nearest);
        }
    }
    Ok(Failures { errors, mistakes, error_calls, mistake_calls })
}

/// The models that answered of late.
async fn answering_models(store: &Store, now: Timestamp) -> Result<Vec<String>, StoreError> {
    failures::models(store, now.plus_millis(-KNOWN_SINCE_MS), MAX_MODELS).await
}

fn grouped(rows: Vec<Errors>) -> Vec<Failure> {
    type Key = (Cause, Option<i64>, Option<String>, String, Option<String>, Option<String>);
    let mut groups: BTreeMap<Key, Failure> = BTreeMap::new();
    for row in rows {
        let cause = Cause::of(&row);
        let good = row.http_status.is_none_or(|status| status < 400);
        let code = row.error_code.filter(|_| good);
        let key = (
            cause,
            row.http_status,
            code.clone(),
            row.error_type.clone(),
            row.endpoint.clone(),
            row.requested_model.clone(),
        );
        let last = Timestamp(row.last_ms);
        // Rows come most frequent first, so the first message is the most frequent one's.
        let group = groups.entry(key).or_insert_with(|| Failure {
            status: row.http_status,
            code,
            error_type: row.error_type,
            endpoint: row.endpoint,
            model: row.requested_model,
            calls: 0,
            last,
            cause,
            message: row.error_message,
            nearest: None,
        });
        group.calls += row.calls;
        group.last = group.last.max(last);
    }
    let mut list: Vec<Failure> = groups.into_values().collect();
    list.sort_by_key(|failure| (std::cmp::Reverse(failure.calls), std::cmp::Reverse(failure.last)));
    list
}

fn flagged(rows: &[Flagged]) -> Vec<Mistake> {
    type Key<'a> = (&'static str, Option<&'a str>, Option<&'a str>, Option<&'a str>);
    let mut groups: BTreeMap<Key<'_>, (i64, i64)> = BTreeMap::new();
    for row in rows {
        for (flag, ..) in MISTAKES.iter().filter(|(flag, ..)| row.flags.split(',').any(|name| name == *flag)) {
            let key = (*flag, row.app.as_deref(), row.endpoint.as_deref(), row.requested_model.as_deref());
            let group = groups.entry(key).or_insert((0, row.last_ms));
            group.0 += row.calls;
            group.1 = group.1.max(row.last_ms);
        }
    }
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let mut list: Vec<Mistake> = groups
        .into_iter()
        .map(|((flag, app, endpoint, model), (calls, last))| Mistake {
            flag,
            app: owned(app),
            endpoint: owned(endpoint),
            model: owned(model),
            calls,
            last: Timestamp(last),
        })
        .collect();
    list.sort_by_key(|mistake| (std::cmp::Reverse(mistake.calls), std::cmp::Reverse(mistake.last)));
    list
}

impl Cause {
    fn of(row: &Errors) -> Self {
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

    const fn mend(self) -> &'static str {
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

impl Failure {
    /// How to mend it.
    pub fn mend(&self) -> String {
        match &self.nearest {
            Some(nearest) => format!("Did you mean {nearest}? {}", self.cause.mend()),
            None => self.cause.mend().to_owned(),
        }
    }

    /// Status and, where the error came in a good reply, its code: `429`, `200, then 502`, `no reply`.
    pub fn status_text(&self) -> String {
        match (self.status, &self.code) {
            (Some(status), Some(code)) => format!("{status}, then {code}"),
            (Some(status), None) if status < 400 => format!("{status}, then an error"),
            (Some(status), None) => status.to_string(),
            (None, _) => "no reply".to_owned(),
        }
    }
}

/// Silent mistakes: the flag, its name, what it means, how to mend it.
const MISTAKES: [(&str, &str, &str, &str); 5] = [
    (
        flags::EXTRA_BODY,
        "A literal extra_body",
        "The request’s body holds a field extra_body, which OpenRouter ignores: what stands in it had no effect.",
        "extra_body is an option of OpenAI’s Python client, which puts its contents into the body. Everywhere else \
         (curl, TypeScript, plain HTTP) write provider, models and the others at the top of the body.",
    ),
    (
        flags::NO_CONTENT,
        "A stream without an answer",
        "The stream came to its proper end without a piece of an answer; it may have been billed.",
        "Often reasoning used up max_tokens (finish reason length): raise it, or lower reasoning.effort. Otherwise look \
         at the finish reason, and try another provider.",
    ),
    (
        flags::STALLED,
        "A stall of more than 30 s",
        "The stream told nothing for more than 30 s between two chunks; keep-alive comments do not count.",
        "Prefer fast providers (provider.sort \"throughput\"), and let clients and proxies wait longer. `tallyd check \
         --stream` tells whether something on the way holds chunks back.",
    ),
    (
        flags::CUT,
        "Cut without an end",
        "The reply stopped without its end: its client has a part of it, and all of it may have been billed.",
        "Let the client notice (no [DONE], no message_stop) and ask again. If it happens often, look for a proxy or load \
         balancer with a short idle timeout, and avoid the provider with provider.ignore.",
    ),
    (
        flags::ROUTING_NO_EFFECT,
        "A preference without effect",
        "Somebody served whom the request’s provider preferences do not ask for; the row’s page says which.",
        "Check the slugs in provider.order and provider.only, and set allow_fallbacks to false if nobody else may serve.",
    ),
];

impl Mistake {
    fn told(&self) -> (&'static str, &'static str, &'static str) {
        MISTAKES
            .iter()
            .find(|(flag, ..)| *flag == self.flag)
            .map_or(("", "", ""), |(_, name, means, mend)| (name, means, mend))
    }

    /// Its name for people.
    pub fn name(&self) -> &'static str {
        self.told().0
    }

    /// What it means.
    pub fn means(&self) -> &'static str {
        self.told().1
    }

    /// How to mend it.
    pub fn mend(&self) -> &'static str {
        self.told().2
    }
}

impl Failures {
    /// As one table: errors, then silent mistakes.
    pub fn table(&self) -> Table {
        let text = |text: &Option<String>| Cell::from(text.as_deref());
        let errors = self.errors.iter().map(|failure| {
            vec![
                Cell::Text(failure.status_text()),
                Cell::Text(failure.error_type.clone()),
                text(&failure.endpoint),
                text(&failure.model),
                Cell::Integer(failure.calls),
                Cell::Text(failure.last.to_iso()),
                Cell::Text(failure.cause.means().to_owned()),
                Cell::Text(failure.mend()),
            ]
        });
        let mistakes = self.mistakes.iter().map(|mistake| {
            vec![
                Cell::Null,
                Cell::Text(mistake.flag.to_owned()),
                text(&mistake.endpoint),
                text(&mistake.model),
                Cell::Integer(mistake.calls),
                Cell::Text(mistake.last.to_iso()),
                Cell::Text(mistake.means().to_owned()),
                Cell::Text(mistake.mend().to_owned()),
            ]
        });
        Table {
            columns: ["status", "error_type", "endpoint", "model", "calls", "last_at", "means", "mend"]
                .map(str::to_owned)
                .to_vec(),
            rows: errors.chain(mistakes).collect(),
            ..Table::default()
        }
    }
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

    #[test]
    fn the_nearest_model_is_one_that_is_like_it() {
        let known = ["anthropic/claude-sonnet-4", "openai/gpt-4o", "openai/gpt-4o-mini"].map(str::to_owned);
        for (model, near) in [
            ("openai/gpt-4o-mni", Some("openai/gpt-4o-mini")),
            ("gpt-4o-mini", Some("openai/gpt-4o-mini")),
            ("claude-sonnet-4:free", Some("anthropic/claude-sonnet-4")),
            ("antropic/claude-sonet-4", Some("anthropic/claude-sonnet-4")),
            ("acme/fake-1.0", None),
        ] {
            assert_eq!(nearest(model, known.iter().map(String::as_str)), near, "{model}");
        }
        assert_eq!(nearest("x", []), None);
    }
}
