//! Error replies in the forms that the wire shows (fact sheet: errors and debugging, limits, LIVE samples).

use super::quoted;
use crate::sim::behaviour::ErrorForm;
use crate::sim::endpoint::Endpoint;

/// `flagged_input` repeats the prompt, up to this many characters.
const FLAGGED_CHARS: usize = 100;

/// A call that gets an error status.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Refusal {
    pub(in crate::sim) status: u16,
    form: ErrorForm,
    /// Said in place of the status's usual words.
    message: Option<String>,
    model: String,
    retry_after: Option<u32>,
}

/// An error reply, ready to send.
#[derive(Debug)]
pub(in crate::sim) struct Rendered {
    pub(in crate::sim) body: String,
    pub(in crate::sim) content_type: &'static str,
    pub(in crate::sim) headers: Vec<(&'static str, String)>,
}

impl Refusal {
    /// The usual error of `status`.
    pub(in crate::sim) fn status(status: u16, form: ErrorForm, model: &str) -> Self {
        Self { status, form, message: None, model: model.to_owned(), retry_after: None }
    }

    /// The same with a `Retry-After` of so many seconds, if any.
    pub(in crate::sim) fn after(self, seconds: Option<u32>) -> Self {
        Self { retry_after: seconds, ..self }
    }

    fn saying(status: u16, message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..Self::status(status, ErrorForm::Usual, "") }
    }

    pub(in crate::sim) fn unknown_model(name: &str) -> Self {
        Self {
            message: Some(format!("{name} is not a valid model ID")),
            ..Self::status(400, ErrorForm::Availability, name)
        }
    }

    pub(in crate::sim) fn no_endpoints() -> Self {
        Self::saying(404, "No endpoints found that match your provider preferences.")
    }

    pub(in crate::sim) fn internal() -> Self {
        Self::saying(500, "Internal Server Error")
    }

    pub(in crate::sim) fn bad_request(message: impl Into<String>) -> Self {
        Self::saying(400, message)
    }

    pub(in crate::sim) fn missing_key() -> Self {
        Self::saying(401, "Missing Authentication header")
    }

    pub(in crate::sim) fn wrong_key() -> Self {
        Self::saying(401, "User not found.")
    }

    pub(in crate::sim) fn key_limit() -> Self {
        Self::saying(402, "Key limit exceeded (monthly limit). Manage it using https://openrouter.ai/settings/keys")
    }

    pub(in crate::sim) fn not_found(what: &str) -> Self {
        Self::saying(404, what)
    }

    pub(in crate::sim) fn forbidden(message: &str) -> Self {
        Self::saying(403, message)
    }

    fn kind(&self) -> &'static str {
        match self.status {
            401 => "authentication",
            402 => "payment_required",
            403 => "permission_denied",
            404 => "not_found",
            408 | 504 | 524 => "timeout",
            413 => "payload_too_large",
            422 => "unprocessable",
            429 => "rate_limit_exceeded",
            500 => "server",
            502 => "provider_unavailable",
            503 | 529 => "provider_overloaded",
            _ => "invalid_request",
        }
    }

    fn message(&self) -> String {
        if let Some(message) = &self.message {
            return message.clone();
        }
        let words = match (self.status, self.form) {
            (401, _) => "Missing Authentication header",
            (402, ErrorForm::Other) => "Insufficient credits. Add more using https://openrouter.ai/credits",
            (402, _) => {
                "This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 30104. To increase, visit https://openrouter.ai/settings/credits and add more credits"
            }
            (403, ErrorForm::Other) => "Request blocked: prompt injection patterns detected",
            (403, ErrorForm::Budget) => "Workspace monthly budget of $500.00 exceeded. Contact your org admin.",
            (403, _) => return format!("{} requires moderation. Your input was flagged", self.model),
            (404, _) => "Resource not found",
            (408, _) => "Request timed out",
            (429, ErrorForm::Other) => {
                "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day"
            }
            (500, _) => "Internal Server Error",
            (503, _) => "No available model provider meets your routing requirements",
            (504, _) => "Gateway timeout",
            (529, _) => "Provider is overloaded",
            (429 | 502, _) => "Provider returned error",
            _ => "Request failed",
        };
        words.to_owned()
    }

    /// The reply in the skin of `endpoint`; `asked` is the request's body, which some errors repeat.
    pub(in crate::sim) fn render(&self, endpoint: Option<Endpoint>, asked: &[u8]) -> Rendered {
        let mut headers = Vec::new();
        let hint = match (self.status, self.form) {
            (429, ErrorForm::Usual) if self.message.is_none() => Some(40),
            _ => None,
        };
        if let Some(seconds) = self.retry_after.or(hint) {
            headers.push(("retry-after", seconds.to_string()));
        }
        if self.status == 429 && self.form == ErrorForm::Other {
            headers.push(("x-ratelimit-limit", "50".to_owned()));
            headers.push(("x-ratelimit-remaining", "0".to_owned()));
            headers.push(("x-ratelimit-reset", "1789084800000".to_owned()));
        }
        let (body, content_type) = match self.form {
            ErrorForm::Nothing => (String::new(), "text/plain"),
            ErrorForm::Html => (edge_page(self.status), "text/html; charset=UTF-8"),
            // The edge's own statuses come as its page unless another form is asked for.
            ErrorForm::Usual if self.status == 524 => (edge_page(self.status), "text/html; charset=UTF-8"),
            _ => (self.json(endpoint, asked), "application/json"),
        };
        Rendered { body, content_type, headers }
    }

    fn json(&self, endpoint: Option<Endpoint>, asked: &[u8]) -> String {
        let message = quoted(&self.message());
        let kind = self.kind();
        match endpoint {
            Some(Endpoint::Messages) => {
                let family = match self.status {
                    401 => "authentication_error",
                    403 => "permission_error",
                    404 => "not_found_error",
                    413 => "request_too_large",
                    429 => "rate_limit_error",
                    529 => "overloaded_error",
                    400..=499 => "invalid_request_error",
                    _ => "api_error",
                };
                format!(
                    "{{\"type\":\"error\",\"error\":{{\"type\":\"{family}\",\"message\":{message},\"error_type\":\"{kind}\"}},\"request_id\":null}}"
                )
            }
            Some(Endpoint::Responses) => {
                let code = match self.status {
                    429 => "rate_limit_exceeded",
                    400..=499 => "invalid_prompt",
                    _ => "server_error",
                };
                format!("{{\"error\":{{\"code\":\"{code}\",\"message\":{message}}},\"error_type\":\"{kind}\"}}")
            }
            _ => self.chat_json(&message, kind, asked),
        }
    }

    fn chat_json(&self, message: &str, kind: &str, asked: &[u8]) -> String {
        let code = self.status;
        if self.form == ErrorForm::Availability {
            let availability = match code {
                400 => "model_not_found",
                404 => "no_endpoints",
                429 | 529 => "capacity_exhausted",
                _ => "temporarily_unavailable",
            };
            // Unknown models are refused with a code still; the rest of the family is published without one.
            let code_field = if code == 400 { "\"code\":400," } else { "" };
            return format!(
                "{{\"error\":{{\"message\":{message},{code_field}\"error_type\":\"{kind}\",\"http_status\":{code},\"availability\":{{\"code\":\"{availability}\",\"retryable\":{},\"requested_models\":[{}],\"docs_url\":\"https://openrouter.ai/docs/errors#{availability}\"}}}},\"user_id\":\"user_2simulated0000000000000000\"}}",
                code >= 429,
                quoted(&self.model)
            );
        }
        let metadata = match (code, self.form) {
            _ if self.message.is_some() => None,
            (402, ErrorForm::Usual) => Some("{\"provider_name\":null,\"previous_errors\":[]}".to_owned()),
            (403, ErrorForm::Usual) => Some(format!(
                "{{\"reasons\":[\"violence\"],\"flagged_input\":{},\"provider_name\":\"OpenAI\",\"model_slug\":{}}}",
                quoted(&flagged(asked)),
                quoted(&self.model)
            )),
            (403, ErrorForm::Other) => Some(format!("{{\"patterns\":[{}]}}", quoted(&flagged(asked)))),
            (429, ErrorForm::Other) => Some(
                "{\"headers\":{\"X-RateLimit-Limit\":\"50\",\"X-RateLimit-Remaining\":\"0\",\"X-RateLimit-Reset\":\"1789084800000\"},\"provider_name\":null}".to_owned(),
            ),
            (_, ErrorForm::Raw) => Some(format!(
                "{{\"provider_name\":\"OpenAI\",\"raw\":{}}}",
                quoted(&format!("upstream said no to: {}", flagged(asked)))
            )),
            (429 | 500.., ErrorForm::Usual) => Some(format!("{{\"error_type\":\"{kind}\",\"provider_code\":\"upstream_{code}\"}}")),
            _ => None,
        };
        let metadata = metadata.map_or_else(String::new, |metadata| format!(",\"metadata\":{metadata}"));
        format!(
            "{{\"error\":{{\"message\":{message},\"code\":{code}{metadata}}},\"user_id\":\"user_2simulated0000000000000000\"}}"
        )
    }
}

/// The beginning of the caller's last text, as moderation repeats it.
fn flagged(asked: &[u8]) -> String {
    let body: serde_json::Value = serde_json::from_slice(asked).unwrap_or_default();
    let last = body["messages"].as_array().and_then(|messages| messages.last()).map(|message| &message["content"]);
    let text =
        last.and_then(serde_json::Value::as_str).or(body["prompt"].as_str()).or(body["input"].as_str()).unwrap_or("");
    text.chars().take(FLAGGED_CHARS).collect()
}

fn edge_page(status: u16) -> String {
    let words = match status {
        502 => "Bad gateway",
        503 => "Service unavailable",
        504 => "Gateway time-out",
        524 => "A timeout occurred",
        529 => "Site is overloaded",
        _ => "Error",
    };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en-US\"><head><title>openrouter.ai | {status}: {words}</title></head>\n<body><h1>Error code {status}</h1><p>{words}</p></body></html>\n"
    )
}
