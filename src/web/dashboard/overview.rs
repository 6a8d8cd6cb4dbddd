//! `/`: today and the month, budgets, spend over time, what drives it, what needs somebody. Before the first
//! completion, how to make one.

use std::fmt::Write as _;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::DashboardState;
use super::budgets::{BudgetLine, lines};
use super::chart::{spark, stack};
use super::completions::{Line, line};
use super::frame::{Frame, Page};
use super::query::link;
use super::respond::{PageError, html};
use crate::domain::money::Total;
use crate::domain::time::Timestamp;
use crate::report::attention::{self, Check, Level, Seen};
use crate::report::estimates::{self, Estimates};
use crate::report::format;
use crate::report::overview::{self, Overview, Running};
use crate::report::range::{Range, Stretch};
use crate::report::series::{Series, Stack};
use crate::report::span::Step;
use crate::report::{outlook, reconciliation, standing, words};
use crate::store::calls::{self, CompletionFilter};
use crate::store::{outbox, settlements};

/// Rows of "latest completions".
const LATEST: u32 = 10;

/// What the URL says.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    range: Option<String>,
    open: Option<String>,
}

/// A figure: label, number, meaning, picture.
struct Figure {
    label: String,
    whole: String,
    cents: String,
    text: String,
    picture: String,
}

/// A preset of the range.
struct Preset {
    link: String,
    name: &'static str,
    current: bool,
}

/// A row under the chart, or in a table of names.
pub(super) struct NameRow {
    name: String,
    /// Its completions; `None` where rows name nothing here, or several names stand together.
    link: Option<String>,
    colour: usize,
    spend: String,
    share: String,
    spark: String,
    completions: String,
    tokens_in: String,
    tokens_out: String,
    per_thousand: String,
    before: String,
    change: String,
}

struct Names {
    id: &'static str,
    title: &'static str,
    head: &'static str,
    rows: Vec<NameRow>,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    frame: Frame,
    date: String,
    presets: Vec<Preset>,
    figures: Vec<Figure>,
    budgets: Vec<BudgetLine>,
    chart: String,
    chart_about: String,
    models: Vec<NameRow>,
    total: NameRow,
    before_head: String,
    /// The link that opens or closes the stack, and its words.
    toggle: Option<(String, &'static str)>,
    names: Vec<Names>,
    checks: Vec<Check>,
    calm: usize,
    latest: Vec<Line>,
    today_count: String,
}

#[derive(Template)]
#[template(path = "empty.html")]
struct EmptyPage {
    frame: Frame,
    url: String,
    address: String,
    /// Whether calls may come without a key.
    open: bool,
    has_key: bool,
    has_mail_server: bool,
    database: String,
    notes: Vec<String>,
}

/// The page.
pub(super) async fn page(
    State(state): State<DashboardState>,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let (now, zone, store) = (state.clock.now(), state.zone, &state.store);
    let latest = calls::page(store, &CompletionFilter::default(), None, LATEST).await.map_err(state.unreadable())?;
    if latest.is_empty() {
        return empty(&state);
    }
    let range = asked.range.as_deref().and_then(Range::parse).unwrap_or_default();
    let open = asked.open.is_some();
    let seen = overview::read(store, range, open, now, zone).await.map_err(|error| state.no_overview(error))?;
    let (standings, backlog, outbox) =
        tokio::try_join!(standing::read(store, now), settlements::backlog(store, now), outbox::counts(store))
            .map_err(state.unreadable())?;
    let today = seen.today.sums;
    let unknown = about_unknown(&state, &seen, now).await?;
    let reconciliation = reconciliation::read(store, state.management_key.as_deref(), now);
    let reconciliation = reconciliation.await.map_err(state.unreadable())?;
    let checks = attention::checks(&Seen {
        today,
        estimates: unknown.today,
        reconciliation: &reconciliation,
        has_management_key: state.management_key.is_some(),
        backlog,
        outbox,
        has_mail_server: state.has_mail_server,
        now,
    });
    let toggle = toggle(&seen.models, range, open);
    html(&OverviewPage {
        frame: Frame::new(&state, "Overview", Page::Overview),
        date: now.to_utc().with_timezone(&zone).format("%A %-d %B %Y").to_string(),
        presets: presets(range),
        figures: figures(&seen, &unknown, now, &state),
        budgets: lines(&standings, now),
        chart: stack::draw(&bars(&seen, range, &state), &about(&seen.models, &state)),
        chart_about: subtitle(&seen.models, range, &state),
        models: seen.models.series.iter().map(|series| row(series, &seen.models, "model", "models")).collect(),
        total: total_row(&seen.models),
        before_head: before_head(range).to_owned(),
        toggle,
        names: vec![
            Names { id: "apps", title: "Apps", head: "App", rows: names(&seen.apps, "app", "apps") },
            Names { id: "keys", title: "Keys", head: "Key", rows: names(&seen.keys, "key", "keys") },
        ],
        calm: checks.iter().filter(|check| check.level == Level::Calm).count(),
        checks,
        latest: latest.iter().map(|call| line(call, &state.catalogue.load(), now, zone)).collect(),
        today_count: format::count(today.completions),
    })
}

fn empty(state: &DashboardState) -> Result<Response, PageError> {
    html(&EmptyPage {
        frame: Frame::new(state, "First run", Page::Overview),
        url: state.url.clone(),
        address: state.address.to_string(),
        open: state.is_open(),
        has_key: state.keyring.named(crate::config::DEFAULT_KEY_NAME).is_some(),
        has_mail_server: state.has_mail_server,
        database: state.database.clone(),
        notes: state.warnings.to_vec(),
    })
}

fn presets(current: Range) -> Vec<Preset> {
    let name = |range| match range {
        Range::Day => "24 h",
        Range::Week => "7 d",
        Range::ThirtyDays => "30 d",
        Range::Month => "month",
        Range::Year => "12 m",
    };
    let preset = |range: Range| Preset {
        link: link("/", [("range", range.as_str())]),
        name: name(range),
        current: range == current,
    };
    Range::ALL.map(preset).into()
}

/// What the unknown costs of today and the month may be.
struct About {
    today: Estimates,
    month: Estimates,
}

async fn about_unknown(state: &DashboardState, seen: &Overview, now: Timestamp) -> Result<About, PageError> {
    if seen.today.sums.unknown + seen.month.sums.unknown == 0 {
        return Ok(About { today: Estimates::default(), month: Estimates::default() });
    }
    let since = seen.month.window.start.min(seen.today.window.start);
    let until = seen.month.window.end.unwrap_or(now).max(seen.today.window.end.unwrap_or(now));
    let calls = estimates::unknown(&state.store, since, until).await.map_err(state.unreadable())?;
    let catalogue = state.catalogue.load();
    let within = |running: &Running| {
        let (start, end) = (running.window.start, running.window.end);
        let inside = |at: Timestamp| at >= start && end.is_none_or(|end| at < end);
        Estimates::of(&catalogue, calls.iter().filter(|call| inside(call.created_at())))
    };
    Ok(About { today: within(&seen.today), month: within(&seen.month) })
}

fn figures(seen: &Overview, unknown: &About, now: Timestamp, state: &DashboardState) -> Vec<Figure> {
    let zone = state.zone;
    let month_name = words::window_noun(crate::domain::window::WindowKind::Month, &seen.month.window, zone);
    let parts = |amount: Total| format::usd_parts(amount);
    let (today_whole, today_cents) = parts(seen.today.sums.cost);
    let (month_whole, month_cents) = parts(seen.month.sums.cost);
    let weekday = seen.today.before_start.to_utc().with_timezone(&zone).format("%A").to_string();
    let month_before = seen.month.before_start.to_utc().with_timezone(&zone).format("%B").to_string();
    let (open_whole, open_cents) = parts(seen.month.sums.inline_cost);
    let growth =
        |running: &Running, about: &str| spark::growth(&running.steps, running.begun, &running.before_steps, about);
    let mut figures = vec![
        Figure {
            label: "Today".to_owned(),
            whole: today_whole,
            cents: today_cents,
            text: format!(
                "{}.{}",
                compared(&seen.today, &format!("last {weekday} by {}", format::minute(now, zone))),
                not_settled(&seen.today, &unknown.today)
            ),
            picture: growth(&seen.today, &format!("Spend today by the hour, over that of last {weekday}")),
        },
        Figure {
            label: month_name.clone(),
            whole: month_whole,
            cents: month_cents,
            text: format!(
                "{} ({}).",
                compared(&seen.month, &format!("{month_before} by this day and hour")),
                format::usd(seen.month.before_by_now)
            ),
            picture: growth(&seen.month, &format!("Spend in {month_name} by the day, over that of {month_before}")),
        },
    ];
    let to_come = i128::try_from(seen.month.steps.len().saturating_sub(seen.month.begun)).unwrap_or(0);
    figures.push(match seen.month.outlook {
        Ok(told) => Figure {
            label: format!("{month_name}, forecast"),
            whole: format::usd_rough(told.projected),
            cents: String::new(),
            text: format!("{} in four of five cases, {}.", outlook::band(&told), outlook::basis(&told)),
            picture: spark::bars(
                &seen.month.steps,
                seen.month.begun,
                (to_come > 0).then(|| {
                    Total::from_picos((told.projected - seen.month.sums.cost).picos().max(0) / to_come.max(1))
                }),
                &format!("Spend of each day of {month_name}, the expected days hollow"),
            ),
        },
        Err(reason) => Figure {
            label: format!("{month_name}, forecast"),
            whole: "none yet".to_owned(),
            cents: String::new(),
            text: outlook::why_not_sentence(reason).to_owned(),
            picture: String::new(),
        },
    });
    figures.push(Figure {
        label: "Not yet settled".to_owned(),
        whole: open_whole,
        cents: open_cents,
        text: format!(
            "of {month_name} is the replies’ own figure, in {}. {} unknown{} and in no sum.",
            words::counted(seen.month.sums.inline, "completion", "completions"),
            words::counted(seen.month.sums.unknown, "cost is", "costs are"),
            unknown.month.about(seen.month.sums.unknown),
        ),
        picture: String::new(),
    });
    figures
}

fn compared(running: &Running, with: &str) -> String {
    if running.before_by_now <= Total::ZERO {
        return format!("nothing to compare with: {with} had none").replacen('n', "N", 1);
    }
    format!("{} against {with}", format::change(running.before_by_now, running.sums.cost))
}

fn not_settled(running: &Running, about: &Estimates) -> String {
    let mut text = String::new();
    if running.sums.inline_cost > Total::ZERO {
        let _ = write!(text, " {} of it not yet settled.", format::usd(running.sums.inline_cost));
    }
    if running.sums.unknown > 0 {
        let unknown = running.sums.unknown;
        let _ = write!(text, " {} unknown{}.", words::counted(unknown, "cost is", "costs are"), about.about(unknown));
    }
    text
}

fn bars(seen: &Overview, range: Range, state: &DashboardState) -> Vec<stack::Bar> {
    let (models, zone) = (&seen.models, state.zone);
    let nothing_before = models.before == Total::ZERO;
    let mut still_gap = nothing_before;
    let last = models.stretch.steps.len().saturating_sub(1);
    let expected = match models.stretch.step {
        Step::Day => seen.today.outlook.ok(),
        Step::Month => seen.month.outlook.ok(),
        Step::Hour | Step::Week => None,
    };
    let expected = expected.map(|told| told.projected);
    (0..models.stretch.steps.len())
        .map(|place| {
            let at = models.stretch.steps[place].0;
            let sums = models.steps[place];
            still_gap &= sums.completions + sums.failures == 0;
            let parts: Vec<(usize, Total)> =
                models.series.iter().map(|series| (series.colour, series.costs[place])).collect();
            stack::Bar {
                title: title(models, place, at, state),
                parts,
                inline: sums.inline_cost,
                expected: expected.filter(|_| place == last),
                label: label(models.stretch.step, range, place, at, zone),
                gap: still_gap,
            }
        })
        .collect()
}

fn title(stack: &Stack, place: usize, at: Timestamp, state: &DashboardState) -> String {
    let name = step_name(stack.stretch.step, at, state.zone);
    let mut lines = vec![format!("{name}: {}", format::usd(stack.steps[place].cost))];
    for series in stack.series.iter().filter(|series| series.costs[place] != Total::ZERO) {
        lines.push(format!("{} {}", name_of(series, "model", "models"), format::usd(series.costs[place])));
    }
    lines.join("\n")
}

fn step_name(step: Step, at: Timestamp, zone: chrono_tz::Tz) -> String {
    let local = at.to_utc().with_timezone(&zone);
    match step {
        Step::Hour => local.format("%a %-d %b %H:%M"),
        Step::Day | Step::Week => local.format("%a %-d %b"),
        Step::Month => local.format("%B %Y"),
    }
    .to_string()
}

/// The label of the time axis at a step, and whether it goes on narrow screens; most steps have none.
fn label(step: Step, range: Range, place: usize, at: Timestamp, zone: chrono_tz::Tz) -> Option<(String, bool)> {
    use chrono::{Datelike as _, Timelike as _};
    let local = at.to_utc().with_timezone(&zone);
    match step {
        Step::Hour => (local.hour().is_multiple_of(3))
            .then(|| (local.format("%H:%M").to_string(), !local.hour().is_multiple_of(6))),
        Step::Day | Step::Week if range == Range::Week => Some((local.format("%a %-d").to_string(), place % 2 == 1)),
        Step::Day | Step::Week => {
            let monday = local.weekday().num_days_from_monday() == 0;
            monday.then(|| (local.format("Mon %-d %b").to_string(), (local.iso_week().week() % 2) == 1))
        }
        Step::Month => Some((local.format("%b").to_string(), place % 2 == 1)),
    }
}

fn about(stack: &Stack, state: &DashboardState) -> String {
    let (from, to) = ends(&stack.stretch, state);
    format!(
        "Stacked bars of spend by model, {from} to {to}: {} in all. The table below holds the same figures.",
        format::usd(stack.total.cost)
    )
}

fn subtitle(stack: &Stack, range: Range, state: &DashboardState) -> String {
    let step = match stack.stretch.step {
        Step::Hour => "an hour",
        Step::Day => "a day",
        Step::Week => "a week",
        Step::Month => "a month",
    };
    let (from, to) = ends(&stack.stretch, state);
    let expected = match range {
        Range::Day => "last bar so far",
        Range::Year => "last bar so far, dashed: expected by the end of the month",
        _ => "last bar so far, dashed: expected by midnight",
    };
    format!("US$ {step}, {from} – {to}, {}; {expected}", state.zone.name())
}

fn ends(stretch: &Stretch, state: &DashboardState) -> (String, String) {
    let name = |at: Timestamp| {
        let local = at.to_utc().with_timezone(&state.zone);
        match stretch.step {
            Step::Hour => local.format("%a %-d %b %H:%M").to_string(),
            Step::Month => local.format("%b %Y").to_string(),
            Step::Day | Step::Week => local.format("%-d %b").to_string(),
        }
    };
    let first = stretch.steps.first().map(|step| name(step.0)).unwrap_or_default();
    let last = stretch.steps.last().map(|step| name(step.0)).unwrap_or_default();
    (first, last)
}

fn before_head(range: Range) -> &'static str {
    match range {
        Range::Day => "24 hours before",
        Range::Week => "7 days before by this hour",
        Range::ThirtyDays => "30 days before by this hour",
        Range::Month => "last month by this hour",
        Range::Year => "12 months before by now",
    }
}

fn toggle(stack: &Stack, range: Range, open: bool) -> Option<(String, &'static str)> {
    if open {
        return Some((link("/", [("range", range.as_str())]), "fewer models"));
    }
    stack.has_others.then(|| (link("/", [("range", range.as_str()), ("open", "1")]), "more models"))
}

fn name_of(series: &Series, one: &str, many: &str) -> String {
    match &series.name {
        _ if series.is_others() => format!("{} other {many}", series.names),
        Some(name) => name.clone(),
        None => format!("no {one} named"),
    }
}

fn row(series: &Series, stack: &Stack, one: &str, many: &str) -> NameRow {
    let sums = &series.sums;
    NameRow {
        name: name_of(series, one, many),
        link: series.name.as_deref().map(|name| link("/completions", [(one, name)])),
        colour: series.colour,
        spend: format::usd(sums.cost),
        share: format::share_of(sums.cost, stack.total.cost).unwrap_or_default(),
        spark: if stack.stretch.steps.len() > 1 { spark::row(&series.costs) } else { String::new() },
        completions: format::count(sums.completions),
        tokens_in: format::short_count(sums.native_tokens_prompt),
        tokens_out: format::short_count(sums.native_tokens_completion),
        per_thousand: per_thousand(sums.cost, sums.completions - sums.unknown),
        before: format::usd(series.before),
        change: format::change(series.before, sums.cost),
    }
}

fn total_row(stack: &Stack) -> NameRow {
    let costs = stack.steps.iter().map(|sums| sums.cost).collect();
    let all = Series { name: None, names: 1, colour: 0, sums: stack.total, costs, before: stack.before };
    NameRow { name: "Total".to_owned(), ..row(&all, stack, "model", "models") }
}

fn names(stack: &Stack, one: &str, many: &str) -> Vec<NameRow> {
    stack.series.iter().map(|series| row(series, stack, one, many)).collect()
}

/// The price of 1,000 completions; nothing where none has a known cost.
fn per_thousand(cost: Total, completions: i64) -> String {
    if completions <= 0 {
        return String::new();
    }
    format::usd(Total::from_picos(cost.picos() * 1_000 / i128::from(completions)))
}
