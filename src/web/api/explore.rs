//! `GET /tally/v1/explore`: what the page Explore shows, under the same query.

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::{ApiError, ApiState, attached};
use crate::report::explore::{self, Answer, ExploreError, Question};
use crate::report::{filters, output};

/// The pair that asks for the chart's table instead of that of the groups, in CSV.
const TABLE: (&str, &str) = ("table", "steps");

pub(super) async fn json(
    State(state): State<ApiState>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<Value>, ApiError> {
    let answer = answer(&state, &pairs).await?;
    let period = &answer.period;
    let question: serde_json::Map<String, Value> =
        answer.question.pairs().into_iter().map(|(name, value)| (name.to_owned(), Value::String(value))).collect();
    let before = period.before_ends().filter(|_| answer.question.compare);
    Ok(Json(json!({
        "question": question,
        "measure": answer.question.measure.as_str(),
        "since": period.since.to_iso(),
        "until": period.until.to_iso(),
        "step": period.step.as_str(),
        "time_zone": period.zone.name(),
        "before_since": before.map(|(since, _)| since.to_iso()),
        "before_until": before.map(|(_, until)| until.to_iso()),
        "rows": output::json(&explore::by_group(&answer)),
        "total": output::json(&explore::of_all(&answer)).pop(),
        "steps": output::json(&explore::by_step(&answer)),
    })))
}

pub(super) async fn csv(
    State(state): State<ApiState>,
    Query(pairs): Query<Vec<(String, String)>>,
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
