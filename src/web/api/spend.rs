//! `GET /tally/v1/spend`: what `tallyd report` answers.

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ApiError, ApiState};
use crate::report::output;
use crate::report::spend::{self, Answer, Question, SpendError};

/// What may be asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default = "by_model")]
    by: String,
    since: Option<String>,
    until: Option<String>,
}

fn by_model() -> String {
    "model".to_owned()
}

pub(super) async fn json(State(state): State<ApiState>, Query(asked): Query<Asked>) -> Result<Json<Value>, ApiError> {
    let answer = answer(&state, &asked).await?;
    Ok(Json(json!({ "rows": output::json(&answer.table) })))
}

pub(super) async fn csv(State(state): State<ApiState>, Query(asked): Query<Asked>) -> Result<Response, ApiError> {
    let answer = answer(&state, &asked).await?;
    let mut body = Vec::new();
    output::csv(&answer.table, &mut body)
        .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let head = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"tallyd-spend.csv\""),
    ];
    Ok((head, body).into_response())
}

async fn answer(state: &ApiState, asked: &Asked) -> Result<Answer, ApiError> {
    let question =
        Question::parse(&asked.by, asked.since.as_deref(), asked.until.as_deref(), state.zone, state.clock.now());
    let refused = |error: SpendError| match error {
        SpendError::Store(error) => ApiError::unreadable(&error),
        other => ApiError::new(StatusCode::BAD_REQUEST, other.to_string()),
    };
    spend::answer(&state.store, &question.map_err(refused)?).await.map_err(refused)
}
