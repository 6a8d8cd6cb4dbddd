//! `GET /tally/v1/explore`: what the page Explore shows, under the same query.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::asked::Asked;
use super::completions::Narrowed;
use super::{ApiError, ApiState, BadRequest, Refused, attached};
use crate::report::explore::{self, Answer, ExploreError, Question};
use crate::report::{filters, output};

/// The pair that asks for the chart's table instead of that of the groups, in CSV.
const TABLE: (&str, &str) = ("table", "steps");

/// A question of Explore, as its page has it in the URL; filters stand beside it.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the fields describe the pairs that Question reads")]
pub(super) struct QuestionParams {
    /// What is measured: spend, completions, tokens and others, as the page names them.
    measure: Option<String>,
    /// What to group by, likewise.
    by: Option<String>,
    /// How far back, such as 24h or 30d; or since and until.
    range: Option<String>,
    /// From when: a date, a local time, an instant, or a span back from now.
    #[param(pattern = r"^([1-9][0-9]{0,2}[hdw]|[1-9][0-9]{3}-[01][0-9]-[0-3][0-9](T[0-9:.]+(Z|[+-][0-9:]+)?)?)$")]
    since: Option<String>,
    /// Until when.
    #[param(pattern = r"^([1-9][0-9]{0,2}[hdw]|[1-9][0-9]{3}-[01][0-9]-[0-3][0-9](T[0-9:.]+(Z|[+-][0-9:]+)?)?)$")]
    until: Option<String>,
    /// The time zone of steps and dates.
    zone: Option<String>,
    /// The step of time, from minute to month.
    step: Option<String>,
    /// How many groups are told by name; the rest is one.
    top: Option<String>,
    /// How the page draws it.
    chart: Option<String>,
    /// Which one, of times.
    percentile: Option<String>,
    /// 1: with the period before, too.
    compare: Option<String>,
    /// The column that rows are sorted by.
    sort: Option<String>,
    /// asc or desc.
    order: Option<String>,
}

/// The answer to a question of Explore.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Explored {
    /// The question, as the page has it in its URL.
    #[schema(value_type = BTreeMap<String, String>)]
    question: BTreeMap<String, String>,
    /// What is measured.
    measure: &'static str,
    /// From when.
    #[schema(format = DateTime)]
    since: String,
    /// Until when.
    #[schema(format = DateTime)]
    until: String,
    /// The step of time.
    step: &'static str,
    /// The zone of its steps.
    time_zone: &'static str,
    /// From when the period is that it is compared with; null: it is compared with none.
    #[schema(format = DateTime)]
    before_since: Option<String>,
    /// Until when that is.
    #[schema(format = DateTime)]
    before_until: Option<String>,
    /// One object a group.
    #[schema(value_type = Vec<Object>)]
    rows: Vec<Map<String, Value>>,
    /// The same for all of them together.
    #[schema(value_type = Option<Object>)]
    total: Option<Map<String, Value>>,
    /// One object a step of time.
    #[schema(value_type = Vec<Object>)]
    steps: Vec<Map<String, Value>>,
}

/// Explore
///
/// What the page Explore shows, under the same query.
#[utoipa::path(
    get, path = "/tally/v1/explore", tag = "spend", params(QuestionParams, Narrowed),
    responses((status = 200, description = "The answer", body = Explored), BadRequest, Refused)
)]
pub(super) async fn json(
    State(state): State<ApiState>,
    Asked(pairs): Asked<Vec<(String, String)>>,
) -> Result<Json<Explored>, ApiError> {
    let answer = answer(&state, &pairs).await?;
    let period = &answer.period;
    let question = answer.question.pairs().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let before = period.before_ends().filter(|_| answer.question.compare);
    Ok(Json(Explored {
        question,
        measure: answer.question.measure.as_str(),
        since: period.since.to_iso(),
        until: period.until.to_iso(),
        step: period.step.as_str(),
        time_zone: period.zone.name(),
        before_since: before.map(|(since, _)| since.to_iso()),
        before_until: before.map(|(_, until)| until.to_iso()),
        rows: output::json(&explore::by_group(&answer)),
        total: output::json(&explore::of_all(&answer)).pop(),
        steps: output::json(&explore::by_step(&answer)),
    }))
}

/// Explore as CSV
///
/// The table of the groups, or with `table=steps` that of the chart.
#[utoipa::path(
    get, path = "/tally/v1/explore.csv", tag = "spend", params(QuestionParams, Narrowed, ("table" = Option<String>, Query, description = "groups or steps")),
    responses((status = 200, description = "The same as CSV", body = String, content_type = "text/csv"), BadRequest, Refused)
)]
pub(super) async fn csv(
    State(state): State<ApiState>,
    Asked(pairs): Asked<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    let (table, pairs): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(name, _)| name == TABLE.0);
    if let Some((_, wrong)) = table.iter().find(|(_, value)| value != TABLE.1 && value != "groups") {
        let wrong: String = wrong.chars().take(60).collect();
        return Err(ApiError::new(StatusCode::BAD_REQUEST, format!("\"{wrong}\" is no table; write groups or steps")));
    }
    let steps = table.iter().any(|(_, value)| value == TABLE.1);
    let answer = answer(&state, &pairs).await?;
    if steps {
        attached("tallyd-explore-steps.csv", &explore::by_step(&answer))
    } else {
        attached("tallyd-explore.csv", &explore::by_group(&answer))
    }
}

async fn answer(state: &ApiState, pairs: &[(String, String)]) -> Result<Answer, ApiError> {
    let refused = |problem: String| ApiError::new(StatusCode::BAD_REQUEST, problem);
    let (question, problems) = Question::read(pairs);
    if let Some(problem) = problems.into_iter().next() {
        return Err(refused(problem));
    }
    let known =
        |name: &str| Question::NAMES.contains(&name) || filters::OF_SUMS.contains(&name) || name == filters::NONE;
    if let Some((wrong, _)) = pairs.iter().find(|(name, _)| !known(name)) {
        let wrong: String = wrong.chars().take(60).collect();
        return Err(refused(format!(
            "\"{wrong}\" is no part of a question; write {}, or a filter: {}",
            Question::NAMES.join(", "),
            filters::OF_SUMS.join(", ")
        )));
    }
    explore::answer(&state.store, &question, state.clock.now(), state.zone).await.map_err(|error| match error {
        ExploreError::Question(problem) => refused(problem),
        ExploreError::Store(error) => ApiError::unreadable(&error),
    })
}
