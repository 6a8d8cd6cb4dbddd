//! `/budgets/{name}`: one budget's course against its limit, its thresholds, and what it has told.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use chrono::{Datelike as _, Timelike as _};
use serde::Deserialize;

use super::DashboardState;
use super::alerts::{AlertLine, line as alert_line};
use super::budgets::{badge, owner, resets, scope, share, shown_outlook, soon};
use super::chart::burn as chart;
use super::completions::Badge;
use super::frame::{Frame, Page};
use super::query::{link, segment};
use super::respond::{PageError, html};
use crate::domain::alert::BudgetState;
use crate::domain::budget::{BudgetName, MAX_VALUES, OTHER, Origin, Threshold, WhenExceeded};
use crate::domain::forecast::Reach;
use crate::domain::money::{Money, Total};
use crate::domain::time::{DAY_MS, Timestamp};
use crate::domain::window::{Window, WindowKind};
use crate::report::burn::{self, Course};
use crate::report::standing::{self, Standing};
use crate::report::{format, outlook, words};
use crate::store::alerts::{self, PastAlert};
use crate::store::budgets::{self, AccountStatus};

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
    /// `expected Tue 24 Nov`, or why no time is told.
    expected: String,
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
    has_forecast: bool,
    even: bool,
    thresholds: Vec<ThresholdLine>,
    zone: &'static str,
    alerts: Vec<AlertLine>,
    past: Vec<Small>,
    completions: Option<String>,
    terms: TermsView,
    /// The values of a budget of each value; `None` for any other.
    values: Option<ValuesView>,
}

/// What the URL says: where the list of values goes on.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    values: Option<String>,
}

/// The values of a budget, dearest first.
struct ValuesView {
    /// The field: `user`.
    each: String,
    /// How many there are, and whether some share an account.
    about: String,
    lines: Vec<ValueLine>,
    /// The next page; `None`: this is the last.
    more: Option<String>,
}

struct ValueLine {
    value: String,
    badge: Badge,
    spent: String,
    share: String,
    reserved: String,
    unknown: String,
}

/// Values on one page.
const VALUES: u32 = 50;

/// A page of the values.
async fn values(state: &DashboardState, standing: &Standing, asked: &Asked) -> Result<Option<ValuesView>, PageError> {
    let Some(each) = &standing.budget.each else { return Ok(None) };
    let name = &standing.budget.name;
    let after = asked.values.as_deref().and_then(|text| text.split_once('_'));
    let after = after.and_then(|(picos, value)| Some((Total::from_picos(picos.parse().ok()?), value)));
    let accounts = budgets::accounts(&state.store, name, after, VALUES).await.map_err(state.unreadable())?;
    let more = accounts.last().filter(|_| accounts.len() == VALUES as usize).map(|last| {
        let place = format!("{}_{}", last.spent.cost.picos(), last.value);
        link(&format!("/budgets/{}", segment(name.as_str())), [("values", &*place)])
    });
    let shared = accounts.iter().any(|account| *account.value == *OTHER);
    let beyond = if shared { format!("; those beyond {MAX_VALUES} share {OTHER}") } else { String::new() };
    Ok(Some(ValuesView {
        each: each.to_string(),
        about: format!("{}, each with the whole limit{beyond}", words::counted(standing.values, "value", "values")),
        lines: accounts.iter().map(|account| value_line(standing, account)).collect(),
        more,
    }))
}

fn value_line(standing: &Standing, account: &AccountStatus) -> ValueLine {
    let amount = |amount: Total| if amount == Total::ZERO { String::new() } else { format::usd(amount) };
    let (class, word) = match account.state {
        BudgetState::Exceeded if standing.budget.when_exceeded == WhenExceeded::Block => ("blocked", "blocking"),
        BudgetState::Exceeded => ("crossed", "limit crossed"),
        BudgetState::Alerting => ("warning", "past a threshold"),
        BudgetState::Paused => ("calm", "paused"),
        BudgetState::Ok => ("calm", "calm"),
    };
    ValueLine {
        value: account.value.to_string(),
        badge: Badge { class, word: word.to_owned() },
        spent: format::usd(account.spent.cost),
        share: account.spent.cost.basis_points_of(standing.limit).map(format::share).unwrap_or_default(),
        reserved: amount(account.reserved),
        unknown: if account.spent.unknown == 0 { String::new() } else { format::count(account.spent.unknown) },
    }
}

/// What was written into the forms of this page, where something is wrong with it.
#[derive(Default)]
pub(super) struct Written {
    pub(super) limit_usd: String,
    pub(super) until: String,
    pub(super) reason: String,
    pub(super) amount_usd: String,
    pub(super) note: String,
    /// What is wrong, by field.
    pub(super) wrong: BTreeMap<&'static str, String>,
    /// What is wrong with no field of its own.
    pub(super) problem: Option<String>,
}

impl Written {
    fn wrong(&self, field: &str) -> Option<&String> {
        self.wrong.get(field)
    }
}

/// What holds beside the definition, and the forms that change it.
struct TermsView {
    /// The budget's own address.
    link: String,
    /// Whether its definition can be changed here.
    editable: bool,
    counting: bool,
    /// Since when it is paused.
    paused: Option<String>,
    /// What the override says; `None`: none holds.
    overridden: Option<String>,
    /// What the limit is made of; empty where it is the budget's own.
    made_of: Vec<(&'static str, String)>,
    /// What a top-up adds to: `November`, `the limit, for good`.
    adds_to: String,
    /// The ID of the top-up's form.
    form: String,
    written: Written,
}

/// The name of a budget that may be.
pub(super) fn named(state: &DashboardState, name: &str) -> Result<BudgetName, PageError> {
    name.parse().map_err(|_| absent(state))
}

/// There is no such budget.
pub(super) fn absent(state: &DashboardState) -> PageError {
    let what = "There is no budget of this name in force. What it told stays under Alerts.";
    PageError::NotFound(Box::new(state.clone()), what)
}

/// The page.
pub(super) async fn page(
    State(state): State<DashboardState>,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let name = named(&state, &name)?;
    draw_page(&state, &name, Written::default(), asked).await
}

/// The page, with what was written into its forms.
pub(super) async fn show(state: &DashboardState, name: &BudgetName, written: Written) -> Result<Response, PageError> {
    draw_page(state, name, written, Asked::default()).await
}

async fn draw_page(
    state: &DashboardState,
    name: &BudgetName,
    written: Written,
    asked: Asked,
) -> Result<Response, PageError> {
    let (now, store) = (state.clock.now(), &state.store);
    let Some(standing) = standing::find(store, name, now).await.map_err(state.unreadable())? else {
        return Err(absent(state));
    };
    let budget = &standing.budget;
    let (course, past, told) = tokio::try_join!(
        burn::current(store, budget, standing.top.as_deref(), standing.spent.cost, now),
        burn::past(store, budget, standing.top.as_deref(), now),
        alerts::history(store, Some(name), None, ALERTS),
    )
    .map_err(state.unreadable())?;
    let even = even(&standing);
    let values = values(state, &standing, &asked).await?;
    // What several accounts told stands in one list; the chart and the thresholds are one account's.
    let of_top = |past: &&PastAlert| *past.alert.value == *standing.top.as_deref().unwrap_or_default();
    let told_here: Vec<PastAlert> = told.iter().filter(of_top).cloned().collect();
    html(&BudgetPage {
        values,
        frame: Frame::new(state, name.as_str(), Page::Budgets),
        terms: terms(state, &standing, written, now),
        badge: badge(&standing),
        about: format!(
            "{} · {} · {}",
            scope(&standing),
            words::window_title(budget.window, &standing.window, budget.zone),
            owner(budget.origin)
        ),
        figures: figures(&standing, now),
        chart: draw(&standing, &course, &told_here, now),
        chart_about: format!(
            "US$ since {} {}",
            format::date_time(course.drawn.0, now, budget.zone),
            budget.zone.name()
        ),
        has_forecast: shown_outlook(&standing).is_some(),
        even,
        thresholds: thresholds(&standing, &told_here, now),
        zone: budget.zone.name(),
        past: past_windows(&standing, &course, &past),
        alerts: told.iter().map(|alert| alert_line(alert, now, budget.zone)).collect(),
        completions: completions(&standing),
        name: name.to_string(),
    })
}

fn terms(state: &DashboardState, standing: &Standing, written: Written, now: Timestamp) -> TermsView {
    let (budget, made_of) = (&standing.budget, &standing.made_of);
    let at = |at: Timestamp| format::date_time(at, now, budget.zone);
    let mut parts = vec![("own limit", format::usd(made_of.own))];
    if budget.rollover {
        parts.push(("rolled over", format::usd(made_of.rolled_over)));
    }
    if made_of.topped_up != Money::ZERO {
        parts.push(("topped up", format::usd(made_of.topped_up)));
    }
    let held = standing.terms.overridden.as_ref().filter(|_| made_of.overridden.is_some());
    TermsView {
        link: format!("/budgets/{}", segment(budget.name.as_str())),
        editable: budget.origin == Origin::Own,
        counting: standing.counting,
        paused: standing.terms.paused_at.map(at),
        overridden: held.map(|one| format!("{} until {}: {}", format::usd(one.limit), at(one.until), one.reason)),
        made_of: if parts.len() > 1 { parts } else { Vec::new() },
        adds_to: match budget.window {
            WindowKind::Total => "the limit, for good".to_owned(),
            kind if kind.is_rolling() => format!(
                "the limit for {}",
                words::window_noun(kind, &standing.window, budget.zone).trim_start_matches("the last ")
            ),
            kind => format!("the limit of {}", words::window_noun(kind, &standing.window, budget.zone)),
        },
        form: state.definitions.new_id(),
        written,
    }
}

/// An even pace is a thing to compare with where the window has an end to come.
fn even(standing: &Standing) -> bool {
    standing.window.end.is_some() && !standing.budget.window.is_rolling()
}

fn figures(standing: &Standing, now: Timestamp) -> Vec<Figure> {
    let budget = &standing.budget;
    let noun = words::window_noun(budget.window, &standing.window, budget.zone);
    let limit = format::usd(standing.limit);
    let gone = standing.window.elapsed_share(now).filter(|_| even(standing));
    let gone = gone.map(|gone| format!(" with {} of {noun} gone", format::share(gone))).unwrap_or_default();
    let figure =
        |label: &str, (whole, cents): (String, String), text| Figure { label: label.to_owned(), whole, cents, text };
    let unknown = match standing.spent.unknown {
        0 => String::new(),
        count => format!("; {} unknown and not in it", words::counted(count, "cost is", "costs are")),
    };
    let left = standing.left();
    let over = standing.spent.cost - Total::from(standing.limit);
    let left_text = if over > Total::ZERO {
        format!("{} over the limit; {}", format::usd(over), resets(standing, now))
    } else {
        format!("of {limit}; {}", resets(standing, now))
    };
    let reserved = match standing.reserved {
        Total::ZERO => String::new(),
        reserved => format!("; {} of it reserved for calls whose cost is not known yet", format::usd(reserved)),
    };
    let inline = format!("{} of it not yet settled{unknown}", format::usd(standing.spent.inline));
    let mut figures = vec![
        figure(
            "Spent",
            format::usd_parts(standing.spent.cost),
            format!("{} of {limit}{gone}. {inline}.", share(standing)),
        ),
        figure("Left", format::usd_parts(left), format!("{left_text}{reserved}.")),
    ];
    let word = |text: &str| (text.to_owned(), String::new());
    let limit_word = words::threshold(Threshold::LIMIT);
    let reach = standing.outlook.ok().and_then(|told| told.reaches_limit);
    figures.push(match (reach, over >= Total::ZERO) {
        (_, true) if standing.blocking => {
            figure("Calls are", word("refused"), format!("with status 402; {}.", resets(standing, now)))
        }
        (_, true) => figure(
            &format!("Reached {limit_word}"),
            word("yes"),
            "Calls go on: this budget alerts and does not block.".to_owned(),
        ),
        (Some(Reach { likely: Some(at), .. }), _) => {
            let near = at.millis() - now.millis() < 2 * DAY_MS;
            let text = reach.map(|reach| outlook::between(&reach, now, budget.zone)).unwrap_or_default();
            let when = if near { soon(at, now, budget.zone) } else { format::date(at, now, budget.zone) };
            figure(&format!("Reaches {limit_word}"), word(&when), format!("{text}."))
        }
        (Some(reach), _) => figure(
            &format!("Reaches {limit_word}"),
            word("perhaps"),
            format!("{}: less likely than not within {noun}.", outlook::between(&reach, now, budget.zone)),
        ),
        (None, _) => figure(
            &format!("Reaches {limit_word}"),
            word(if standing.outlook.is_ok() { "no" } else { "not known" }),
            match standing.outlook {
                Ok(_) => format!("Not within {noun}, nine times in ten."),
                Err(reason) => outlook::why_not_sentence(reason).to_owned(),
            },
        ),
    });
    figures.push(match (shown_outlook(standing), standing.outlook) {
        (Some(told), _) => figure(
            &format!("Forecast for {noun}"),
            word(&format::usd_rough(told.projected)),
            format!(
                "{} in four of five cases, {}; {} of the limit.",
                outlook::band(&told),
                outlook::basis(&told),
                share_of_limit(told.projected, standing)
            ),
        ),
        (None, Ok(_)) => figure("Forecast", word("none"), "Held at the limit.".to_owned()),
        (None, Err(reason)) => figure("Forecast", word("none"), outlook::why_not_sentence(reason).to_owned()),
    });
    figures
}

fn share_of_limit(amount: Total, standing: &Standing) -> String {
    amount.basis_points_of(standing.limit).map_or_else(|| "more than".to_owned(), format::share)
}

fn draw(standing: &Standing, course: &Course, told: &[PastAlert], now: Timestamp) -> String {
    let budget = &standing.budget;
    let limit = Total::from(standing.limit);
    let mut thresholds: Vec<(Total, String)> = budget
        .alert_at
        .iter()
        .filter(|threshold| !threshold.is_forecast())
        .map(|threshold| (threshold.amount(standing.limit), words::threshold(*threshold)))
        .collect();
    if !thresholds.iter().any(|(amount, _)| *amount == limit) {
        thresholds.push((limit, words::threshold(Threshold::LIMIT)));
    }
    thresholds.sort();
    let crossings: Vec<(Timestamp, Total)> = told
        .iter()
        .filter(|past| past.alert.window_start == course.window.start && past.alert.limit == standing.limit)
        .map(|past| (past.alert.crossed_at, past.alert.spent))
        .collect();
    let limit_label = format!("limit {}", format::usd(standing.limit));
    let now_label = format!("now {}", format::usd(standing.spent.cost));
    let about = format!(
        "Spend of {} since {} against its limit of {}: {} now.",
        budget.name,
        format::date_time(course.drawn.0, now, budget.zone),
        format::usd(standing.limit),
        format::usd(standing.spent.cost)
    );
    chart::draw(&chart::Shown {
        drawn: course.drawn,
        points: &course.points,
        limit: (limit, &limit_label),
        thresholds: &thresholds,
        outlook: shown_outlook(standing),
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
        past.alert.limit == standing.limit
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
                    Threshold::Percent(_) => format::usd(threshold.amount(standing.limit)),
                    Threshold::Amount(_) | Threshold::Forecast(_) => String::new(),
                },
                expected: expected(standing, *threshold, now),
                reached: line.as_ref().map(|line| line.at.clone()),
                spent: line.as_ref().map(|line| line.spent.clone()).unwrap_or_default(),
                mail_class: line.as_ref().map_or("", |line| line.mail.class),
                mail: line.map_or_else(|| ahead(standing, *threshold), |line| line.mail.word),
            }
        })
        .collect()
}

/// When the limit's own threshold is likely reached; of others, and where it is not, what is known of them.
fn expected(standing: &Standing, threshold: Threshold, now: Timestamp) -> String {
    let budget = &standing.budget;
    let is_limit = !threshold.is_forecast() && threshold.amount(budget.limit) == Total::from(budget.limit);
    let likely = shown_outlook(standing).and_then(|told| told.likely_at()).filter(|_| is_limit);
    match likely {
        Some(at) => format!("expected {}", format::date(at, now, budget.zone)),
        None if !threshold.is_forecast() => "not yet".to_owned(),
        None => match shown_outlook(standing) {
            Some(told) if told.projected >= threshold.amount(standing.limit) => "foreseen; told once it is sure",
            Some(_) => "not foreseen",
            None => "no forecast now",
        }
        .to_owned(),
    }
}

fn ahead(standing: &Standing, threshold: Threshold) -> String {
    if threshold.is_forecast() && standing.spent.cost >= threshold.amount(standing.limit) {
        return "spend is there already".to_owned();
    }
    match standing.budget.notify.len() {
        0 => "notifies nobody".to_owned(),
        1 => "will tell 1 recipient".to_owned(),
        more => format!("will tell {more} recipients"),
    }
}

fn past_windows(standing: &Standing, course: &Course, past: &[Course]) -> Vec<Small> {
    if past.is_empty() {
        return Vec::new();
    }
    let budget = &standing.budget;
    let limit = Total::from(standing.limit);
    let all: Vec<&Course> = past.iter().chain([course]).collect();
    let top = all.iter().map(|course| course.spent).chain([limit]).max().unwrap_or(limit);
    all.iter()
        .map(|course| {
            let name = short_title(budget.window, &course.window, budget.zone);
            Small {
                spent: format::usd(course.spent),
                share: course.spent.basis_points_of(standing.limit).map(format::share).unwrap_or_default(),
                picture: chart::small(
                    course.drawn,
                    &course.points,
                    limit,
                    top,
                    &format!(
                        "{name}: {} against today’s limit of {}",
                        format::usd(course.spent),
                        format::usd(standing.limit)
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
        WindowKind::Month => start.format(if start.day() == 1 { "%b" } else { "%-d %b" }).to_string(),
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
