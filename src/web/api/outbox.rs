//! `/tally/v1/outbox`: mails and webhook messages, where each stands, and sending again what was given up.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ApiError, ApiState};
use crate::alert::post::Resent;
use crate::domain::time::Timestamp;
use crate::store::outbox::{self, Message, MessageState};

/// Messages of one page, unless fewer or more are asked for.
const PAGE: u32 = 100;

/// Most messages of one page.
const MAX_PAGE: u32 = 1_000;

/// Which page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Messages made before this one, as `next` of the page before names it.
    before: Option<String>,
    limit: Option<u32>,
}

/// A message, without its text.
#[derive(Debug, Serialize)]
struct Listed {
    message_id: String,
    recipient: String,
    subject: String,
    state: &'static str,
    attempts: i64,
    next_attempt_at: Option<String>,
    last_error: Option<String>,
    created_at: String,
    sent_at: Option<String>,
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

pub(super) async fn list(State(state): State<ApiState>, Query(asked): Query<Asked>) -> Result<Json<Value>, ApiError> {
    let limit = asked.limit.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, format!("limit is a number from 1 to {MAX_PAGE}")));
    }
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
    Ok(Json(json!({ "rows": rows, "next": next })))
}

pub(super) async fn resend(State(state): State<ApiState>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let resent = state.post.resend(&state.store, &state.clock, &id).await.map_err(|error| {
        tracing::error!(%error, "a message could not be taken up again");
        let message = "the ledger's database can not be written at present; nothing was changed, try again";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message)
    })?;
    match resent {
        Resent::Queued => {
            let message = outbox::find(&state.store, &id).await.map_err(|error| ApiError::unreadable(&error))?;
            Ok(Json(json!(message.map(Listed::from))))
        }
        Resent::NotGivenUp(now) => Err(ApiError::new(
            StatusCode::CONFLICT,
            format!("only a message that was given up is sent again; this one is {}", now.as_str()),
        )),
        Resent::Forgotten => Err(ApiError::new(
            StatusCode::CONFLICT,
            "what this message said is kept no longer (retention.messages), so it can not be sent again",
        )),
        Resent::Unknown => Err(ApiError::new(StatusCode::NOT_FOUND, "there is no message of this ID")),
    }
}
