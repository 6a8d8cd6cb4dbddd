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
use crate::domain::budget::{Budget, Origin, Threshold, WhenExceeded};
use crate::domain::forecast::Outlook;
use crate::domain::money::Total;
use crate::domain::time::{DAY_MS, Timestamp};
use crate::domain::window::{BillingDay, WeekStart, WindowKind};
use crate::report::standing::{self, Standing};
use crate::report::{format, outlook, words};
use crate::store::budget_terms;

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
    /// `$376–402`; empty where there is none to tell.
    pub(super) band: String,
    pub(super) dim: bool,
    pub(super) then: String,
}

#[derive(Template)]
#[template(path = "budgets.html")]
struct BudgetsPage {
    frame: Frame,
    summary: String,
    budgets: Vec<BudgetLine>,
    /// Our own that stand behind one of the file: name and where each is removed.
    shadowed: Vec<(String, String)>,
}

/// The page.
pub(super) async fn page(State(state): State<DashboardState>) -> Result<Response, PageError> {
    let now = state.clock.now();
    let standings = standing::read(&state.store, now).await.map_err(state.unreadable())?;
    let own = budget_terms::read_own(&state.store).await.map_err(state.unreadable())?;
    let is_shadowed =
        |own: &Budget| standings.iter().any(|s| s.budget.name == own.name && s.budget.origin == Origin::File);
    let shadowed = own.iter().filter(|own| is_shadowed(own)).map(|own| {
        let name = own.name.to_string();
        let link = format!("/budgets/{}/remove", segment(&name));
        (name, link)
    });
    html(&BudgetsPage {
        frame: Frame::new(&state, "Budgets", Page::Budgets),
        summary: summary(&standings),
        budgets: lines(&standings, now),
        shadowed: shadowed.collect(),
    })
}

fn summary(standings: &[Standing]) -> String {
    if standings.is_empty() {
        return "none yet".to_owned();
    }
    let count = |wanted: fn(&Standing) -> bool| standings.iter().filter(|standing| wanted(standing)).count();
    let counts: [(usize, &str); 5] = [
        (count(|standing| standing.state == BudgetState::Ok), "calm"),
        (count(|standing| standing.state == BudgetState::Alerting), "past a threshold"),
        (count(|standing| standing.state == BudgetState::Exceeded && !standing.blocking), "over the limit"),
        (count(|standing| standing.blocking), "blocking"),
        (count(|standing| standing.state == BudgetState::Paused), "paused"),
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
    let band = shown_outlook(standing).map(|told| outlook::band(&told)).filter(|band| *band != forecast);
    BudgetLine {
        name: standing.budget.name.to_string(),
        link: format!("/budgets/{}", segment(standing.budget.name.as_str())),
        badge: badge(standing),
        scope: scope(standing),
        bar: bar(standing),
        spent: format::usd(standing.spent.cost),
        limit: format::usd(standing.limit),
        share: share(standing),
        forecast,
        band: band.unwrap_or_default(),
        dim,
        then,
    }
}

/// Its forecast, unless calls are refused: then nothing more is spent.
pub(super) fn shown_outlook(standing: &Standing) -> Option<Outlook> {
    standing.outlook.ok().filter(|_| !standing.blocking)
}

/// What it counts and how long.
pub(super) fn scope(standing: &Standing) -> String {
    let budget = &standing.budget;
    let zone = match budget.window {
        WindowKind::Total => String::new(),
        kind if kind.is_rolling() => String::new(),
        _ => format!(", {}", budget.zone.name()),
    };
    let cut = match budget.window {
        WindowKind::Week if budget.week_starts != WeekStart::default() => {
            format!(" from {}", budget.week_starts.as_str())
        }
        WindowKind::Month if budget.billing_day != BillingDay::default() => {
            format!(" from day {}", budget.billing_day.day())
        }
        _ => String::new(),
    };
    let rolls = if budget.rollover { ", rolls over" } else { "" };
    let blocks = if budget.when_exceeded == WhenExceeded::Block { ", blocks" } else { "" };
    let each = match (&budget.each, &standing.top) {
        (None, _) => String::new(),
        (Some(each), None) => format!(" · for each {each}"),
        (Some(each), Some(top)) => {
            format!(" · for each {each}, of {} the dearest: {top}", format::count(standing.values))
        }
    };
    format!("{} · {}{cut}{zone}{rolls}{blocks}{each}", budget.scope, budget.window)
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
    let limit = Total::from(standing.limit);
    let thresholds: Vec<Total> = budget
        .alert_at
        .iter()
        .filter(|threshold| !threshold.is_forecast())
        .map(|threshold| threshold.amount(standing.limit))
        .filter(|amount| *amount < limit)
        .collect();
    let class = match standing.state {
        BudgetState::Exceeded => "is-crossed",
        BudgetState::Alerting if is_close(standing) => "is-warning",
        _ => "",
    };
    let reserved = if standing.reserved > Total::ZERO {
        format!(", {} reserved", format::usd(standing.reserved))
    } else {
        String::new()
    };
    let about = format!(
        "{}: {} of {}, {}{reserved}, {}",
        budget.name,
        format::usd(standing.spent.cost),
        format::usd(standing.limit),
        share(standing),
        badge(standing).word
    );
    budget::draw(&Shown {
        limit,
        spent: standing.spent.cost,
        inline: standing.spent.inline,
        reserved: standing.reserved,
        outlook: shown_outlook(standing),
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
    let told = match standing.outlook {
        Ok(told) => told,
        Err(_) if standing.budget.window.is_rolling() => return ("moves in 15-minute steps".to_owned(), true, then),
        Err(reason) => return (outlook::why_not(reason).to_owned(), true, then),
    };
    let open = standing.spent.cost < Total::from(standing.budget.limit);
    let reaches = told.likely_at().filter(|_| open).map(|at| {
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
    (format::usd_rough(told.projected), false, then)
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
        Origin::Own => "made on the dashboard or in the shell",
    }
}
