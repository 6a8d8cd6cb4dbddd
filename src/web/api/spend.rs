//! `GET /tally/v1/spend`: what `tallyd report` answers.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::asked::Asked;
use super::{ApiError, ApiState, BadRequest, Refused, attached};
use crate::report::output;
use crate::report::spend::{self, Answer, Question, SpendError};

/// What may be asked.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Span {
    /// What to group by, parted by commas: model, provider, app, key, user, session, endpoint, tag.NAME, hour, day, week,
    /// month and others.
    #[serde(default = "by_model")]
    #[param(required = false, default = "model")]
    by: String,
    /// From when, inclusive: a date, a local time, an instant, or a span back from now such as `7d`; the first of the month
    /// unless said otherwise.
    #[param(pattern = r"^([1-9][0-9]{0,2}[hdw]|[1-9][0-9]{3}-[01][0-9]-[0-3][0-9](T[0-9:.]+(Z|[+-][0-9:]+)?)?)$")]
    since: Option<String>,
    /// Until when, exclusive; now unless said otherwise.
    #[param(pattern = r"^([1-9][0-9]{0,2}[hdw]|[1-9][0-9]{3}-[01][0-9]-[0-3][0-9](T[0-9:.]+(Z|[+-][0-9:]+)?)?)$")]
    until: Option<String>,
}

/// Sums, one object a group.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Spend)]
pub(super) struct Told {
    /// The groups.
    #[schema(value_type = Vec<SpendRow>)]
    rows: Vec<Map<String, Value>>,
}

/// A group: what it is grouped by under the names that were asked for (null: its calls name none), and its sums.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the columns of a table, which is what is sent")]
struct SpendRow {
    /// Completions, without those that failed.
    completions: i64,
    /// Calls that failed.
    failures: i64,
    /// Prompt tokens, normalised.
    tokens_prompt: i64,
    /// Completion tokens, normalised.
    tokens_completion: i64,
    /// What they cost, in dollars; null: not one of the costs is known.
    #[schema(required)]
    cost_usd: Option<String>,
    /// Completions whose cost is not known, and not in it.
    unknown: i64,
    /// What those may have cost by the list price, in dollars; null: nothing can be said.
    #[schema(required)]
    estimate_usd: Option<String>,
}

fn by_model() -> String {
    "model".to_owned()
}

/// Spend
///
/// What `tallyd report` answers: sums by any names and steps of time.
#[utoipa::path(
    get, path = "/tally/v1/spend", tag = "spend", params(Span),
    responses((status = 200, description = "The sums", body = Told), BadRequest, Refused)
)]
pub(super) async fn json(State(state): State<ApiState>, Asked(asked): Asked<Span>) -> Result<Json<Told>, ApiError> {
    let answer = answer(&state, &asked).await?;
    Ok(Json(Told { rows: output::json(&answer.table) }))
}

/// Spend as CSV
///
/// The same as CSV.
#[utoipa::path(
    get, path = "/tally/v1/spend.csv", tag = "spend", params(Span),
    responses((status = 200, description = "The same as CSV", body = String, content_type = "text/csv"), BadRequest, Refused)
)]
pub(super) async fn csv(State(state): State<ApiState>, Asked(asked): Asked<Span>) -> Result<Response, ApiError> {
    let answer = answer(&state, &asked).await?;
    attached("tallyd-spend.csv", &answer.table)
}

async fn answer(state: &ApiState, asked: &Span) -> Result<Answer, ApiError> {
    let question =
        Question::parse(&asked.by, asked.since.as_deref(), asked.until.as_deref(), state.zone, state.clock.now());
    let refused = |error: SpendError| match error {
        SpendError::Store(error) => ApiError::unreadable(&error),
        other => ApiError::new(StatusCode::BAD_REQUEST, other.to_string()),
    };
    spend::answer(&state.store, &question.map_err(refused)?).await.map_err(refused)
}
