//! `/budgets`: every budget on one scale.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use chrono_tz::Tz;

use super::DashboardState;
use super::chart::budget::{self, Shown};
use super::completions::Badge;
use super::frame::{Frame, Page};
use super::query::segment;
use super::respond::{PageError, html};
use crate::domain::alert::BudgetState;
use crate::domain::budget::{Origin, Threshold, WhenExceeded};
use crate::domain::money::Total;
use crate::domain::time::{DAY_MS, Timestamp};
use crate::domain::window::WindowKind;
use crate::report::standing::{self, Standing};
use crate::report::{format, words};

/// A budget's row.
#[derive(Clone, Debug)]
pub(super) struct BudgetLine {
    pub(super) name: String,
    pub(super) link: String,
    pub(super) badge: Badge,
    /// What it counts and how long: `app = support-bot · month, Europe/Berlin`.
    pub(super) scope: String,
    pub(super) bar: String,
    pub(super) spent: String,
    pub(super) limit: String,
    pub(super) share: String,
    /// Where it is heading, or why that is not told; `dim` in the second case.
    pub(super) forecast: String,
    pub(super) dim: bool,
    pub(super) then: String,
}

#[derive(Template)]
#[template(path = "budgets.html")]
struct BudgetsPage {
    frame: Frame,
    summary: String,
    budgets: Vec<BudgetLine>,
}

/// The page.
pub(super) async fn page(State(state): State<DashboardState>) -> Result<Response, PageError> {
    let now = state.clock.now();
    let standings = standing::read(&state.store, now).await.map_err(state.unreadable())?;
    html(&BudgetsPage {
        frame: Frame::new(&state, "Budgets", Page::Budgets),
        summary: summary(&standings),
        budgets: lines(&standings, now),
    })
}

fn summary(standings: &[Standing]) -> String {
    if standings.is_empty() {
        return "none yet".to_owned();
    }
    let count = |wanted: fn(&Standing) -> bool| standings.iter().filter(|standing| wanted(standing)).count();
    let counts = [
        (count(|standing| standing.state == BudgetState::Ok), "calm"),
        (count(|standing| standing.state == BudgetState::Alerting), "past a threshold"),
        (count(|standing| standing.state == BudgetState::Exceeded && !standing.blocking), "over the limit"),
        (count(|standing| standing.blocking), "blocking"),
    ];
    let counts: Vec<String> = counts.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
    let all = words::counted(i64::try_from(standings.len()).unwrap_or(i64::MAX), "budget", "budgets");
    format!("{all}: {}", counts.join(", "))
}

/// The budgets' rows.
pub(super) fn lines(standings: &[Standing], now: Timestamp) -> Vec<BudgetLine> {
    standings.iter().map(|standing| line(standing, now)).collect()
}

fn line(standing: &Standing, now: Timestamp) -> BudgetLine {
    let (forecast, dim, then) = heading(standing, now);
    BudgetLine {
        name: standing.budget.name.to_string(),
        link: format!("/budgets/{}", segment(standing.budget.name.as_str())),
        badge: badge(standing),
        scope: scope(standing),
        bar: bar(standing),
        spent: format::usd(standing.spent.cost),
        limit: format::usd(standing.budget.limit),
        share: share(standing),
        forecast,
        dim,
        then,
    }
}

/// What it counts and how long.
pub(super) fn scope(standing: &Standing) -> String {
    let budget = &standing.budget;
    let zone = match budget.window {
        WindowKind::Total => String::new(),
        kind if kind.is_rolling() => String::new(),
        _ => format!(", {}", budget.zone.name()),
    };
    let blocks = if budget.when_exceeded == WhenExceeded::Block { ", blocks" } else { "" };
    format!("{} · {}{zone}{blocks}", budget.scope, budget.window)
}

/// Its state as a mark and a word.
pub(super) fn badge(standing: &Standing) -> Badge {
    let (class, word) = match (standing.state, standing.reached) {
        (BudgetState::Exceeded, _) if standing.blocking => ("blocked", "blocking".to_owned()),
        (BudgetState::Exceeded, _) => ("crossed", "limit crossed".to_owned()),
        (BudgetState::Alerting, Some(threshold)) => {
            (if is_close(standing) { "warning" } else { "ok" }, format!("{} passed", words::threshold(threshold)))
        }
        (BudgetState::Paused, _) => ("calm", "paused".to_owned()),
        (BudgetState::Ok | BudgetState::Alerting, _) => ("calm", "calm".to_owned()),
    };
    Badge { class, word }
}

/// Half of a limit is no warning; from 80 % on there is something to watch.
fn is_close(standing: &Standing) -> bool {
    standing.share.is_none_or(|share| share >= 8_000)
}

/// Spend in percent of the limit.
pub(super) fn share(standing: &Standing) -> String {
    standing.share.map_or_else(|| "limit of nothing".to_owned(), format::share)
}

/// Its bar.
pub(super) fn bar(standing: &Standing) -> String {
    let budget = &standing.budget;
    let limit = Total::from(budget.limit);
    let thresholds: Vec<Total> = budget
        .alert_at
        .iter()
        .map(|threshold| threshold.amount(budget.limit))
        .filter(|amount| *amount < limit)
        .collect();
    let class = match standing.state {
        BudgetState::Exceeded => "is-crossed",
        BudgetState::Alerting if is_close(standing) => "is-warning",
        _ => "",
    };
    let about = format!(
        "{}: {} of {}, {}, {}",
        budget.name,
        format::usd(standing.spent.cost),
        format::usd(budget.limit),
        share(standing),
        badge(standing).word
    );
    budget::draw(&Shown {
        limit,
        spent: standing.spent.cost,
        inline: standing.spent.inline,
        projected: standing.pace.map(|pace| pace.projected).filter(|_| !standing.blocking),
        thresholds: &thresholds,
        unknown: standing.spent.unknown > 0,
        class,
        about: &about,
    })
}

/// Where it is heading, whether that is only a remark, and what comes then.
fn heading(standing: &Standing, now: Timestamp) -> (String, bool, String) {
    let then = resets(standing, now);
    if standing.blocking {
        return ("held at the limit".to_owned(), true, then);
    }
    let Some(pace) = standing.pace else {
        let why = match standing.budget.window {
            WindowKind::Total => "no end to head for",
            kind if kind.is_rolling() => "moves in 15-minute steps",
            _ => "too early to tell",
        };
        return (why.to_owned(), true, then);
    };
    let reaches = pace.reaches_limit_at.map(|at| {
        let zone = standing.budget.zone;
        let near = at.millis() - now.millis() < DAY_MS;
        let when =
            if near { format!("about {}", soon(at, now, zone)) } else { format!("on {}", format::date(at, now, zone)) };
        format!("{} {}", words::threshold(Threshold::LIMIT), when)
    });
    let then = match reaches {
        Some(reaches) if standing.budget.window == WindowKind::Hour => format!("{reaches} · {then}"),
        Some(reaches) => reaches,
        None => then,
    };
    (format::usd_rough(pace.projected), false, then)
}

/// An instant not far off: today's as its minute alone, another day's with its date.
pub(super) fn soon(at: Timestamp, now: Timestamp, zone: Tz) -> String {
    let date = |at: Timestamp| at.to_utc().with_timezone(&zone).date_naive();
    if date(at) == date(now) { format::minute(at, zone) } else { format::date_time(at, now, zone) }
}

/// When it begins anew: `resets Tue 1 Dec`, `resets 15:00`.
pub(super) fn resets(standing: &Standing, now: Timestamp) -> String {
    let budget = &standing.budget;
    match (budget.window, standing.window.end) {
        (WindowKind::Total, _) | (_, None) => "never resets".to_owned(),
        (kind, _) if kind.is_rolling() => words::window_title(kind, &standing.window, budget.zone),
        (_, Some(end)) if end.millis() - now.millis() <= DAY_MS => {
            format!("resets {}", format::date_time(end, now, budget.zone))
        }
        (_, Some(end)) => format!("resets {}", format::date(end, now, budget.zone)),
    }
}

/// Who owns it, in words.
pub(super) fn owner(origin: Origin) -> &'static str {
    match origin {
        Origin::File => "owned by tallyd.toml, read-only here",
        Origin::Own => "made on the dashboard",
    }
}
