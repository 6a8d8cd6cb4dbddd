//! Budgets made, changed, paused, overridden, topped up and removed by forms, which need no script. What is wrong stands
//! beside its field, and what was written is kept.

use std::collections::BTreeMap;

use askama::Template;
use axum::Form;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;

use super::DashboardState;
use super::budget::{self, Written};
use super::frame::{Frame, Page};
use super::query::segment;
use super::respond::{PageError, html};
use crate::definitions::{DefinitionError, Wanted};
use crate::domain::budget::change::Door;
use crate::domain::budget::{Budget, BudgetName, Origin};
use crate::domain::window::{WeekStart, WindowKind};
use crate::ledger::{ChangeError, Changed};
use crate::report::standing;

/// A text field: its name, its label, its text, an example, and what is wrong with it.
struct Field {
    name: &'static str,
    label: &'static str,
    value: String,
    example: &'static str,
    wrong: Option<String>,
}

/// A choice: as [`Field`], with the values and whether each is chosen.
struct Choice {
    name: &'static str,
    label: &'static str,
    options: Vec<(&'static str, bool)>,
    wrong: Option<String>,
}

#[derive(Template)]
#[template(path = "budget_form.html")]
struct FormPage {
    frame: Frame,
    title: String,
    /// Where the form goes, and where "cancel" leads.
    action: String,
    back: String,
    /// Where what the form describes is tried on the past.
    replay: String,
    /// The name, where it can be chosen.
    name: Option<Field>,
    limit: Field,
    scope: Vec<Field>,
    scope_wrong: Option<String>,
    window: Choice,
    time_zone: Field,
    week_starts: Choice,
    billing_day: Field,
    rollover: bool,
    rollover_wrong: Option<String>,
    alert_at: Field,
    notify: Field,
    when_exceeded: Choice,
    on_ledger_failure: Choice,
    /// What is wrong with no field of its own.
    problem: Option<String>,
    submit: &'static str,
}

#[derive(Template)]
#[template(path = "budget_remove.html")]
struct RemovePage {
    frame: Frame,
    name: String,
    link: String,
    problem: Option<String>,
}

/// The form of an override.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Overriding {
    limit_usd: String,
    until: String,
    reason: String,
}

/// The form of a top-up; `form` is its ID.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ToppingUp {
    form: String,
    amount_usd: String,
    note: String,
}

/// An empty form.
pub(super) async fn new(State(state): State<DashboardState>) -> Result<Response, PageError> {
    form(&state, None, &Wanted::fresh(state.zone), &BTreeMap::new(), None)
}

/// Makes a budget.
pub(super) async fn make(
    State(state): State<DashboardState>,
    Form(wanted): Form<Wanted>,
) -> Result<Response, PageError> {
    let taken = match wanted.name.parse::<BudgetName>() {
        Ok(name) => standing::find(&state.store, &name, state.clock.now()).await.map_err(state.unreadable())?.is_some(),
        Err(_) => false,
    };
    if taken {
        let wrong = BTreeMap::from([("name", "there is a budget of this name already; choose another".to_owned())]);
        return Ok(refused(form(&state, None, &wanted, &wrong, None)?, StatusCode::CONFLICT));
    }
    save(&state, None, wanted).await
}

/// The form of a budget of our own.
pub(super) async fn edit(State(state): State<DashboardState>, Path(name): Path<String>) -> Result<Response, PageError> {
    let budget = own(&state, &name).await?;
    form(&state, Some(&budget.name), &Wanted::of(&budget), &BTreeMap::new(), None)
}

/// Changes it.
pub(super) async fn change(
    State(state): State<DashboardState>,
    Path(name): Path<String>,
    Form(wanted): Form<Wanted>,
) -> Result<Response, PageError> {
    let budget = own(&state, &name).await?;
    save(&state, Some(&budget.name), Wanted { name: budget.name.to_string(), ..wanted }).await
}

/// Asks whether a budget of our own shall be removed.
pub(super) async fn ask(State(state): State<DashboardState>, Path(name): Path<String>) -> Result<Response, PageError> {
    let name = removable(&state, &name).await?;
    html(&removing(&state, &name, None))
}

/// Removes it.
pub(super) async fn remove(
    State(state): State<DashboardState>,
    Path(name): Path<String>,
) -> Result<Response, PageError> {
    let name = removable(&state, &name).await?;
    match state.definitions.remove(name.clone(), state.definitions.actor(Door::Page)).await {
        Ok(_) => Ok(Redirect::to("/budgets").into_response()),
        Err(error) => {
            let status = status_of(&error);
            Ok(refused(html(&removing(&state, &name, Some(error.to_string())))?, status))
        }
    }
}

fn removing(state: &DashboardState, name: &BudgetName, problem: Option<String>) -> RemovePage {
    RemovePage {
        frame: Frame::new(state, "Remove a budget", Page::Budgets),
        name: name.to_string(),
        link: link(name),
        problem,
    }
}

/// Lets it count, and neither tell nor refuse.
pub(super) async fn pause(state: State<DashboardState>, name: Path<String>) -> Result<Response, PageError> {
    set_paused(&state, &name, true).await
}

/// Lets it tell and refuse again.
pub(super) async fn resume(state: State<DashboardState>, name: Path<String>) -> Result<Response, PageError> {
    set_paused(&state, &name, false).await
}

async fn set_paused(state: &DashboardState, name: &str, paused: bool) -> Result<Response, PageError> {
    let name = budget::named(state, name)?;
    let changed = state.definitions.pause(name.clone(), paused, state.definitions.actor(Door::Page)).await;
    done(state, &name, changed, |wrong, problem| Written { wrong, problem, ..Written::default() }).await
}

/// Gives it another limit until an instant.
pub(super) async fn override_limit(
    State(state): State<DashboardState>,
    Path(name): Path<String>,
    Form(given): Form<Overriding>,
) -> Result<Response, PageError> {
    let name = budget::named(&state, &name)?;
    let by = state.definitions.actor(Door::Page);
    let changed =
        state.definitions.override_limit(name.clone(), &given.limit_usd, &given.until, &given.reason, by).await;
    let Overriding { limit_usd, until, reason } = given;
    done(&state, &name, changed, |wrong, problem| Written {
        limit_usd,
        until,
        reason,
        wrong,
        problem,
        ..Written::default()
    })
    .await
}

/// Ends that.
pub(super) async fn end_override(
    State(state): State<DashboardState>,
    Path(name): Path<String>,
) -> Result<Response, PageError> {
    let name = budget::named(&state, &name)?;
    let changed = state.definitions.end_override(name.clone(), state.definitions.actor(Door::Page)).await;
    done(&state, &name, changed, |wrong, problem| Written { wrong, problem, ..Written::default() }).await
}

/// Adds an amount to the limit of its window.
pub(super) async fn top_up(
    State(state): State<DashboardState>,
    Path(name): Path<String>,
    Form(given): Form<ToppingUp>,
) -> Result<Response, PageError> {
    let name = budget::named(&state, &name)?;
    let ToppingUp { form, amount_usd, note } = given;
    let by = state.definitions.actor(Door::Page);
    let changed = state.definitions.top_up(name.clone(), &amount_usd, &note, Some(form), by).await;
    done(&state, &name, changed, |wrong, problem| Written { amount_usd, note, wrong, problem, ..Written::default() })
        .await
}

/// Leads back to the budget, or shows it with what is wrong.
async fn done(
    state: &DashboardState,
    name: &BudgetName,
    changed: Result<Changed, DefinitionError>,
    written: impl FnOnce(BTreeMap<&'static str, String>, Option<String>) -> Written,
) -> Result<Response, PageError> {
    let error = match changed {
        Ok(_) => return Ok(Redirect::to(&link(name)).into_response()),
        Err(DefinitionError::Store(error)) => return Err(state.unreadable()(error)),
        Err(error) => error,
    };
    let (wrong, problem) = match error.field() {
        Some(field) => (BTreeMap::from([(field, error.to_string())]), None),
        None => (BTreeMap::new(), Some(error.to_string())),
    };
    let page = budget::show(state, name, written(wrong, problem)).await?;
    Ok(refused(page, status_of(&error)))
}

fn status_of(error: &DefinitionError) -> StatusCode {
    match error {
        DefinitionError::Budget(_) | DefinitionError::Field(..) => StatusCode::BAD_REQUEST,
        DefinitionError::Change(ChangeError::Refused(_)) => StatusCode::CONFLICT,
        DefinitionError::Change(_) | DefinitionError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn refused(page: Response, status: StatusCode) -> Response {
    (status, page).into_response()
}

async fn save(state: &DashboardState, known: Option<&BudgetName>, wanted: Wanted) -> Result<Response, PageError> {
    let spec = match wanted.spec(state.zone) {
        Ok(spec) => spec,
        Err(wrong) => return Ok(refused(form(state, known, &wanted, &wrong, None)?, StatusCode::BAD_REQUEST)),
    };
    let name = spec.name.clone();
    match state.definitions.set(spec, state.definitions.actor(Door::Page)).await {
        Ok(_) => Ok(Redirect::to(&link(&name)).into_response()),
        Err(DefinitionError::Store(error)) => Err(state.unreadable()(error)),
        Err(error) => {
            let wrong = error.field().map(|field| (field, error.to_string())).into_iter().collect();
            let problem = error.field().is_none().then(|| error.to_string());
            Ok(refused(form(state, known, &wanted, &wrong, problem)?, status_of(&error)))
        }
    }
}

/// The budget of our own that is in force; those of the file can not be changed here.
async fn own(state: &DashboardState, name: &str) -> Result<Budget, PageError> {
    let name = budget::named(state, name)?;
    let found = standing::find(&state.store, &name, state.clock.now()).await.map_err(state.unreadable())?;
    match found.map(|standing| standing.budget) {
        Some(budget) if budget.origin == Origin::Own => Ok(budget),
        Some(_) => Err(PageError::NotFound(
            Box::new(state.clone()),
            "This budget stands in tallyd.toml and is read-only here: change it there, then run tallyd reload.",
        )),
        None => Err(budget::absent(state)),
    }
}

/// A budget of our own, in force or behind one of the file.
async fn removable(state: &DashboardState, name: &str) -> Result<BudgetName, PageError> {
    let name = budget::named(state, name)?;
    let all = state.definitions.list().await.map_err(state.unreadable())?;
    if all.iter().any(|listed| listed.budget.name == name && listed.budget.origin == Origin::Own) {
        return Ok(name);
    }
    own(state, name.as_str()).await.map(|budget| budget.name)
}

fn link(name: &BudgetName) -> String {
    format!("/budgets/{}", segment(name.as_str()))
}

fn form(
    state: &DashboardState,
    known: Option<&BudgetName>,
    wanted: &Wanted,
    wrong: &BTreeMap<&'static str, String>,
    problem: Option<String>,
) -> Result<Response, PageError> {
    let told = |name: &str| wrong.get(name).cloned();
    let field =
        |name, label, value: &str, example| Field { name, label, value: value.to_owned(), example, wrong: told(name) };
    let choice = |name, label, options: Vec<&'static str>, chosen: &str| Choice {
        name,
        label,
        options: options.into_iter().map(|option| (option, option == chosen)).collect(),
        wrong: told(name),
    };
    html(&FormPage {
        frame: Frame::new(state, if known.is_some() { "Change a budget" } else { "New budget" }, Page::Budgets),
        title: known.map_or_else(|| "New budget".to_owned(), |name| format!("Change {name}")),
        action: known.map_or_else(|| "/budgets/-/new".to_owned(), |name| format!("{}/edit", link(name))),
        replay: format!("{}/replay", known.map_or_else(|| "/budgets/-".to_owned(), link)),
        back: known.map_or_else(|| "/budgets".to_owned(), link),
        name: known.is_none().then(|| field("name", "Name", &wanted.name, "growth-bot")),
        limit: field("limit_usd", "Limit, US$", &wanted.limit_usd, "500.00"),
        scope: vec![
            field("app", "App", &wanted.app, "growth-*"),
            field("key", "Key", &wanted.key, "any"),
            field("user", "User", &wanted.user, "any"),
            field("session", "Session", &wanted.session, "any"),
            field("model", "Model", &wanted.model, "anthropic/*"),
            field("provider", "Provider", &wanted.provider, "any"),
            field("tags", "Tags", &wanted.tags, "team=search, env=prod*"),
            field("each", "One limit for each", &wanted.each, "all together; or user, app, key, tag.team"),
        ],
        scope_wrong: told("scope"),
        window: choice("window", "Window", WindowKind::ALL.map(WindowKind::as_str).to_vec(), &wanted.window),
        time_zone: field("time_zone", "Time zone", &wanted.time_zone, "Europe/Berlin"),
        week_starts: choice(
            "week_starts",
            "Weeks begin on",
            WeekStart::ALL.map(WeekStart::as_str).to_vec(),
            &wanted.week_starts,
        ),
        billing_day: field("billing_day", "Months begin on day", &wanted.billing_day, "1"),
        rollover: !wanted.rollover.is_empty(),
        rollover_wrong: told("rollover"),
        alert_at: field("alert_at", "Alert at", &wanted.alert_at, "never; or 50%, 80%, 100%, $120.00, forecast 100%"),
        notify: field("notify", "Tell", &wanted.notify, "nobody; or you@example.com, webhook:team"),
        when_exceeded: choice("when_exceeded", "At the limit", vec!["alert", "block"], &wanted.when_exceeded),
        on_ledger_failure: choice(
            "on_ledger_failure",
            "If the ledger fails",
            vec!["", "forward", "refuse"],
            &wanted.on_ledger_failure,
        ),
        problem,
        submit: if known.is_some() { "Change it from now on" } else { "Make the budget" },
    })
}
