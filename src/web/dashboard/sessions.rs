//! `/sessions`: agent runs and conversations, that with the latest call first.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};

use super::DashboardState;
use super::chips::{self, Chip};
use super::frame::{Frame, Page};
use super::query::{link, segment};
use super::respond::{PageError, html};
use crate::domain::ids;
use crate::domain::time::Timestamp;
use crate::report::filters::{FIELDS, Filters, OF_SESSIONS};
use crate::report::sessions::{self, Listed};
use crate::report::{format, words};
use crate::store::sessions::MAX_LOOKED;

/// The path of the page.
const PATH: &str = "/sessions";

/// Sessions of a page.
const SIZE: usize = 40;

struct Line {
    id: String,
    session: String,
    link: String,
    app: String,
    user: String,
    calls: String,
    failures: String,
    cost: String,
    unknown: String,
    models: String,
    /// All of them, where that is more than is shown.
    all_models: String,
    started: String,
    started_iso: String,
    lasted: String,
}

#[derive(Template)]
#[template(path = "sessions.html")]
struct SessionsPage {
    frame: Frame,
    chips: Vec<Chip>,
    hidden: Vec<(&'static str, String)>,
    fields: Vec<(&'static str, &'static str)>,
    problem: Option<String>,
    rows: Vec<Line>,
    shown: String,
    /// How far the page looked that is not full.
    looked: Option<String>,
    newest: Option<String>,
    older: Option<String>,
    clear: &'static str,
    tail: usize,
}

/// The page of a session.
pub(super) fn link_to(session: &str) -> String {
    format!("{PATH}/{}", segment(session))
}

fn listing(filters: &Filters, before: Option<&str>) -> String {
    let mut pairs = filters.pairs();
    if let Some(before) = before {
        pairs.push(("before", before.to_owned()));
    }
    link(PATH, pairs.iter().map(|(name, value)| (*name, value.as_str())))
}

/// The page.
pub(super) async fn page(
    State(state): State<DashboardState>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let filters = Filters::read(&pairs, &OF_SESSIONS);
    if chips::adds(&pairs) {
        return Ok(Redirect::to(&listing(&filters, None)).into_response());
    }
    let before = pairs.iter().find(|(name, _)| name == "before").and_then(|(_, value)| value.trim().parse().ok());
    let (now, zone) = (state.clock.now(), state.zone);
    let (found, problem) = match filters.of_rows(zone, now) {
        Ok(filter) => {
            let found = sessions::list(&state.store, &filter, before, SIZE).await.map_err(state.unreadable())?;
            (found, None)
        }
        Err(problem) => (sessions::Page::default(), Some(problem)),
    };
    let looked = found.next.filter(|_| found.sessions.len() < SIZE).map(|next| {
        let most = i64::try_from(MAX_LOOKED).unwrap_or(i64::MAX);
        let back_to = format::moment(next.created_at, now, zone);
        format!("{} were looked through, back to {back_to}.", words::counted(most, "call", "calls"))
    });
    let moment = |at: Timestamp| format::moment(at, now, zone);
    html(&SessionsPage {
        frame: Frame::new(&state, "Sessions", Page::Sessions),
        chips: chips::of(&filters, |filters| listing(filters, None)),
        hidden: filters.pairs(),
        fields: FIELDS.into_iter().filter(|(field, _)| OF_SESSIONS.contains(field)).collect(),
        problem,
        shown: words::counted(i64::try_from(found.sessions.len()).unwrap_or(i64::MAX), "session", "sessions"),
        rows: found.sessions.iter().map(|session| line(session, moment)).collect(),
        looked,
        newest: before.is_some().then(|| listing(&filters, None)),
        older: found.next.map(|next| listing(&filters, Some(&next.to_string()))),
        clear: PATH,
        tail: if before.is_none() && filters.value("until").is_none() { SIZE } else { 0 },
    })
}

fn line(session: &Listed, moment: impl Fn(Timestamp) -> String) -> Line {
    let more = if session.is_cut { " or more" } else { "" };
    Line {
        id: ids::short_hash(&session.session),
        link: link_to(&session.session),
        session: session.session.clone(),
        app: several(&session.apps),
        user: several(&session.users),
        calls: format!("{}{more}", format::count(session.completions + session.failures)),
        failures: if session.failures == 0 { String::new() } else { format::count(session.failures) },
        cost: format::usd(session.cost),
        unknown: if session.unknown == 0 {
            String::new()
        } else {
            words::counted(session.unknown, "cost unknown", "costs unknown")
        },
        models: several(&session.models),
        all_models: words::listed(&session.models),
        started: moment(session.first),
        started_iso: session.first.to_iso(),
        lasted: format::duration(session.last.millis() - session.first.millis()),
    }
}

/// The first of the names, and how many more there are.
fn several(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    }
}
