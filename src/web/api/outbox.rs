//! `/tally/v1/outbox`: mails and webhook messages, where each stands, and sending again what was given up.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::asked::{Asked, Named};
use super::{ApiError, ApiState, BadRequest, Conflict, NotFound, Refused, attached, wanted};
use crate::alert::post::Resent;
use crate::domain::table::Table;
use crate::domain::time::Timestamp;
use crate::store::outbox::{self, Message, MessageState};

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// Messages made before this one, as `next` of the page before names it.
    before: Option<String>,
    /// Rows of the page, 100 unless said otherwise.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// A message, without its text.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Message)]
pub(super) struct Listed {
    /// Its ID: of a mail, its Message-ID.
    message_id: String,
    /// Whom it is for: a mail address, or `webhook:NAME`.
    recipient: String,
    /// Its subject.
    subject: String,
    /// Where it stands.
    state: &'static str,
    /// How often it was tried.
    attempts: i64,
    /// When it is tried next; null: it is not.
    #[schema(format = DateTime)]
    next_attempt_at: Option<String>,
    /// Why the last try failed; null: none did.
    last_error: Option<String>,
    /// When it was written.
    #[schema(format = DateTime)]
    created_at: String,
    /// When it was taken; null: not yet.
    #[schema(format = DateTime)]
    sent_at: Option<String>,
}

/// A page of messages, the last written first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MessagesPage {
    /// The messages, without their text.
    rows: Vec<Listed>,
    /// `before` of the next page; null: this is the last.
    next: Option<String>,
}

impl From<Message> for Listed {
    fn from(message: Message) -> Self {
        let queued = message.state == MessageState::Queued;
        Self {
            message_id: message.message_id,
            recipient: message.recipient,
            subject: message.subject,
            state: message.state.as_str(),
            attempts: message.attempts,
            next_attempt_at: queued.then(|| message.next_attempt.to_iso()),
            last_error: message.last_error,
            created_at: message.created_at.to_iso(),
            sent_at: message.sent_at.map(Timestamp::to_iso),
        }
    }
}

/// Messages
///
/// Mails and webhook messages, the last written first, and where each stands.
#[utoipa::path(
    get, path = "/tally/v1/outbox", tag = "operations", params(Page),
    responses((status = 200, description = "A page", body = MessagesPage), BadRequest, Refused)
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    Asked(asked): Asked<Page>,
) -> Result<Json<MessagesPage>, ApiError> {
    page(&state, &asked).await.map(Json)
}

/// Messages as CSV
///
/// The same page as CSV.
#[utoipa::path(
    get, path = "/tally/v1/outbox.csv", tag = "operations", params(Page),
    responses((status = 200, description = "The same as CSV", body = String, content_type = "text/csv"), BadRequest, Refused)
)]
pub(super) async fn csv(State(state): State<ApiState>, Asked(asked): Asked<Page>) -> Result<Response, ApiError> {
    attached("tallyd-outbox.csv", &table(&page(&state, &asked).await?.rows))
}

fn table(rows: &[Listed]) -> Table {
    const COLUMNS: [&str; 9] = [
        "message_id",
        "recipient",
        "subject",
        "state",
        "attempts",
        "next_attempt_at",
        "last_error",
        "created_at",
        "sent_at",
    ];
    let row = |row: &Listed| {
        vec![
            Some(row.message_id.as_str()).into(),
            Some(row.recipient.as_str()).into(),
            Some(row.subject.as_str()).into(),
            Some(row.state).into(),
            row.attempts.into(),
            row.next_attempt_at.as_deref().into(),
            row.last_error.as_deref().into(),
            Some(row.created_at.as_str()).into(),
            row.sent_at.as_deref().into(),
        ]
    };
    Table { columns: COLUMNS.map(str::to_owned).to_vec(), rows: rows.iter().map(row).collect(), cut: None }
}

async fn page(state: &ApiState, asked: &Page) -> Result<MessagesPage, ApiError> {
    let limit = wanted(asked.limit)?;
    let before = match asked.before.as_deref() {
        None => None,
        Some(text) => Some(
            outbox::read_place(text)
                .ok_or_else(|| ApiError::new(StatusCode::BAD_REQUEST, "before is what next of the page before says"))?,
        ),
    };
    let before = before.as_ref().map(|(at, id)| (*at, id.as_str()));
    let mut messages =
        outbox::page(&state.store, before, limit + 1).await.map_err(|error| ApiError::unreadable(&error))?;
    let more = messages.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    messages.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = messages.last().filter(|_| more).map(|last| outbox::write_place(last.created_at, &last.message_id));
    let rows: Vec<Listed> = messages.into_iter().map(Listed::from).collect();
    Ok(MessagesPage { rows, next })
}

/// Send a message again
///
/// Takes up one that was given up.
#[utoipa::path(
    post, path = "/tally/v1/outbox/{id}/resend", tag = "operations", params(("id" = String, Path, description = "Its ID")),
    responses((status = 200, description = "The message", body = Listed), BadRequest, NotFound, Conflict, Refused)
)]
pub(super) async fn resend(State(state): State<ApiState>, Named(id): Named<String>) -> Result<Json<Listed>, ApiError> {
    let resent = state.post.resend(&state.store, &state.clock, &id).await.map_err(|error| {
        tracing::error!(%error, "a message could not be taken up again");
        let message = "the ledger's database can not be written at present; nothing was changed, try again";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message)
    })?;
    match resent {
        Resent::Queued => {
            let message = outbox::find(&state.store, &id).await.map_err(|error| ApiError::unreadable(&error))?;
            message.map(|message| Json(Listed::from(message))).ok_or_else(unknown)
        }
        Resent::NotGivenUp(now) => Err(ApiError::new(
            StatusCode::CONFLICT,
            format!("only a message that was given up is sent again; this one is {}", now.as_str()),
        )),
        Resent::Forgotten => Err(ApiError::new(
            StatusCode::CONFLICT,
            "what this message said is kept no longer (retention.messages), so it can not be sent again",
        )),
        Resent::Unknown => Err(unknown()),
    }
}

fn unknown() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "there is no message of this ID")
}
