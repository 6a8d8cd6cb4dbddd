//! `/budgets/{name}/snooze`: where the link of a mail leads. Whoever holds the mail may silence its budget until the time
//! that the link was signed for; the link opens nothing else, so it asks for no sign-in.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Form, Router, middleware};
use serde::Deserialize;

use super::assets::{URLS, Urls};
use super::query::segment;
use super::{DashboardState, respond};
use crate::domain::budget::BudgetName;
use crate::domain::time::Timestamp;
use crate::report::format;
use crate::store::{self, StoreError};
use crate::web::access;
use crate::web::guard::Guard;

/// What the link says.
#[derive(Debug, Deserialize)]
struct Asked {
    #[serde(default)]
    until: i64,
    #[serde(default)]
    key: String,
    /// Whether it was just done.
    #[serde(default)]
    done: Option<String>,
}

#[derive(Template)]
#[template(path = "snooze.html")]
struct SnoozePage {
    urls: &'static Urls,
    title: String,
    text: String,
    /// Where the form goes, and what it brings; `None`: there is nothing left to ask.
    form: Option<(String, i64, String)>,
    /// The page of the budget.
    budget: Option<String>,
}

/// The page of the link, and what its button does. Open to whoever holds a signed link and is taken for no stranger.
pub fn router(state: DashboardState, guard: &Arc<Guard>) -> Router {
    Router::new()
        .route("/budgets/{name}/snooze", get(ask).post(begin))
        .with_state(state)
        .layer(middleware::from_fn_with_state(Arc::clone(guard), access::refuse_strangers))
        .layer(middleware::map_response(respond::with_headers))
}

/// A link whose signature holds.
struct Link {
    budget: BudgetName,
    until: Timestamp,
    key: String,
}

fn link(state: &DashboardState, name: &str, asked: Asked) -> Option<Link> {
    let budget: BudgetName = name.parse().ok()?;
    let until = Timestamp(asked.until);
    state.signer.holds(&budget, until, &asked.key).then_some(Link { budget, until, key: asked.key })
}

async fn ask(State(state): State<DashboardState>, Path(name): Path<String>, Query(asked): Query<Asked>) -> Response {
    let done = asked.done.is_some();
    let Some(link) = link(&state, &name, asked) else { return wrong() };
    let now = state.clock.now();
    let until = until(&state, &link, now);
    let snoozed = match store::snoozes::find(&state.store, &link.budget, now).await {
        Ok(snoozed) => snoozed.is_some_and(|known| known >= link.until),
        Err(error) => return unwritten(&error),
    };
    let path = format!("/budgets/{}", segment(link.budget.as_str()));
    let page =
        |title: String, text: String, form| SnoozePage { urls: &URLS, title, text, form, budget: Some(path.clone()) };
    if link.until <= now {
        let title = format!("The link for {} has run out", link.budget);
        return show(StatusCode::GONE, &page(title, format!("It was good until {until}. Nothing was changed."), None));
    }
    if snoozed {
        let title = format!("{} is snoozed", link.budget);
        let end = if done { "It can be ended on the page of alerts." } else { "It was before; nothing was changed." };
        let text = format!("Nobody is told of its thresholds until {until}. They are kept in its history. {end}");
        return show(StatusCode::OK, &page(title, text, None));
    }
    let title = format!("Snooze {}?", link.budget);
    let text = format!(
        "Until {until} nobody is told when it reaches a threshold, neither you nor the others it tells. What it reaches is \
         kept in its history, and a budget that blocks goes on blocking."
    );
    let form = Some((format!("{path}/snooze"), link.until.millis(), link.key));
    show(StatusCode::OK, &page(title, text, form))
}

async fn begin(State(state): State<DashboardState>, Path(name): Path<String>, Form(asked): Form<Asked>) -> Response {
    let Some(link) = link(&state, &name, asked) else { return wrong() };
    let now = state.clock.now();
    if link.until > now {
        if let Err(error) = write(&state, &link, now).await {
            return unwritten(&error);
        }
        tracing::info!(budget = %link.budget, until = %link.until, "a budget is snoozed");
        state.post.wakes.pages.notify_waiters();
    }
    Redirect::to(&format!("{}&done=1", state.signer.path(&link.budget, link.until))).into_response()
}

async fn write(state: &DashboardState, link: &Link, now: Timestamp) -> Result<(), StoreError> {
    let mut tx = state.store.write().await?;
    store::snoozes::begin(&mut tx, &link.budget, now, link.until).await?;
    tx.commit().await
}

fn until(state: &DashboardState, link: &Link, now: Timestamp) -> String {
    format!("{} {}", format::date_time(link.until, now, state.zone), state.zone.name())
}

fn wrong() -> Response {
    let page = SnoozePage {
        urls: &URLS,
        title: "This link is not one of ours".to_owned(),
        text: "It is incomplete or was changed. Open it from the mail again; nothing was changed.".to_owned(),
        form: None,
        budget: None,
    };
    show(StatusCode::FORBIDDEN, &page)
}

fn unwritten(error: &StoreError) -> Response {
    tracing::error!(%error, "a snooze could not be read or written");
    let page = SnoozePage {
        urls: &URLS,
        title: "The database does not answer".to_owned(),
        text: "Nothing was changed; try the link again in a moment.".to_owned(),
        form: None,
        budget: None,
    };
    show(StatusCode::SERVICE_UNAVAILABLE, &page)
}

fn show(status: StatusCode, page: &SnoozePage) -> Response {
    match page.render() {
        Ok(text) => (status, [(header::CACHE_CONTROL, "no-store")], Html(text)).into_response(),
        Err(error) => {
            tracing::error!(%error, "the page of a snooze could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
