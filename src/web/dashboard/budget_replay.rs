//! `/budgets/{name}/replay`: what a budget would have done over the last days; with a form's fields behind it, what the budget
//! that they describe would have done. `-` stands for one that has no name yet.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::DashboardState;
use super::frame::{Frame, Page};
use super::query::{link, segment};
use super::respond::{PageError, html};
use crate::definitions::Wanted;
use crate::domain::alert::Crossing;
use crate::domain::budget::{Budget, Origin, WhenExceeded};
use crate::domain::replay::{Course, Replayed};
use crate::domain::time::{DAY_MS, Timestamp};
use crate::report::replay::{self, MAX_ROWS_AT_ONCE, ReplayError};
use crate::report::{format, standing, words};

/// What is offered, in days back.
const SPANS: [i64; 4] = [7, 30, 90, 365];

/// What is gone through unless something else is asked for, in days.
const DAYS: i64 = 30;

/// Windows and crossings listed: the last ones.
const LISTED: usize = 60;

/// How far back, and the fields of a form. All are texts, as a form sends them.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    days: String,
    #[serde(flatten)]
    wanted: Wanted,
}

struct Figure {
    label: &'static str,
    whole: String,
    cents: String,
    text: String,
}

struct Span {
    label: String,
    link: String,
    chosen: bool,
}

struct CrossingLine {
    at: String,
    threshold: String,
    spent: String,
    limit: String,
    window: String,
}

struct WindowLine {
    window: String,
    limit: String,
    calls: String,
    spent: String,
    alerts: String,
    refused: String,
    not_spent: String,
    first_refused: String,
}

#[derive(Template)]
#[template(path = "budget_replay.html")]
struct ReplayPage {
    frame: Frame,
    title: String,
    /// The budget's name, and its page if there is such a budget.
    name: String,
    of: Option<String>,
    about: String,
    spans: Vec<Span>,
    problem: Option<String>,
    figures: Vec<Figure>,
    told: String,
    crossings: Vec<CrossingLine>,
    shown: String,
    windows: Vec<WindowLine>,
    zone: &'static str,
}

/// The page.
pub(super) async fn page(
    State(state): State<DashboardState>,
    Path(path): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let now = state.clock.now();
    let days = asked.days.trim().parse().ok().filter(|days| (1..=SPANS[3]).contains(days)).unwrap_or(DAYS);
    let known = match path.parse() {
        Ok(name) => standing::find(&state.store, &name, now).await.map_err(state.unreadable())?,
        Err(_) => None,
    };
    let drafted = asked.wanted != Wanted::default();
    let wanted = Wanted { name: name_of(&path, &asked.wanted), ..asked.wanted };
    let budget = match (&known, drafted) {
        (Some(standing), false) => Ok(standing.budget.clone()),
        (None, false) => {
            return Err(PageError::NotFound(Box::new(state), "There is no budget of this name in force."));
        }
        (_, true) => described(&wanted, &state),
    };
    let link_of = |days: i64| {
        let text = days.to_string();
        let fields = wanted.pairs();
        let fields = fields.iter().filter(|_| drafted).map(|(name, value)| (*name, value.as_str()));
        link(&format!("/budgets/{}/replay", segment(&path)), fields.chain([("days", text.as_str())]))
    };
    let spans = SPANS.map(|span| Span { label: format!("{span} d"), link: link_of(span), chosen: span == days });
    let name = budget.as_ref().map_or_else(|_| wanted.name.clone(), |budget| budget.name.to_string());
    let mut page = ReplayPage {
        frame: Frame::new(&state, "Replay", Page::Budgets),
        title: if drafted { format!("Replay of {name}, as drafted") } else { format!("Replay of {name}") },
        of: known.is_some().then(|| format!("/budgets/{}", segment(&path))),
        name,
        about: String::new(),
        spans: spans.into(),
        problem: None,
        figures: Vec::new(),
        told: String::new(),
        crossings: Vec::new(),
        shown: String::new(),
        windows: Vec::new(),
        zone: state.zone.name(),
    };
    match budget {
        Err(problem) => page.problem = Some(problem),
        Ok(budget) => {
            page.about = about(&budget);
            page.zone = budget.zone.name();
            let since = now.plus_millis(-days * DAY_MS);
            match replay::run(&state.store, &state.replays, budget, since, now, MAX_ROWS_AT_ONCE).await {
                Ok(course) => page.fill(&course, now),
                Err(ReplayError::Store(error)) => return Err(state.unreadable()(error)),
                Err(error) => page.problem = Some(error.to_string()),
            }
        }
    }
    html(&page)
}

/// The name of what is replayed: that in the path, else the form's, else a plain word.
fn name_of(path: &str, wanted: &Wanted) -> String {
    let given = if path == "-" { wanted.name.trim() } else { path };
    if given.is_empty() { "draft".to_owned() } else { given.to_owned() }
}

fn described(wanted: &Wanted, state: &DashboardState) -> Result<Budget, String> {
    let spec = wanted.spec(state.zone).map_err(|wrong| {
        let told: Vec<String> = wrong.into_iter().map(|(field, problem)| format!("{field}: {problem}")).collect();
        told.join("; ")
    })?;
    spec.into_budget(Origin::Own, state.zone).map_err(|error| error.to_string())
}

fn about(budget: &Budget) -> String {
    let blocks = if budget.when_exceeded == WhenExceeded::Block { ", blocks" } else { "" };
    format!("{} · {} · {}{blocks}", budget.scope, format::usd(budget.limit), budget.window)
}

impl ReplayPage {
    fn fill(&mut self, course: &Course, now: Timestamp) {
        let (budget, whole) = (&course.budget, &course.whole);
        let zone = budget.zone;
        let count = |number: u64| format::count(i64::try_from(number).unwrap_or(i64::MAX));
        let number = |label, number, text| Figure { label, whole: count(number), cents: String::new(), text };
        let money = |label, amount, text| {
            let (whole, cents) = format::usd_parts(amount);
            Figure { label, whole, cents, text }
        };
        let since = format!("since {}", format::date_time(course.from, now, zone));
        let refused = match whole.first_refused {
            Some(at) => format!("the first on {}", format::date_time(at, now, zone)),
            None if budget.when_exceeded == WhenExceeded::Block => "it always had room".to_owned(),
            None => "it does not block".to_owned(),
        };
        let unknown = match whole.unknown {
            0 => String::new(),
            unknown => format!(
                "; {} unknown and not in it",
                words::counted(i64::try_from(unknown).unwrap_or(i64::MAX), "cost is", "costs are")
            ),
        };
        self.figures = vec![
            number("Alerts", whole.told, since),
            number("Calls refused", whole.refused, refused),
            money("Not spent", whole.not_spent, "what the refused calls had cost".to_owned()),
            money("Spent", whole.spent, format!("by {} calls{unknown}", count(whole.calls))),
        ];
        let last =
            |all: usize| if all > LISTED { format!("the last {LISTED} of {all}") } else { "newest first".to_owned() };
        self.told = last(course.crossings.len());
        self.crossings = course.crossings.iter().rev().take(LISTED).map(|one| crossing(one, budget, now)).collect();
        self.shown = last(course.windows.len());
        self.windows = course.windows.iter().rev().take(LISTED).map(|part| window(part, budget, now)).collect();
    }
}

fn crossing(crossing: &Crossing, budget: &Budget, now: Timestamp) -> CrossingLine {
    CrossingLine {
        at: format::date_time(crossing.crossed_at, now, budget.zone),
        threshold: match &*crossing.key.value {
            "" => words::threshold(crossing.key.threshold),
            value => format!("{} of {value}", words::threshold(crossing.key.threshold)),
        },
        spent: format::usd(crossing.spent),
        limit: format::usd(crossing.key.limit),
        window: words::window_title(budget.window, &crossing.window, budget.zone),
    }
}

fn window(part: &Replayed, budget: &Budget, now: Timestamp) -> WindowLine {
    let count = |number: u64| format::count(i64::try_from(number).unwrap_or(i64::MAX));
    WindowLine {
        window: if budget.window.is_rolling() {
            format!("{}, at every instant", words::window_title(budget.window, &part.window, budget.zone))
        } else {
            words::window_title(budget.window, &part.window, budget.zone)
        },
        limit: format::usd(part.limit),
        calls: count(part.calls),
        spent: format::usd(part.spent),
        alerts: count(part.told),
        refused: count(part.refused),
        not_spent: format::usd(part.not_spent),
        first_refused: part.first_refused.map_or_else(|| "–".to_owned(), |at| format::date_time(at, now, budget.zone)),
    }
}
