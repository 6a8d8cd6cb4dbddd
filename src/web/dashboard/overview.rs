//! `/`: today and the month, budgets, spend over time, what drives it, what needs somebody. Before the first
//! completion, how to make one.

mod movers;

use std::fmt::Write as _;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use chrono_tz::Tz;
use serde::Deserialize;

use self::movers::MoverLine;
use super::DashboardState;
use super::budgets::{BudgetLine, lines};
use super::chart::{plot, spark, stack};
use super::completions::{Line, line};
use super::explore;
use super::frame::{Frame, Page};
use super::query::link;
use super::respond::{PageError, html};
use crate::domain::money::Total;
use crate::domain::time::{DAY_MS, Timestamp};
use crate::report::attention::{self, Check, Level, Seen, UNSETTLED_DAYS};
use crate::report::estimates::{self, Estimates};
use crate::report::explore::{By, Question, TOPS, Time};
use crate::report::format;
use crate::report::overview::{self, Overview, Running, TOP_NAMES};
use crate::report::range::Range;
use crate::report::scale::Unit;
use crate::report::series::{self, Series, Stack};
use crate::report::span::Step;
use crate::report::{self, outlook, reconciliation, standing, timeline, words};
use crate::store::calls::{self, CompletionFilter};
use crate::store::rollups::Sums;
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
    /// The same in Explore.
    explore: String,
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
    /// The chart's question in Explore.
    explore: String,
    models: Vec<NameRow>,
    total: NameRow,
    before_head: String,
    /// The link that opens or closes the stack, and its words.
    toggle: Option<(String, &'static str)>,
    names: Vec<Names>,
    movers: Vec<MoverLine>,
    /// The others together, and all.
    movers_rest: Vec<MoverLine>,
    movers_about: String,
    /// What needs somebody, and what does not.
    checks: Vec<Check>,
    calm: Vec<Check>,
    /// What caches did to the spend shown.
    caches: String,
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
    let range = asked.range.as_deref().and_then(|text| Range::parse(text, &Range::OF_PAGES)).unwrap_or_default();
    let open = asked.open.is_some();
    let seen = overview::read(store, range, open, now, zone).await.map_err(|error| state.no_overview(error))?;
    let (standings, backlog, outbox, unsettled, moved) = tokio::try_join!(
        standing::read(store, now),
        settlements::backlog(store, now),
        outbox::counts(store),
        calls::unsettled(store, now.plus_millis(-UNSETTLED_DAYS * DAY_MS)),
        report::movers::movers(store, now, zone),
    )
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
        unsettled,
        outbox,
        has_mail_server: state.has_mail_server,
        now,
    });
    let (calm, checks) = checks.into_iter().partition(|check| check.level == Level::Calm);
    let toggle = toggle(&seen.models, range, open);
    html(&OverviewPage {
        frame: Frame::new(&state, "Overview", Page::Overview),
        date: now.to_utc().with_timezone(&zone).format("%A %-d %B %Y").to_string(),
        presets: presets(range),
        figures: figures(&seen, &unknown, now, &state),
        budgets: lines(&standings, now),
        chart: chart(&seen, now, zone),
        chart_about: subtitle(&seen, range, now, zone),
        explore: in_explore(range, series::TOP, "model"),
        models: seen.models.series.iter().map(|series| row(series, &seen.models, "model", "models")).collect(),
        total: total_row(&seen.models),
        before_head: before_head(range).to_owned(),
        toggle,
        names: vec![
            Names {
                id: "apps",
                title: "Apps",
                head: "App",
                rows: names(&seen.apps, "app", "apps"),
                explore: in_explore(range, TOP_NAMES, "app"),
            },
            Names {
                id: "keys",
                title: "Keys",
                head: "Key",
                rows: names(&seen.keys, "key", "keys"),
                explore: in_explore(range, TOP_NAMES, "key"),
            },
        ],
        movers_about: format!(
            "24 hours to {}, against the same a week before",
            format::minute(moved.until.min(now), zone)
        ),
        movers: moved.movers.iter().map(|mover| self::movers::line(mover, &moved)).collect(),
        movers_rest: self::movers::rest(&moved),
        caches: caches(&seen.models.total),
        calm,
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
    let preset = |range: Range| Preset {
        link: link("/", [("range", range.as_str())]),
        name: range.name(),
        current: range == current,
    };
    Range::OF_PAGES.map(preset).into()
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
                "{}.{}{}",
                compared(&seen.today, &format!("last {weekday} by {}", format::minute(now, zone))),
                seen.today.outlook.map_or_else(
                    |_| String::new(),
                    |told| format!(" At this pace {} by midnight.", format::usd_rough(told.projected))
                ),
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
    let of_unknown = &unknown.month;
    figures.push(Figure {
        label: "Not yet settled".to_owned(),
        whole: open_whole,
        cents: open_cents,
        text: format!(
            "of {month_name} is the replies’ own figure, in {}.{}",
            words::counted(seen.month.sums.inline, "completion", "completions"),
            match seen.month.sums.unknown {
                0 => String::new(),
                unknown => format!(
                    " {} unknown{} and in no sum.",
                    words::counted(unknown, "cost is", "costs are"),
                    of_unknown.about(unknown)
                ),
            },
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

fn chart(seen: &Overview, now: Timestamp, zone: Tz) -> String {
    let models = &seen.models;
    let last = seen.stretch.steps.len().saturating_sub(1);
    let expected = match seen.stretch.step {
        Step::Day => seen.today.outlook.ok(),
        Step::Month => seen.month.outlook.ok(),
        _ => None,
    };
    let expected = expected.map(|told| told.projected.picos());
    let ticks = timeline::ticks(&seen.stretch.steps, zone);
    let bars: Vec<stack::Bar> = ticks
        .into_iter()
        .enumerate()
        .map(|(place, tick)| stack::Bar {
            step: plot::Step { title: title(seen, place, zone), tick, bounds: None },
            parts: models.series.iter().map(|series| (series.colour, series.steps[place].picos())).collect(),
            inline: models.steps[place].inline_cost.picos(),
            expected: expected.filter(|_| place == last),
        })
        .collect();
    let recorded = |sums: &Sums| sums.completions + sums.failures > 0;
    let gaps = if models.before.cost == Total::ZERO {
        models.steps.iter().take_while(|sums| !recorded(sums)).count()
    } else {
        0
    };
    let about = format!(
        "Stacked bars of spend by model, {}: {} in all. The table below holds the same figures.",
        timeline::ends(seen.stretch.step, &seen.stretch.steps, now, zone),
        format::usd(models.total.cost)
    );
    stack::draw(&bars, &stack::Shown { unit: Unit::Dollars, about: &about, gaps, before: &[], zooms: false })
}

fn title(seen: &Overview, place: usize, zone: Tz) -> String {
    let models = &seen.models;
    let name = timeline::name(seen.stretch.step, seen.stretch.steps[place].0, zone);
    let mut lines = vec![format!("{name}: {}", format::usd(models.steps[place].cost))];
    for series in models.series.iter().filter(|series| series.steps[place] != Total::ZERO) {
        lines.push(format!("{} {}", name_of(series, "model", "models"), format::usd(series.steps[place])));
    }
    lines.join("\n")
}

fn subtitle(seen: &Overview, range: Range, now: Timestamp, zone: Tz) -> String {
    let expected = match range {
        Range::Year => "last bar so far, dashed: expected by the end of the month",
        Range::Hour | Range::Day => "last bar so far",
        _ => "last bar so far, dashed: expected by midnight",
    };
    let each = timeline::each(seen.stretch.step);
    let ends = timeline::ends(seen.stretch.step, &seen.stretch.steps, now, zone);
    format!("US$ {each}, {ends}, {}; {expected}", zone.name())
}

/// The question of Explore that shows the same, by another name too, and with as many names or more.
fn in_explore(range: Range, names: usize, by: &str) -> String {
    let question = Question {
        time: Time::Range(range),
        by: By::parse(by).into_iter().collect(),
        top: TOPS.into_iter().find(|top| *top >= names).unwrap_or(TOPS[0]),
        ..Question::default()
    };
    explore::link(&question)
}

fn before_head(range: Range) -> &'static str {
    match range {
        Range::Hour => "hour before",
        Range::Day => "24 hours before",
        Range::Week => "7 days before by this hour",
        Range::ThirtyDays => "30 days before by this hour",
        Range::Month => "last month by this hour",
        Range::NinetyDays => "90 days before by this hour",
        Range::Year => "12 months before by now",
    }
}

fn toggle(stack: &Stack<Sums, Total>, range: Range, open: bool) -> Option<(String, &'static str)> {
    if open {
        return Some((link("/", [("range", range.as_str())]), "fewer models"));
    }
    stack.has_others.then(|| (link("/", [("range", range.as_str()), ("open", "1")]), "more models"))
}

fn name_of(series: &Series<Sums, Total>, one: &str, many: &str) -> String {
    match series.name() {
        _ if series.is_others() => format!("{} other {many}", series.names),
        Some(name) => name.to_owned(),
        None => format!("no {one} named"),
    }
}

fn row(series: &Series<Sums, Total>, stack: &Stack<Sums, Total>, one: &str, many: &str) -> NameRow {
    let sums = &series.whole;
    let course: Vec<i128> = series.steps.iter().map(|cost| cost.picos()).collect();
    NameRow {
        name: name_of(series, one, many),
        link: series.name().map(|name| link("/completions", [(one, name)])),
        colour: series.colour,
        spend: format::usd(sums.cost),
        share: format::share_of(sums.cost, stack.total.cost).unwrap_or_default(),
        spark: if course.len() > 1 { spark::row(&course) } else { String::new() },
        completions: format::count(sums.completions),
        tokens_in: format::short_count(sums.native_tokens_prompt),
        tokens_out: format::short_count(sums.native_tokens_completion),
        per_thousand: per_thousand(sums.cost, sums.completions - sums.unknown),
        before: format::usd(series.before.cost),
        change: format::change(series.before.cost, sums.cost),
    }
}

fn total_row(stack: &Stack<Sums, Total>) -> NameRow {
    let steps = stack.steps.iter().map(|sums| sums.cost).collect();
    let all = Series { keys: Vec::new(), names: 1, colour: 0, whole: stack.total, steps, before: stack.before };
    NameRow { name: "Total".to_owned(), ..row(&all, stack, "model", "models") }
}

fn names(stack: &Stack<Sums, Total>, one: &str, many: &str) -> Vec<NameRow> {
    stack.series.iter().map(|series| row(series, stack, one, many)).collect()
}

/// What prompt caches did, in dollars.
fn caches(total: &Sums) -> String {
    let tokens = |tokens: i64| Total::from_picos(tokens.into());
    let share = format::share_of(tokens(total.native_tokens_cached), tokens(total.native_tokens_prompt));
    let share = share.unwrap_or_else(|| format!("0.0{}%", format::NBSP));
    if total.cache_discount < Total::ZERO {
        let cost = format::usd(-total.cache_discount);
        return format!(
            "Writing prompt caches cost {cost} more than reading them saved; {share} of the prompt tokens came from one."
        );
    }
    format!(
        "Prompt caches saved {} of this; {share} of the prompt tokens came from one.",
        format::usd(total.cache_discount)
    )
}

/// The price of 1,000 completions; nothing where none has a known cost.
fn per_thousand(cost: Total, completions: i64) -> String {
    if completions <= 0 {
        return String::new();
    }
    format::usd(Total::from_picos(cost.picos() * 1_000 / i128::from(completions)))
}
