//! `/tally/v1/budgets`, `/tally/v1/budget-changes` and `/tally/v1/reload`: budgets listed, made, changed and removed, what
//! became of them, and the configuration read anew.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ApiError, ApiState, attached};
use crate::definitions::{self, ChangeRow, DefinitionError, Listed, ReloadError, Reloaded};
use crate::domain::budget::change::{Actor, Door, Refusal};
use crate::domain::budget::{Budget, BudgetName, BudgetSpec, Origin};
use crate::ledger::{ChangeError, Changed};
use crate::report::replay::{self, MAX_ROWS_AT_ONCE, ReplayError};
use crate::store::budget_changes;

/// Rows of one page, unless fewer or more are asked for.
const PAGE: u32 = 100;

/// Most rows of one page.
pub const MAX_PAGE: u32 = 1_000;

/// The header by which a command says that it is one, for the audit trail.
pub const DOOR_HEADER: &str = "x-tally-door";

/// What stands in it.
pub const COMMAND: &str = "command";

/// Which page of budgets.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Budgets whose names come after this one.
    after: Option<String>,
    limit: Option<u32>,
}

/// Over what time a budget is replayed, as in a report.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Over {
    since: Option<String>,
    until: Option<String>,
}

/// A page of budgets, by name.
#[derive(Debug, Serialize, Deserialize)]
pub struct BudgetsPage {
    /// The budgets.
    pub rows: Vec<Listed>,
    /// `after` of the next page; `None`: this is the last.
    pub next: Option<String>,
}

/// Which page of the audit trail.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AskedChanges {
    budget: Option<BudgetName>,
    /// Entries with a lower number.
    before: Option<i64>,
    limit: Option<u32>,
}

/// A page of the audit trail, the last entry first.
#[derive(Debug, Serialize, Deserialize)]
pub struct ChangesPage {
    /// The entries.
    pub rows: Vec<ChangeRow>,
    /// `before` of the next page; `None`: this is the last.
    pub next: Option<String>,
}

/// Another limit until an instant.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Override {
    limit_usd: String,
    until: String,
    reason: String,
}

/// An amount to be added.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TopUp {
    amount_usd: String,
    #[serde(default)]
    note: String,
    id: Option<String>,
}

/// How many rows are wanted of a page.
pub(super) fn wanted(limit: Option<u32>) -> Result<u32, ApiError> {
    match limit.unwrap_or(PAGE) {
        limit @ 1..=MAX_PAGE => Ok(limit),
        _ => Err(ApiError::new(StatusCode::BAD_REQUEST, format!("limit is a number from 1 to {MAX_PAGE}"))),
    }
}

pub(super) async fn list(
    State(state): State<ApiState>,
    Query(asked): Query<Asked>,
) -> Result<Json<BudgetsPage>, ApiError> {
    page(&state, &asked).await.map(Json)
}

pub(super) async fn csv(State(state): State<ApiState>, Query(asked): Query<Asked>) -> Result<Response, ApiError> {
    attached("tallyd-budgets.csv", &definitions::table(&page(&state, &asked).await?.rows))
}

async fn page(state: &ApiState, asked: &Asked) -> Result<BudgetsPage, ApiError> {
    let limit = usize::try_from(wanted(asked.limit)?).unwrap_or(usize::MAX);
    let mut rows = state.definitions.list().await.map_err(|error| ApiError::unreadable(&error))?;
    if let Some(after) = &asked.after {
        rows.retain(|listed| listed.budget.name.as_str() > after.as_str());
    }
    // One that is shadowed stands on the page of the one before it.
    let cut = rows.iter().enumerate().skip(limit).find(|(_, listed)| !listed.shadowed).map(|(place, _)| place);
    let next = cut.and_then(|place| rows.get(place.checked_sub(1)?)).map(|listed| listed.budget.name.to_string());
    rows.truncate(cut.unwrap_or(rows.len()));
    Ok(BudgetsPage { rows, next })
}

pub(super) async fn show(State(state): State<ApiState>, Path(name): Path<String>) -> Result<Json<Listed>, ApiError> {
    row(&state, &named(&name)?).await.map(Json)
}

/// Makes a budget of that name, or another one of it.
pub(super) async fn put(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Result<Json<Value>, JsonRejection>,
) -> Result<Response, ApiError> {
    let name = named(&name)?;
    let spec = described(&name, body)?;
    let changed = state.definitions.set(spec, actor(&state, &headers)).await.map_err(|error| refused(&error))?;
    let made = changed.differences.iter().any(|difference| difference.name == name && difference.before.is_none());
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(row(&state, &name).await?)).into_response())
}

/// The budget of that name that a body describes.
fn described(name: &BudgetName, body: Result<Json<Value>, JsonRejection>) -> Result<BudgetSpec, ApiError> {
    let Ok(Json(Value::Object(mut fields))) = body else {
        let message = "the body is a budget as JSON of type application/json: {\"window\": \"month\", \"limit_usd\": \"500.00\"} and \
                       what else stands in a [[budgets]] of the configuration";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, message));
    };
    let told = fields.entry("name").or_insert_with(|| name.as_str().into());
    if told.as_str() != Some(name.as_str()) {
        let message = format!("the body names another budget than the path, which is \"{name}\"; leave name out");
        return Err(ApiError::new(StatusCode::BAD_REQUEST, message));
    }
    serde_json::from_value(Value::Object(fields))
        .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, error.to_string()))
}

/// What a budget would have done over the last time.
pub(super) async fn replay_known(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    Query(over): Query<Over>,
) -> Result<Json<Value>, ApiError> {
    let budget = row(&state, &named(&name)?).await?.budget;
    over.replay(&state, budget).await
}

/// What the budget that the body describes would have done.
pub(super) async fn replay_draft(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    Query(over): Query<Over>,
    body: Result<Json<Value>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    let spec = described(&named(&name)?, body)?;
    let budget = spec
        .into_budget(Origin::Own, state.zone)
        .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    over.replay(&state, budget).await
}

impl Over {
    async fn replay(&self, state: &ApiState, budget: Budget) -> Result<Json<Value>, ApiError> {
        let (since, until) = replay::span(self.since.as_deref(), self.until.as_deref(), state.zone, state.clock.now())
            .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        match replay::run(&state.store, &state.replays, budget, since, until, MAX_ROWS_AT_ONCE).await {
            Ok(course) => Ok(Json(replay::as_json(&course))),
            Err(ReplayError::Store(error)) => Err(ApiError::unreadable(&error)),
            Err(error) => Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())),
        }
    }
}

/// Removes one of our own; answers with it as it stood.
pub(super) async fn delete(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Listed>, ApiError> {
    let name = named(&name)?;
    let all = state.definitions.list().await.map_err(|error| ApiError::unreadable(&error))?;
    let own = all.into_iter().rfind(|listed| listed.budget.name == name);
    state.definitions.remove(name.clone(), actor(&state, &headers)).await.map_err(|error| refused(&error))?;
    own.map(Json).ok_or_else(|| not_found(name))
}

pub(super) async fn pause(
    state: State<ApiState>,
    name: Path<String>,
    headers: HeaderMap,
) -> Result<Json<Listed>, ApiError> {
    set_paused(&state, &name, &headers, true).await
}

pub(super) async fn resume(
    state: State<ApiState>,
    name: Path<String>,
    headers: HeaderMap,
) -> Result<Json<Listed>, ApiError> {
    set_paused(&state, &name, &headers, false).await
}

async fn set_paused(state: &ApiState, name: &str, headers: &HeaderMap, paused: bool) -> Result<Json<Listed>, ApiError> {
    let name = named(name)?;
    answer(state, &name, state.definitions.pause(name.clone(), paused, actor(state, headers)).await).await
}

pub(super) async fn override_limit(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Result<Json<Override>, JsonRejection>,
) -> Result<Json<Listed>, ApiError> {
    let name = named(&name)?;
    let Json(Override { limit_usd, until, reason }) = body.map_err(|_| {
        let message =
            "the body is {\"limit_usd\": \"800.00\", \"until\": \"3d\", \"reason\": \"…\"} of type application/json";
        ApiError::new(StatusCode::BAD_REQUEST, message)
    })?;
    let by = actor(&state, &headers);
    let changed = state.definitions.override_limit(name.clone(), &limit_usd, &until, &reason, by).await;
    answer(&state, &name, changed).await
}

pub(super) async fn end_override(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Listed>, ApiError> {
    let name = named(&name)?;
    answer(&state, &name, state.definitions.end_override(name.clone(), actor(&state, &headers)).await).await
}

pub(super) async fn top_up(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Result<Json<TopUp>, JsonRejection>,
) -> Result<Json<Listed>, ApiError> {
    let name = named(&name)?;
    let Json(TopUp { amount_usd, note, id }) = body.map_err(|_| {
        let message = "the body is {\"amount_usd\": \"25.00\", \"note\"?: \"…\", \"id\"?: \"one ID is one top-up\"} of type \
                       application/json";
        ApiError::new(StatusCode::BAD_REQUEST, message)
    })?;
    let by = actor(&state, &headers);
    answer(&state, &name, state.definitions.top_up(name.clone(), &amount_usd, &note, id, by).await).await
}

pub(super) async fn changes(
    State(state): State<ApiState>,
    Query(asked): Query<AskedChanges>,
) -> Result<Json<ChangesPage>, ApiError> {
    changes_page(&state, &asked).await.map(Json)
}

pub(super) async fn changes_csv(
    State(state): State<ApiState>,
    Query(asked): Query<AskedChanges>,
) -> Result<Response, ApiError> {
    attached("tallyd-budget-changes.csv", &definitions::changes_table(&changes_page(&state, &asked).await?.rows))
}

async fn changes_page(state: &ApiState, asked: &AskedChanges) -> Result<ChangesPage, ApiError> {
    let limit = wanted(asked.limit)?;
    let mut entries = budget_changes::page(&state.store, asked.budget.as_ref(), asked.before, limit + 1)
        .await
        .map_err(|error| ApiError::unreadable(&error))?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| more).map(|last| last.seq.to_string());
    Ok(ChangesPage { rows: definitions::change_rows(entries), next })
}

/// Reads the configuration anew.
pub(super) async fn reload(State(state): State<ApiState>) -> Result<Json<Reloaded>, ApiError> {
    state.definitions.reload("reload").await.map(Json).map_err(|error| match &error {
        ReloadError::Nothing => ApiError::new(StatusCode::CONFLICT, error.to_string()),
        ReloadError::Config(_) => ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
        ReloadError::Change(change) => unchanged(change),
    })
}

fn actor(state: &ApiState, headers: &HeaderMap) -> Actor {
    let command = headers.get(DOOR_HEADER).is_some_and(|door| door == COMMAND);
    state.definitions.actor(if command { Door::Command } else { Door::Api })
}

fn named(name: &str) -> Result<BudgetName, ApiError> {
    name.parse()
        .map_err(|error: crate::domain::budget::BudgetError| ApiError::new(StatusCode::BAD_REQUEST, error.to_string()))
}

async fn row(state: &ApiState, name: &BudgetName) -> Result<Listed, ApiError> {
    let found = state.definitions.find(name).await.map_err(|error| ApiError::unreadable(&error))?;
    found.ok_or_else(|| not_found(name.clone()))
}

async fn answer(
    state: &ApiState,
    name: &BudgetName,
    changed: Result<Changed, DefinitionError>,
) -> Result<Json<Listed>, ApiError> {
    changed.map_err(|error| refused(&error))?;
    row(state, name).await.map(Json)
}

fn not_found(name: BudgetName) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, Refusal::NotFound(name).to_string())
}

fn refused(error: &DefinitionError) -> ApiError {
    match error {
        DefinitionError::Budget(_) | DefinitionError::Field(..) => {
            ApiError::new(StatusCode::BAD_REQUEST, error.to_string())
        }
        DefinitionError::Change(change) => unchanged(change),
        DefinitionError::Store(error) => ApiError::unreadable(error),
    }
}

fn unchanged(error: &ChangeError) -> ApiError {
    let status = match error {
        ChangeError::Refused(Refusal::NotFound(_)) => StatusCode::NOT_FOUND,
        ChangeError::Refused(Refusal::EndsInThePast(_) | Refusal::TakesTooMuch { .. } | Refusal::LimitTooHigh) => {
            StatusCode::BAD_REQUEST
        }
        ChangeError::Refused(_) => StatusCode::CONFLICT,
        ChangeError::Unavailable | ChangeError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
    };
    ApiError::new(status, error.to_string())
}
