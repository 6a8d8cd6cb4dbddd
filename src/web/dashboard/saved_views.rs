//! Views of Explore under a name: saved, renamed, removed, each by a form.

use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use chrono_tz::Tz;
use serde::Deserialize;

use super::DashboardState;
use super::explore;
use super::respond::PageError;
use crate::domain::time::Timestamp;
use crate::report::explore::Question;
use crate::report::format;
use crate::store::views::{self, View};

/// Most views that are kept.
pub(super) const MAX_VIEWS: u32 = 100;

/// Longest name, in characters.
const MAX_NAME: usize = 80;

/// Longest query, in bytes.
const MAX_QUERY: usize = 4_000;

/// A view as the page lists it.
pub(super) struct ViewLine {
    pub(super) name: String,
    pub(super) link: String,
    /// What it asks.
    pub(super) asks: String,
    pub(super) saved: String,
    pub(super) saved_iso: String,
    /// Whether it is what the page shows.
    pub(super) current: bool,
}

/// What the forms send: `query` is what the page shows, and where it goes back to.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Given {
    #[serde(default)]
    name: String,
    #[serde(default)]
    to: String,
    #[serde(default)]
    query: String,
}

impl Given {
    /// The question of the page that sent it, as it is written.
    fn question(&self) -> Question {
        let query = if self.query.len() > MAX_QUERY { "" } else { self.query.as_str() };
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Question::read(&pairs).0
    }
}

/// The views as they are listed; `query` is that of the page.
pub(super) fn lines(views: &[View], query: &str, now: Timestamp, zone: Tz) -> Vec<ViewLine> {
    let line = |view: &View| ViewLine {
        name: view.name.clone(),
        link: if view.query.is_empty() {
            explore::PATH.to_owned()
        } else {
            format!("{}?{}", explore::PATH, view.query)
        },
        asks: explore::in_words(&view.query),
        saved: format::moment(view.saved_at, now, zone),
        saved_iso: view.saved_at.to_iso(),
        current: view.query == query,
    };
    views.iter().map(line).collect()
}

/// What is wrong with a name; `Ok` is the name as it is kept.
fn named(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() {
        return Err("A view needs a name.".to_owned());
    }
    if name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(format!("A view’s name has at most {MAX_NAME} characters, and no line breaks."));
    }
    Ok(name.to_owned())
}

/// Keeps what the page shows under a name.
pub(super) async fn save(State(state): State<DashboardState>, Form(given): Form<Given>) -> Result<Response, PageError> {
    let question = given.question();
    let refused = |problem: String| (problem, given.name.clone());
    let name = match named(&given.name) {
        Ok(name) => name,
        Err(problem) => return explore::show(&state, &question, Vec::new(), Some(refused(problem))).await,
    };
    let query = explore::query(&question);
    if query.len() > MAX_QUERY {
        let problem = "This question is too long to be kept; take a filter away.".to_owned();
        return explore::show(&state, &question, Vec::new(), Some(refused(problem))).await;
    }
    let view = View { name, query, saved_at: state.clock.now() };
    let mut tx = state.store.write().await.map_err(state.unreadable())?;
    if views::others(&mut tx, &view.name).await.map_err(state.unreadable())? >= i64::from(MAX_VIEWS) {
        tx.rollback().await.map_err(state.unreadable())?;
        let problem = format!("There are {MAX_VIEWS} views already; remove one first.");
        return explore::show(&state, &question, Vec::new(), Some(refused(problem))).await;
    }
    views::save(&mut tx, &view).await.map_err(state.unreadable())?;
    tx.commit().await.map_err(state.unreadable())?;
    Ok(Redirect::to(&explore::link(&question)).into_response())
}

/// Gives a view another name.
pub(super) async fn rename(
    State(state): State<DashboardState>,
    Form(given): Form<Given>,
) -> Result<Response, PageError> {
    let question = given.question();
    let name = match named(&given.to) {
        Ok(name) => name,
        Err(problem) => return explore::show(&state, &question, Vec::new(), Some((problem, String::new()))).await,
    };
    if name != given.name {
        let mut tx = state.store.write().await.map_err(state.unreadable())?;
        let renamed = views::rename(&mut tx, &given.name, &name).await.map_err(state.unreadable())?;
        tx.commit().await.map_err(state.unreadable())?;
        if !renamed {
            let problem = format!("“{name}” is the name of another view, or “{}” was removed meanwhile.", given.name);
            return explore::show(&state, &question, Vec::new(), Some((problem, String::new()))).await;
        }
    }
    Ok(Redirect::to(&explore::link(&question)).into_response())
}

/// Forgets a view.
pub(super) async fn remove(
    State(state): State<DashboardState>,
    Form(given): Form<Given>,
) -> Result<Response, PageError> {
    let mut tx = state.store.write().await.map_err(state.unreadable())?;
    views::remove(&mut tx, &given.name).await.map_err(state.unreadable())?;
    tx.commit().await.map_err(state.unreadable())?;
    Ok(Redirect::to(&explore::link(&given.question())).into_response())
}
