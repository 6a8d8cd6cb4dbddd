//! `/tally/v1/budgets`, `/tally/v1/budget-changes` and `/tally/v1/reload`: budgets listed, made, changed and removed, what
//! became of them, and the configuration read anew.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::asked::{Asked, Named};
use super::{ApiError, ApiState, BadRequest, Conflict, NotFound, Refused, Unprocessable, attached, wanted};
use crate::definitions::{self, ChangeRow, DefinitionError, Listed, ReloadError, Reloaded};
use crate::domain::budget::change::{Actor, Door, Refusal};
use crate::domain::budget::{Budget, BudgetName, BudgetSpec, Origin};
use crate::ledger::{ChangeError, Changed};
use crate::report::replay::{self, MAX_ROWS_AT_ONCE, ReplayError, ReplayTold};
use crate::store::budget_changes;

/// The header by which a command says that it is one, for the audit trail.
pub const DOOR_HEADER: &str = "x-tally-door";

/// What stands in it.
pub const COMMAND: &str = "command";

/// Which page of budgets.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// Budgets whose names come after this one.
    after: Option<String>,
    /// Rows of the page, 100 unless said otherwise.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Over what time a budget is replayed, as in a report.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Over {
    /// From when: a date, a local time, an instant, or a span back from now such as `7d`.
    #[param(pattern = r"^([1-9][0-9]{0,2}[hdw]|[1-9][0-9]{3}-[01][0-9]-[0-3][0-9](T[0-9:.]+(Z|[+-][0-9:]+)?)?)$")]
    since: Option<String>,
    /// Until when.
    #[param(pattern = r"^([1-9][0-9]{0,2}[hdw]|[1-9][0-9]{3}-[01][0-9]-[0-3][0-9](T[0-9:.]+(Z|[+-][0-9:]+)?)?)$")]
    until: Option<String>,
}

/// A page of budgets, by name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BudgetsPage {
    /// The budgets.
    pub rows: Vec<Listed>,
    /// `after` of the next page; `None`: this is the last.
    pub next: Option<String>,
}

/// Which page of the audit trail.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ChangesOf {
    /// Of this budget alone.
    budget: Option<BudgetName>,
    /// Entries with a lower number: `next` of the page before.
    before: Option<i64>,
    /// Rows of the page, 100 unless said otherwise.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// A page of the audit trail, the last entry first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ChangesPage {
    /// The entries.
    pub rows: Vec<ChangeRow>,
    /// `before` of the next page; `None`: this is the last.
    pub next: Option<String>,
}

/// Another limit until an instant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Override {
    /// The limit, in dollars.
    #[schema(example = "800.00")]
    limit_usd: String,
    /// Until when: an instant, a date, or a span from now.
    #[schema(example = "3d")]
    until: String,
    /// Why.
    reason: String,
}

/// An amount to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TopUp {
    /// What is added, in dollars; taken back, if negative.
    #[schema(example = "25.00")]
    amount_usd: String,
    /// What for.
    #[serde(default)]
    note: String,
    /// One ID is one top-up, however often it is sent.
    id: Option<String>,
}

/// Budgets
///
/// Budgets by name, and where each stands.
#[utoipa::path(
    get, path = "/tally/v1/budgets", tag = "budgets", params(Page),
    responses((status = 200, description = "A page", body = BudgetsPage), BadRequest, Refused)
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    Asked(asked): Asked<Page>,
) -> Result<Json<BudgetsPage>, ApiError> {
    page(&state, &asked).await.map(Json)
}

/// Budgets as CSV
///
/// The same page as CSV.
#[utoipa::path(
    get, path = "/tally/v1/budgets.csv", tag = "budgets", params(Page),
    responses((status = 200, description = "The same as CSV", body = String, content_type = "text/csv"), BadRequest, Refused)
)]
pub(super) async fn csv(State(state): State<ApiState>, Asked(asked): Asked<Page>) -> Result<Response, ApiError> {
    attached("tallyd-budgets.csv", &definitions::table(&page(&state, &asked).await?.rows))
}

async fn page(state: &ApiState, asked: &Page) -> Result<BudgetsPage, ApiError> {
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

/// A budget
///
/// One budget, and where it stands.
#[utoipa::path(
    get, path = "/tally/v1/budgets/{name}", tag = "budgets", params(("name" = String, Path, description = "The budget's name", pattern = "^[a-z0-9][a-z0-9._-]{0,63}$")),
    responses((status = 200, description = "The budget", body = Listed), BadRequest, NotFound, Refused)
)]
pub(super) async fn show(State(state): State<ApiState>, Named(name): Named<String>) -> Result<Json<Listed>, ApiError> {
    row(&state, &named(&name)?).await.map(Json)
}

/// Make or change a budget
///
/// Makes a budget of that name, or another one of it; those of the configuration file are not changed here.
#[utoipa::path(
    put, path = "/tally/v1/budgets/{name}", tag = "budgets", params(("name" = String, Path, description = "The budget's name", pattern = "^[a-z0-9][a-z0-9._-]{0,63}$")), request_body = BudgetSpec,
    responses((status = 200, description = "It was changed", body = Listed), (status = 201, description = "It was made", body = Listed), BadRequest, Conflict, Refused)
)]
pub(super) async fn put(
    State(state): State<ApiState>,
    Named(name): Named<String>,
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

/// Replay a budget
///
/// What a budget would have told and refused over the past.
#[utoipa::path(
    get, path = "/tally/v1/budgets/{name}/replay", tag = "budgets", params(("name" = String, Path, description = "The budget's name", pattern = "^[a-z0-9][a-z0-9._-]{0,63}$"), Over),
    responses((status = 200, description = "What it would have told and refused", body = ReplayTold), BadRequest, NotFound, Unprocessable, Refused)
)]
pub(super) async fn replay_known(
    State(state): State<ApiState>,
    Named(name): Named<String>,
    Asked(over): Asked<Over>,
) -> Result<Json<ReplayTold>, ApiError> {
    let budget = row(&state, &named(&name)?).await?.budget;
    over.replay(&state, budget).await
}

/// Replay a draft
///
/// The same for the budget that the body describes, which need not exist.
#[utoipa::path(
    post, path = "/tally/v1/budgets/{name}/replay", tag = "budgets", params(("name" = String, Path, description = "The budget's name", pattern = "^[a-z0-9][a-z0-9._-]{0,63}$"), Over), request_body = BudgetSpec,
    responses((status = 200, description = "What it would have told and refused", body = ReplayTold), BadRequest, Unprocessable, Refused)
)]
pub(super) async fn replay_draft(
    State(state): State<ApiState>,
    Named(name): Named<String>,
    Asked(over): Asked<Over>,
    body: Result<Json<Value>, JsonRejection>,
) -> Result<Json<ReplayTold>, ApiError> {
    let spec = described(&named(&name)?, body)?;
    let budget = spec
        .into_budget(Origin::Own, state.zone)
        .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    over.replay(&state, budget).await
}

impl Over {
    async fn replay(&self, state: &ApiState, budget: Budget) -> Result<Json<ReplayTold>, ApiError> {
        let (since, until) = replay::span(self.since.as_deref(), self.until.as_deref(), state.zone, state.clock.now())
            .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        match replay::run(&state.store, &state.replays, budget, since, until, MAX_ROWS_AT_ONCE).await {
            Ok(course) => Ok(Json(replay::told(&course))),
            Err(ReplayError::Store(error)) => Err(ApiError::unreadable(&error)),
            Err(error) => Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())),
        }
    }
}

/// Remove a budget
///
/// Removes one that is not of the configuration file; answers with it as it stood.
#[utoipa::path(
    delete, path = "/tally/v1/budgets/{name}", tag = "budgets", params(("name" = String, Path, description = "The budget's name", pattern = "^[a-z0-9][a-z0-9._-]{0,63}$")),
    responses((status = 200, description = "The budget", body = Listed), BadRequest, NotFound, Conflict, Refused)
)]
pub(super) async fn delete(
    State(state): State<ApiState>,
    Named(name): Named<String>,
    headers: HeaderMap,
) -> Result<Json<Listed>, ApiError> {
    let name = named(&name)?;
    let all = state.definitions.list().await.map_err(|error| ApiError::unreadable(&error))?;
    let own = all.into_iter().rfind(|listed| listed.budget.name == name);
    state.definitions.remove(name.clone(), actor(&state, &headers)).await.map_err(|error| refused(&error))?;
    own.map(Json).ok_or_else(|| not_found(name))
}

/// Pause a budget
///
/// Until it is resumed it tells and refuses nothing, and goes on counting.
#[utoipa::path(
    post, path = "/tally/v1/budgets/{name}/pause", tag = "budgets", params(("name" = String, Path, description = "The budget's name", pattern = "^[a-z0-9][a-z0-9._-]{0,63}$")),
    responses((status = 200, description = "The budget", body = Listed), BadRequest, NotFound, Conflict, Refused)
)]
pub(super) async fn pause(
    state: State<ApiState>,
    name: Named<String>,
    headers: HeaderMap,
) -> Result<Json<Listed>, ApiError> {
    set_paused(&state, &name.0, &headers, true).await
}

/// Resume a budget
///
/// Ends a pause.
#[utoipa::path(
    post, path = "/tally/v1/budgets/{name}/resume", tag = "budgets", params(("name" = String, Path, description = "The budget's name", pattern = "^[a-z0-9][a-z0-9._-]{0,63}$")),
    responses((status = 200, description = "The budget", body = Listed), BadRequest, NotFound, Conflict, Refused)
)]
pub(super) async fn resume(
    state: State<ApiState>,
    name: Named<String>,
    headers: HeaderMap,
) -> Result<Json<Listed>, ApiError> {
    set_paused(&state, &name.0, &headers, false).await
}

async fn set_paused(state: &ApiState, name: &str, headers: &HeaderMap, paused: bool) -> Result<Json<Listed>, ApiError> {
    let name = named(name)?;
    answer(state, &name, state.definitions.pause(name.clone(), paused, actor(state, headers)).await).await
}

/// Override a limit
///
/// Another limit until an instant.
#[utoipa::path(
    post, path = "/tally/v1/budgets/{name}/override", tag = "budgets", params(("name" = String, Path, description = "The budget's name", pattern = "^[a-z0-9][a-z0-9._-]{0,63}$")), request_body = Override,
    responses((status = 200, description = "The budget", body = Listed), BadRequest, NotFound, Conflict, Refused)
)]
pub(super) async fn override_limit(
    State(state): State<ApiState>,
    Named(name): Named<String>,
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

/// End an override
///
/// The budget's own limit holds again.
#[utoipa::path(
    delete, path = "/tally/v1/budgets/{name}/override", tag = "budgets", params(("name" = String, Path, description = "The budget's name", pattern = "^[a-z0-9][a-z0-9._-]{0,63}$")),
    responses((status = 200, description = "The budget", body = Listed), BadRequest, NotFound, Conflict, Refused)
)]
pub(super) async fn end_override(
    State(state): State<ApiState>,
    Named(name): Named<String>,
    headers: HeaderMap,
) -> Result<Json<Listed>, ApiError> {
    let name = named(&name)?;
    answer(&state, &name, state.definitions.end_override(name.clone(), actor(&state, &headers)).await).await
}

/// Top up a window
///
/// Adds to the limit of the window that is open.
#[utoipa::path(
    post, path = "/tally/v1/budgets/{name}/topup", tag = "budgets", params(("name" = String, Path, description = "The budget's name", pattern = "^[a-z0-9][a-z0-9._-]{0,63}$")), request_body = TopUp,
    responses((status = 200, description = "The budget", body = Listed), BadRequest, NotFound, Conflict, Refused)
)]
pub(super) async fn top_up(
    State(state): State<ApiState>,
    Named(name): Named<String>,
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

/// Changes of budgets
///
/// The audit trail, the last entry first.
#[utoipa::path(
    get, path = "/tally/v1/budget-changes", tag = "budgets", params(ChangesOf),
    responses((status = 200, description = "A page", body = ChangesPage), BadRequest, Refused)
)]
pub(super) async fn changes(
    State(state): State<ApiState>,
    Asked(asked): Asked<ChangesOf>,
) -> Result<Json<ChangesPage>, ApiError> {
    changes_page(&state, &asked).await.map(Json)
}

/// Changes of budgets as CSV
///
/// The same page as CSV.
#[utoipa::path(
    get, path = "/tally/v1/budget-changes.csv", tag = "budgets", params(ChangesOf),
    responses((status = 200, description = "The same as CSV", body = String, content_type = "text/csv"), BadRequest, Refused)
)]
pub(super) async fn changes_csv(
    State(state): State<ApiState>,
    Asked(asked): Asked<ChangesOf>,
) -> Result<Response, ApiError> {
    attached("tallyd-budget-changes.csv", &definitions::changes_table(&changes_page(&state, &asked).await?.rows))
}

async fn changes_page(state: &ApiState, asked: &ChangesOf) -> Result<ChangesPage, ApiError> {
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

/// Reload
///
/// Reads the configuration anew: its budgets hold at once.
#[utoipa::path(
    post, path = "/tally/v1/reload", tag = "operations",
    responses((status = 200, description = "What it did", body = Reloaded), Conflict, Unprocessable, Refused)
)]
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
