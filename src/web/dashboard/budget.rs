//! `/budgets/{name}`: one budget's course against its limit, its thresholds, and what it has told.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use chrono::{Datelike as _, Timelike as _};

use super::DashboardState;
use super::alerts::{AlertLine, line as alert_line};
use super::budgets::{badge, owner, resets, scope, share, soon};
use super::chart::burn as chart;
use super::completions::Badge;
use super::frame::{Frame, Page};
use super::query::link;
use super::respond::{PageError, html};
use crate::domain::budget::{BudgetName, Threshold, WhenExceeded};
use crate::domain::money::Total;
use crate::domain::time::{DAY_MS, Timestamp};
use crate::domain::window::{Window, WindowKind};
use crate::report::burn::{self, Course};
use crate::report::standing::{self, Standing};
use crate::report::{format, words};
use crate::store::alerts::{self, PastAlert};

/// Alerts that are listed.
const ALERTS: u32 = 30;

/// Most labels on the time axis.
const MAX_TICKS: usize = 12;

struct Figure {
    label: String,
    whole: String,
    cents: String,
    text: String,
}

struct ThresholdLine {
    threshold: String,
    amount: String,
    reached: Option<String>,
    spent: String,
    mail: String,
    mail_class: &'static str,
}

struct Small {
    name: String,
    spent: String,
    share: String,
    picture: String,
}

#[derive(Template)]
#[template(path = "budget.html")]
struct BudgetPage {
    frame: Frame,
    name: String,
    badge: Badge,
    about: String,
    figures: Vec<Figure>,
    chart: String,
    chart_about: String,
    has_pace: bool,
    even: bool,
    thresholds: Vec<ThresholdLine>,
    zone: &'static str,
    alerts: Vec<AlertLine>,
    past: Vec<Small>,
    completions: Option<String>,
}

/// The page.
pub(super) async fn page(State(state): State<DashboardState>, Path(name): Path<String>) -> Result<Response, PageError> {
    let absent = "There is no budget of this name in force. What it told stays under Alerts.";
    let Ok(name) = name.parse::<BudgetName>() else { return Err(PageError::NotFound(Box::new(state), absent)) };
    let (now, store) = (state.clock.now(), &state.store);
    let Some(standing) = standing::find(store, &name, now).await.map_err(state.unreadable())? else {
        return Err(PageError::NotFound(Box::new(state), absent));
    };
    let budget = &standing.budget;
    let (course, past, told) = tokio::try_join!(
        burn::current(store, budget, standing.spent.cost, now),
        burn::past(store, budget, now),
        alerts::history(store, Some(&name), None, ALERTS),
    )
    .map_err(state.unreadable())?;
    let even = even(&standing);
    html(&BudgetPage {
        frame: Frame::new(&state, name.as_str(), Page::Budgets),
        badge: badge(&standing),
        about: format!(
            "{} · {} · {}",
            scope(&standing),
            words::window_title(budget.window, &standing.window, budget.zone),
            owner(budget.origin)
        ),
        figures: figures(&standing, now),
        chart: draw(&standing, &course, &told, now),
        chart_about: format!(
            "US$ since {} {}",
            format::date_time(course.drawn.0, now, budget.zone),
            budget.zone.name()
        ),
        has_pace: shown_pace(&standing).is_some(),
        even,
        thresholds: thresholds(&standing, &told, now),
        zone: budget.zone.name(),
        past: past_windows(&standing, &course, &past),
        alerts: told.iter().map(|alert| alert_line(alert, now, budget.zone)).collect(),
        completions: completions(&standing),
        name: name.to_string(),
    })
}

/// An even pace is a thing to compare with where the window has an end to come.
fn even(standing: &Standing) -> bool {
    standing.window.end.is_some() && !standing.budget.window.is_rolling()
}

fn shown_pace(standing: &Standing) -> Option<Total> {
    standing.pace.map(|pace| pace.projected).filter(|_| !standing.blocking)
}

fn figures(standing: &Standing, now: Timestamp) -> Vec<Figure> {
    let budget = &standing.budget;
    let noun = words::window_noun(budget.window, &standing.window, budget.zone);
    let limit = format::usd(budget.limit);
    let gone = standing.window.elapsed_share(now).filter(|_| even(standing));
    let gone = gone.map(|gone| format!(" with {} of {noun} gone", format::share(gone))).unwrap_or_default();
    let figure =
        |label: &str, (whole, cents): (String, String), text| Figure { label: label.to_owned(), whole, cents, text };
    let unknown = match standing.spent.unknown {
        0 => String::new(),
        count => format!("; {} unknown and not in it", words::counted(count, "cost is", "costs are")),
    };
    let left = standing.left();
    let over = standing.spent.cost - Total::from(budget.limit);
    let left_text = if over > Total::ZERO {
        format!("{} over the limit; {}", format::usd(over), resets(standing, now))
    } else {
        format!("of {limit}; {}", resets(standing, now))
    };
    let inline = format!("{} of it not yet settled{unknown}", format::usd(standing.spent.inline));
    let mut figures = vec![
        figure(
            "Spent",
            format::usd_parts(standing.spent.cost),
            format!("{} of {limit}{gone}. {inline}.", share(standing)),
        ),
        figure("Left", format::usd_parts(left), format!("{left_text}.")),
    ];
    let word = |text: &str| (text.to_owned(), String::new());
    let limit_word = words::threshold(Threshold::LIMIT);
    let reaches = standing.pace.and_then(|pace| pace.reaches_limit_at);
    figures.push(match (reaches, over >= Total::ZERO) {
        (_, true) if standing.blocking => {
            figure("Calls are", word("refused"), format!("with status 402; {}.", resets(standing, now)))
        }
        (_, true) => figure(
            &format!("Reached {limit_word}"),
            word("yes"),
            "Calls go on: this budget alerts and does not block.".to_owned(),
        ),
        (Some(at), _) => {
            let near = at.millis() - now.millis() < 2 * DAY_MS;
            let text =
                format!("about {} at the pace so far, if spend stays even.", format::date_time(at, now, budget.zone));
            let when = if near { soon(at, now, budget.zone) } else { format::date(at, now, budget.zone) };
            figure(&format!("Would reach {limit_word}"), word(&when), text)
        }
        (None, _) => figure(
            &format!("At this pace, {limit_word}"),
            word("not reached"),
            if even(standing) {
                format!("within {noun}, at the pace so far.")
            } else {
                "A window without an end to come has no pace.".to_owned()
            },
        ),
    });
    figures.push(match shown_pace(standing) {
        Some(projected) => figure(
            &format!("At this pace, {noun} ends at"),
            word(&format::usd_rough(projected)),
            format!("{} of the limit, if it goes on as it went so far.", share_of_limit(projected, standing)),
        ),
        None => figure(
            "Pace",
            word("none"),
            match budget.when_exceeded {
                WhenExceeded::Block if standing.blocking => "Held at the limit.".to_owned(),
                _ => "Too early to tell, or no end to head for.".to_owned(),
            },
        ),
    });
    figures
}

fn share_of_limit(amount: Total, standing: &Standing) -> String {
    amount.basis_points_of(standing.budget.limit).map_or_else(|| "more than".to_owned(), format::share)
}

fn draw(standing: &Standing, course: &Course, told: &[PastAlert], now: Timestamp) -> String {
    let budget = &standing.budget;
    let limit = Total::from(budget.limit);
    let mut thresholds: Vec<(Total, String)> = budget
        .alert_at
        .iter()
        .map(|threshold| (threshold.amount(budget.limit), words::threshold(*threshold)))
        .collect();
    if !thresholds.iter().any(|(amount, _)| *amount == limit) {
        thresholds.push((limit, words::threshold(Threshold::LIMIT)));
    }
    thresholds.sort();
    let crossings: Vec<(Timestamp, Total)> = told
        .iter()
        .filter(|past| past.alert.window_start == course.window.start && past.alert.limit == budget.limit)
        .map(|past| (past.alert.crossed_at, past.alert.spent))
        .collect();
    let limit_label = format!("limit {}", format::usd(budget.limit));
    let now_label = format!("now {}", format::usd(standing.spent.cost));
    let about = format!(
        "Spend of {} since {} against its limit of {}: {} now.",
        budget.name,
        format::date_time(course.drawn.0, now, budget.zone),
        format::usd(budget.limit),
        format::usd(standing.spent.cost)
    );
    chart::draw(&chart::Shown {
        drawn: course.drawn,
        points: &course.points,
        limit: (limit, &limit_label),
        thresholds: &thresholds,
        projected: shown_pace(standing),
        even: even(standing),
        crossings: &crossings,
        now: &now_label,
        ticks: &ticks(course, standing),
        about: &about,
    })
}

/// Labels of the time axis: hours of a day, days of a week, Mondays of a month, months of a year.
fn ticks(course: &Course, standing: &Standing) -> Vec<(Timestamp, String, bool)> {
    let (from, until) = course.drawn;
    let zone = standing.budget.zone;
    let span = until.millis() - from.millis();
    let kind = if span <= 2 * DAY_MS {
        WindowKind::Hour
    } else if span <= 100 * DAY_MS {
        WindowKind::Day
    } else {
        WindowKind::Month
    };
    let mut ticks = Vec::new();
    let mut window = kind.window_at(zone, from);
    while window.start < until {
        let local = window.start.to_utc().with_timezone(&zone);
        let label = match kind {
            WindowKind::Hour if span <= 2 * 3_600_000 => Some(local.format("%H:%M").to_string()),
            WindowKind::Hour => (local.hour() % 3 == 0).then(|| local.format("%H:%M").to_string()),
            WindowKind::Day if span <= 9 * DAY_MS => Some(local.format("%a %-d").to_string()),
            WindowKind::Day => {
                (local.weekday().num_days_from_monday() == 0).then(|| local.format("Mon %-d %b").to_string())
            }
            _ => Some(local.format("%b").to_string()),
        };
        if let Some(label) = label.filter(|_| window.start >= from) {
            ticks.push((window.start, label, ticks.len() % 2 == 1));
        }
        let Some(end) = window.end else { break };
        window = kind.window_at(zone, end);
    }
    let every = ticks.len().div_ceil(MAX_TICKS).max(1);
    ticks.into_iter().step_by(every).enumerate().map(|(place, (at, label, _))| (at, label, place % 2 == 1)).collect()
}

fn thresholds(standing: &Standing, told: &[PastAlert], now: Timestamp) -> Vec<ThresholdLine> {
    let budget = &standing.budget;
    let current = |past: &&PastAlert| {
        past.alert.limit == budget.limit
            && (budget.window.is_rolling() || past.alert.window_start == standing.window.start)
    };
    budget
        .alert_at
        .iter()
        .map(|threshold| {
            let past = told.iter().filter(current).find(|past| past.alert.threshold == *threshold);
            let line = past.map(|past| alert_line(past, now, budget.zone));
            ThresholdLine {
                threshold: words::threshold(*threshold),
                amount: match threshold {
                    Threshold::Percent(_) => format::usd(threshold.amount(budget.limit)),
                    Threshold::Amount(_) => String::new(),
                },
                reached: line.as_ref().map(|line| line.at.clone()),
                spent: line.as_ref().map(|line| line.spent.clone()).unwrap_or_default(),
                mail_class: line.as_ref().map_or("", |line| line.mail.class),
                mail: line.map_or_else(|| ahead(standing), |line| line.mail.word),
            }
        })
        .collect()
}

fn ahead(standing: &Standing) -> String {
    match standing.budget.notify.len() {
        0 => "notifies nobody".to_owned(),
        1 => "will mail 1 address".to_owned(),
        more => format!("will mail {more} addresses"),
    }
}

fn past_windows(standing: &Standing, course: &Course, past: &[Course]) -> Vec<Small> {
    if past.is_empty() {
        return Vec::new();
    }
    let budget = &standing.budget;
    let limit = Total::from(budget.limit);
    let all: Vec<&Course> = past.iter().chain([course]).collect();
    let top = all.iter().map(|course| course.spent).chain([limit]).max().unwrap_or(limit);
    all.iter()
        .map(|course| {
            let name = short_title(budget.window, &course.window, budget.zone);
            Small {
                spent: format::usd(course.spent),
                share: course.spent.basis_points_of(budget.limit).map(format::share).unwrap_or_default(),
                picture: chart::small(
                    course.drawn,
                    &course.points,
                    limit,
                    top,
                    &format!(
                        "{name}: {} against today’s limit of {}",
                        format::usd(course.spent),
                        format::usd(budget.limit)
                    ),
                ),
                name,
            }
        })
        .collect()
}

fn short_title(kind: WindowKind, window: &Window, zone: chrono_tz::Tz) -> String {
    let start = window.start.to_utc().with_timezone(&zone);
    match kind {
        WindowKind::Hour => start.format("%H:%M").to_string(),
        WindowKind::Day => start.format("%a %-d").to_string(),
        WindowKind::Week => start.format("%-d %b").to_string(),
        WindowKind::Month => start.format("%b").to_string(),
        _ => words::window_title(kind, window, zone),
    }
}

/// The window's completions, where the scope can be written as filters: names without wildcards.
fn completions(standing: &Standing) -> Option<String> {
    let scope = &standing.budget.scope;
    let since = standing.window.start.to_iso();
    let mut pairs = Vec::new();
    let fields = [
        ("app", &scope.app),
        ("key", &scope.key),
        ("user", &scope.user),
        ("session", &scope.session),
        ("model", &scope.model),
        ("provider", &scope.provider),
    ];
    for (name, glob) in fields {
        if let Some(glob) = glob {
            if glob.as_str().contains(['*', '?']) {
                return None;
            }
            pairs.push((name, glob.as_str()));
        }
    }
    if !scope.tags.is_empty() {
        return None;
    }
    if standing.budget.window != WindowKind::Total {
        pairs.push(("since", since.as_str()));
    }
    Some(link("/completions", pairs))
}
