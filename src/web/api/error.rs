//! Errors of the JSON API: one form, with a message that says what to do, and how the API's description tells them.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

/// After how many seconds what was too busy is worth another try.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// An error: `{"error":{"code":400,"message":"…"}}`.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    problem: Problem,
}

/// An error as it is sent.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    /// What is wrong.
    error: Problem,
}

/// What is wrong.
#[derive(Debug, Serialize, ToSchema)]
struct Problem {
    /// The HTTP status.
    code: u16,
    /// What is wrong, and what to do.
    message: String,
    /// The line of a query that is wrong, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    line: Option<usize>,
    /// The column there, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    column: Option<usize>,
}

impl ApiError {
    /// An answer of `status` with a message that says what to do.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let problem = Problem { code: status.as_u16(), message: message.into(), line: None, column: None };
        Self { status, problem }
    }

    /// The database could not be read; the cause is logged here, once.
    pub fn unreadable(error: &crate::store::StoreError) -> Self {
        tracing::error!(error = %error, "the database could not be read for a request");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the ledger's database can not be read at present; try again")
    }

    /// It is at work on as much as it may.
    pub fn busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, message)
    }

    /// The same, with the place of what is wrong in the text that was sent.
    #[must_use]
    pub fn at(mut self, line: usize, column: usize) -> Self {
        (self.problem.line, self.problem.column) = (Some(line), Some(column));
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(ErrorBody { error: self.problem })).into_response();
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}

macro_rules! told {
    ($($(#[$meta:meta])* $name:ident { $($status:literal $variant:ident: $says:literal,)* })*) => {$(
        $(#[$meta])*
        #[derive(IntoResponses)]
        #[expect(dead_code, reason = "it describes answers; what is sent is an ApiError")]
        pub(super) enum $name {
            $(#[response(status = $status, description = $says)] $variant(ErrorBody),)*
        }
    )*};
}

told! {
    /// Of what anything under `/tally/v1` may be answered.
    Refused {
        401 Unauthorized: "The admin token is missing or wrong",
        403 Forbidden: "It comes from another site, or names a host that is not served",
        503 Unavailable: "The database can not be read or written at present, or the daemon is stopping: try again",
    }
    /// Of what takes parameters or a body.
    BadRequest {
        400 BadRequest: "Something of it is not understood; the message says what to write instead",
    }
    /// Of what names one thing.
    NotFound {
        404 NotFound: "There is none of this name or ID",
    }
    /// Of what would change something that is no longer as was thought, or is not ours to change.
    Conflict {
        409 Conflict: "It can not be done as things stand; the message says why",
    }
    /// Of what takes a large body.
    TooLarge {
        413 TooLarge: "The body is too long; send it in parts",
    }
    /// Of what is right in form and can not be done.
    Unprocessable {
        422 Unprocessable: "It is understood and can not be done; the message says why",
    }
    /// Of what takes work that is bounded.
    Busy {
        429 Busy: "As many as may be are under way; try again after Retry-After",
    }
}
