//! Errors of our own on `/api`, in the skin of the endpoint, so that every SDK shows them.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value, json};

/// How an endpoint words its errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skin {
    /// `/chat/completions` and everything that has no skin of its own.
    Chat,
    /// `/messages`, as Anthropic words them.
    Messages,
    /// `/responses`, as `OpenAI` words them.
    Responses,
}

/// An error of our own.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnError {
    /// The HTTP status.
    pub status: StatusCode,
    /// The typed `error_type`, such as `budget_exceeded`.
    pub error_type: &'static str,
    /// What is wrong and what to do about it.
    pub message: String,
    /// More for programs to read, beside `error_type` in `metadata`.
    pub metadata: Map<String, Value>,
}

impl OwnError {
    /// An error without further metadata.
    pub fn new(status: StatusCode, error_type: &'static str, message: impl Into<String>) -> Self {
        Self { status, error_type, message: message.into(), metadata: Map::new() }
    }

    /// The error's body in a skin.
    pub fn body(&self, skin: Skin) -> Value {
        let mut metadata = self.metadata.clone();
        metadata.insert("error_type".to_owned(), self.error_type.into());
        match skin {
            Skin::Chat => json!({
                "error": { "code": self.status.as_u16(), "message": self.message, "metadata": metadata }
            }),
            Skin::Messages => json!({
                "type": "error",
                "error": {
                    "type": messages_type(self.status),
                    "message": self.message,
                    "error_type": self.error_type,
                    "metadata": metadata,
                },
                "request_id": null,
            }),
            Skin::Responses => json!({
                "error": { "code": self.error_type, "message": self.message, "metadata": metadata },
                "error_type": self.error_type,
            }),
        }
    }

    /// The whole response.
    pub fn response(&self, skin: Skin) -> Response<Bytes> {
        let body = Bytes::from(self.body(skin).to_string());
        let length = body.len();
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        response
    }
}

/// Anthropic's error type for a status.
fn messages_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        400..=499 => "invalid_request_error",
        503 => "overloaded_error",
        _ => "api_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_skin_has_the_message_where_its_sdk_looks() {
        let mut error = OwnError::new(StatusCode::PAYMENT_REQUIRED, "budget_exceeded", "spent");
        error.metadata.insert("budget".to_owned(), "growth".into());
        let chat = error.body(Skin::Chat);
        assert_eq!(chat["error"]["code"], 402);
        assert_eq!(chat["error"]["metadata"]["budget"], "growth");
        assert_eq!(chat["error"]["metadata"]["error_type"], "budget_exceeded");
        let messages = error.body(Skin::Messages);
        assert_eq!((&messages["type"], &messages["error"]["type"]), (&json!("error"), &json!("billing_error")));
        assert_eq!(messages["error"]["message"], "spent");
        let responses = error.body(Skin::Responses);
        assert_eq!(
            (&responses["error_type"], &responses["error"]["message"]),
            (&json!("budget_exceeded"), &json!("spent"))
        );
    }
}
