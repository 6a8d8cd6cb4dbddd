//! `GET /tally/v1/failures`: what `tallyd report --failures` answers.

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ApiError, ApiState};
use crate::domain::table::Table;
use crate::report::failures;
use crate::report::output;
use crate::report::spend::{Question, SpendError};

/// What may be asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    since: Option<String>,
    until: Option<String>,
}

pub(super) async fn json(State(state): State<ApiState>, Query(asked): Query<Asked>) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({ "rows": output::json(&table(&state, &asked).await?) })))
}

pub(super) async fn csv(State(state): State<ApiState>, Query(asked): Query<Asked>) -> Result<Response, ApiError> {
    let mut body = Vec::new();
    output::csv(&table(&state, &asked).await?, &mut body)
        .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let head = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"tallyd-failures.csv\""),
    ];
    Ok((head, body).into_response())
}

async fn table(state: &ApiState, asked: &Asked) -> Result<Table, ApiError> {
    let now = state.clock.now();
    let question = Question::parse("", asked.since.as_deref(), asked.until.as_deref(), state.zone, now);
    let question = question.map_err(|error: SpendError| ApiError::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let found = failures::failures(&state.store, question.since, question.until, now).await;
    Ok(found.map_err(|error| ApiError::unreadable(&error))?.table())
}
