//! `GET /tally/v1/failures`: what `tallyd report --failures` answers.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::asked::Asked;
use super::{ApiError, ApiState, BadRequest, Refused, attached};
use crate::domain::table::Table;
use crate::report::failures;
use crate::report::output;
use crate::report::spend::{Question, SpendError};

/// What may be asked.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Span {
    /// From when, inclusive: a date, a local time, an instant, or a span back from now such as `7d`; the first of the month
    /// unless said otherwise.
    #[param(pattern = r"^([1-9][0-9]{0,2}[hdw]|[1-9][0-9]{3}-[01][0-9]-[0-3][0-9](T[0-9:.]+(Z|[+-][0-9:]+)?)?)$")]
    since: Option<String>,
    /// Until when, exclusive; now unless said otherwise.
    #[param(pattern = r"^([1-9][0-9]{0,2}[hdw]|[1-9][0-9]{3}-[01][0-9]-[0-3][0-9](T[0-9:.]+(Z|[+-][0-9:]+)?)?)$")]
    until: Option<String>,
}

/// What went wrong, one object a kind.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Failures)]
pub(super) struct Told {
    /// The kinds: errors, then silent mistakes.
    #[schema(value_type = Vec<FailureRow>)]
    rows: Vec<Map<String, Value>>,
}

/// A kind of failure.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the columns of a table, which is what is sent")]
struct FailureRow {
    /// The HTTP status, in words where there was none; null: a silent mistake.
    #[schema(required)]
    status: Option<String>,
    /// The error's type, or the mistake's flag.
    error_type: String,
    /// The endpoint; null: not known.
    #[schema(required)]
    endpoint: Option<String>,
    /// The model; null: not known.
    #[schema(required)]
    model: Option<String>,
    /// How many calls.
    calls: i64,
    /// When the last of them was.
    #[schema(format = DateTime)]
    last_at: String,
    /// What it means.
    means: String,
    /// How to mend it.
    mend: String,
}

/// Failures
///
/// What went wrong, what it means and how to mend it, as `tallyd report --failures` answers.
#[utoipa::path(
    get, path = "/tally/v1/failures", tag = "spend", params(Span),
    responses((status = 200, description = "The kinds", body = Told), BadRequest, Refused)
)]
pub(super) async fn json(State(state): State<ApiState>, Asked(asked): Asked<Span>) -> Result<Json<Told>, ApiError> {
    Ok(Json(Told { rows: output::json(&table(&state, &asked).await?) }))
}

/// Failures as CSV
///
/// The same as CSV.
#[utoipa::path(
    get, path = "/tally/v1/failures.csv", tag = "spend", params(Span),
    responses((status = 200, description = "The same as CSV", body = String, content_type = "text/csv"), BadRequest, Refused)
)]
pub(super) async fn csv(State(state): State<ApiState>, Asked(asked): Asked<Span>) -> Result<Response, ApiError> {
    attached("tallyd-failures.csv", &table(&state, &asked).await?)
}

async fn table(state: &ApiState, asked: &Span) -> Result<Table, ApiError> {
    let now = state.clock.now();
    let question = Question::parse("", asked.since.as_deref(), asked.until.as_deref(), state.zone, now);
    let question = question.map_err(|error: SpendError| ApiError::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let found = failures::failures(&state.store, question.since, question.until, now).await;
    Ok(found.map_err(|error| ApiError::unreadable(&error))?.table())
}
