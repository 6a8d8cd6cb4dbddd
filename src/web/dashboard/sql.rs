//! `/sql`: the ledger asked in SQL. The query, the values of its parameters and what its chart shows stand in the URL.
//!
//! A GET that runs a query is safe here, as the query can only read and is bounded. Yet a link on somebody else's page could make
//! a browser open it, and, again and again, keep the console busy: so a query that another site's page brought is shown and
//! runs at a click. What a person typed, kept as a bookmark or follows within these pages runs at once.

use std::collections::BTreeMap;

use askama::Template;
use axum::Form;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};

use super::DashboardState;
use super::chart::answer::{self, Point};
use super::frame::{Frame, Page, bytes};
use super::query::link;
use super::respond::{PageError, html};
use crate::domain::table::{Cell, Table};
use crate::domain::time::{DAY_MS, Timestamp};
use crate::report::manual::{self, View};
use crate::report::{format, output, words};
use crate::store::Engine;
use crate::store::console::{Answer, Console, Question, SqlError, Value};
use crate::store::saved_queries::{self, MAX_NAME, MAX_SAVED, SavedQuery};
use crate::web::api::sql::{PARAMETER, status};

/// The path of the page.
const PATH: &str = "/sql";

/// Rows that the page shows; CSV and JSON have all.
const SHOWN: usize = 500;

/// Bars of a chart, and points of a line.
const MAX_BARS: usize = 40;
const MAX_POINTS: usize = 5_000;

/// Columns that a chart can be made of, as links.
const MAX_CHOICES: usize = 8;

/// Longest query that the editor takes: a URL holds it, each character as up to three.
const MAX_IN_URL: usize = 8_000;

/// Instants of unix milliseconds are above this.
const FIRST_INSTANT_MS: i64 = 100_000_000_000;

/// How far back the examples look, in days.
const EXAMPLE_DAYS: i64 = 30;

/// What stands in the editor where nobody asked for anything.
const FIRST_QUERY: &str = "SELECT model, SUM(completions) AS completions, SUM(cost_usd) AS usd\nFROM spend_by_day\nGROUP BY model\nORDER BY usd DESC";

/// What the URL says.
#[derive(Debug, Default)]
struct Asked {
    query: String,
    parameters: BTreeMap<String, String>,
    /// The saved query that it is, or was.
    saved: Option<String>,
    /// The column of numbers that the chart shows.
    shows: Option<String>,
    /// Bars or a line.
    chart: Option<String>,
    /// A field of the form that belongs to saving alone stood in it.
    has_name: bool,
}

impl Asked {
    fn of(pairs: Vec<(String, String)>) -> Self {
        let mut asked = Self::default();
        for (name, value) in pairs {
            match name.as_str() {
                "q" => asked.query = value.replace("\r\n", "\n"),
                "saved" => asked.saved = Some(value),
                "y" => asked.shows = Some(value),
                "chart" => asked.chart = Some(value),
                "name" => asked.has_name = true,
                _ => {
                    if let Some(parameter) = name.strip_prefix(PARAMETER) {
                        asked.parameters.insert(parameter.to_owned(), value);
                    }
                }
            }
        }
        asked
    }

    fn to_link(&self, path: &str, more: &[(&str, &str)]) -> String {
        let parameters: Vec<(String, &str)> =
            self.parameters.iter().map(|(name, value)| (format!("{PARAMETER}{name}"), value.as_str())).collect();
        let named = parameters.iter().map(|(name, value)| (name.as_str(), *value));
        link(path, [("q", self.query.as_str())].into_iter().chain(named).chain(more.iter().copied()))
    }
}

struct Choice {
    name: String,
    link: String,
    current: bool,
}

/// A query that was saved, or an example.
struct Listed {
    name: String,
    link: String,
    query: String,
    when: String,
}

struct Field {
    name: String,
    value: String,
    missing: bool,
}

struct Column {
    name: String,
    is_number: bool,
}

struct Shown {
    summary: String,
    cut: Option<String>,
    columns: Vec<Column>,
    rows: Vec<Vec<Option<String>>>,
    more: Option<String>,
    csv: String,
    json: String,
    permalink: String,
    chart: Option<Chart>,
}

struct Bar {
    name: String,
    svg: String,
    value: String,
}

struct Chart {
    about: String,
    label: String,
    number: String,
    svg: Option<String>,
    bars: Vec<Bar>,
    numbers: Vec<Choice>,
    kinds: Vec<Choice>,
}

struct Problem {
    head: &'static str,
    text: String,
    bad: bool,
}

#[derive(Template)]
#[template(path = "sql.html")]
struct SqlPage {
    frame: Frame,
    summary: String,
    views: &'static [View],
    query: String,
    longest: usize,
    fields: Vec<Field>,
    saved_name: String,
    problem: Option<Problem>,
    /// Somebody else's page led here, so nothing was run.
    foreign: bool,
    shown: Option<Shown>,
    saved: Vec<Listed>,
    examples: Vec<Listed>,
}

/// The page, and what the query answers if it may run.
pub(super) async fn page(
    State(state): State<DashboardState>,
    headers: HeaderMap,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let mut asked = Asked::of(pairs);
    if asked.has_name {
        return Ok(Redirect::to(&asked.to_link(PATH, &[])).into_response());
    }
    if asked.query.is_empty()
        && let Some(name) = &asked.saved
    {
        let found = saved_queries::find(&state.store, name).await.map_err(state.unreadable())?;
        let Some(found) = found else {
            return Err(PageError::NotFound(Box::new(state.clone()), "There is no saved query of this name."));
        };
        asked.query = found.query;
        for (name, value) in found.parameters {
            asked.parameters.entry(name).or_insert(value);
        }
    }
    let foreign = is_foreign(&headers);
    let runs = !asked.query.trim().is_empty() && !foreign;
    let answered = if runs { Some(state.console.ask(&question(&asked)).await) } else { None };
    let (shown, problem) = match answered {
        None => (None, None),
        Some(Ok(answer)) => (Some(shown(&asked, &answer)), None),
        Some(Err(SqlError::Store(error))) => return Err(state.unreadable()(error)),
        Some(Err(error)) => (None, Some(error)),
    };
    let code = problem.as_ref().map_or(StatusCode::OK, status);
    let page = render(&state, asked, foreign, shown, problem.map(|error| told(&error))).await?;
    Ok((code, page).into_response())
}

/// Saves what stands in the editor, in place of what had that name.
pub(super) async fn save(
    State(state): State<DashboardState>,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let name = pairs.iter().find(|(field, _)| field == "name").map(|(_, name)| name.trim().to_owned());
    let name = name.unwrap_or_default();
    let asked = Asked { saved: Some(name.clone()), ..Asked::of(pairs) };
    let wrong = if name.is_empty() {
        Some("Give it a name.".to_owned())
    } else if name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        Some(format!("A name has at most {MAX_NAME} characters, on one line."))
    } else if asked.query.trim().is_empty() {
        Some("There is nothing in the editor.".to_owned())
    } else {
        let saved = SavedQuery {
            name: name.clone(),
            query: asked.query.clone(),
            parameters: asked.parameters.clone(),
            saved_at: state.clock.now(),
        };
        let mut tx = state.store.write().await.map_err(state.unreadable())?;
        let kept = saved_queries::save(&mut tx, &saved).await.map_err(state.unreadable())?;
        tx.commit().await.map_err(state.unreadable())?;
        (!kept).then(|| format!("There are {MAX_SAVED} saved queries, and there can be no more; remove one."))
    };
    match wrong {
        None => Ok(Redirect::to(&link(PATH, [("saved", name.as_str())])).into_response()),
        Some(text) => {
            let problem = Problem { head: "The query was not saved.", text, bad: true };
            Ok((StatusCode::BAD_REQUEST, render(&state, asked, false, None, Some(problem)).await?).into_response())
        }
    }
}

/// Forgets a saved query.
pub(super) async fn remove(
    State(state): State<DashboardState>,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let name = pairs.iter().find(|(field, _)| field == "name").map_or("", |(_, name)| name.as_str());
    let mut tx = state.store.write().await.map_err(state.unreadable())?;
    saved_queries::remove(&mut tx, name).await.map_err(state.unreadable())?;
    tx.commit().await.map_err(state.unreadable())?;
    Ok(Redirect::to(PATH).into_response())
}

/// Whether another site's page led here. Programs, and browsers that do not say, are nobody's page.
fn is_foreign(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
    site.is_some_and(|site| !matches!(site, "same-origin" | "none"))
}

fn question(asked: &Asked) -> Question {
    // A field that is left empty has no value.
    let parameters = asked.parameters.iter().filter(|(_, value)| !value.is_empty());
    Question {
        query: asked.query.clone(),
        parameters: parameters.map(|(name, value)| (name.clone(), Value::typed(value))).collect(),
    }
}

fn told(error: &SqlError) -> Problem {
    let (head, bad) = match error {
        SqlError::Unbound(_) => ("The query waits for its parameters.", false),
        SqlError::Busy => ("Too many queries.", false),
        SqlError::NotAvailable(_) => ("Queries are off.", true),
        SqlError::TimedOut(_) | SqlError::TooLarge(_) => ("The query was cut off.", true),
        SqlError::Refused(_) | SqlError::Store(_) => ("The query was not run.", true),
    };
    Problem { head, text: error.to_string(), bad }
}

async fn render(
    state: &DashboardState,
    asked: Asked,
    foreign: bool,
    shown: Option<Shown>,
    problem: Option<Problem>,
) -> Result<Response, PageError> {
    let now = state.clock.now();
    let saved = saved_queries::list(&state.store).await.map_err(state.unreadable())?;
    let limits = state.console.limits();
    let engine = match state.console.engine() {
        Engine::Sqlite => "SQLite",
        Engine::Postgres => "PostgreSQL",
    };
    let is_first = asked.query.trim().is_empty();
    let fields = Console::parameters(&asked.query).into_iter().map(|name| {
        let value = asked.parameters.get(&name).cloned().unwrap_or_default();
        Field { missing: value.is_empty(), name, value }
    });
    html(&SqlPage {
        frame: Frame::new(state, "SQL", Page::Sql),
        summary: format!(
            "read-only · {engine} · one statement, {} s, {} rows, {}",
            limits.time.as_secs_f64(),
            format::count(i64::try_from(limits.rows).unwrap_or(i64::MAX)),
            bytes(u64::try_from(limits.bytes).unwrap_or(u64::MAX)),
        ),
        views: &manual::manual().views,
        longest: MAX_IN_URL,
        fields: fields.collect(),
        saved_name: asked.saved.unwrap_or_default(),
        query: if is_first { FIRST_QUERY.to_owned() } else { asked.query },
        problem,
        foreign: foreign && !is_first,
        shown,
        saved: saved
            .into_iter()
            .map(|saved| Listed {
                link: link(PATH, [("saved", saved.name.as_str())]),
                when: format::date(saved.saved_at, now, state.zone),
                name: saved.name,
                query: saved.query,
            })
            .collect(),
        examples: examples(now),
    })
}

/// The document's questions; where it looks back to a day of its own, they look back some days from now.
fn examples(now: Timestamp) -> Vec<Listed> {
    let since = Timestamp(now.millis() - now.millis().rem_euclid(DAY_MS) - EXAMPLE_DAYS * DAY_MS);
    let (day, millis) = (since.to_iso()[..10].to_owned(), since.millis().to_string());
    let listed = manual::manual().questions.iter().map(|question| {
        let parameters = Console::parameters(question.query).into_iter().filter_map(|name| {
            let value = match name.as_str() {
                "since" => day.clone(),
                "since_ms" => millis.clone(),
                _ => return None,
            };
            Some((name, value))
        });
        let asked = Asked { query: question.query.to_owned(), parameters: parameters.collect(), ..Asked::default() };
        Listed {
            name: question.asked.clone(),
            link: asked.to_link(PATH, &[]),
            query: question.query.to_owned(),
            when: String::new(),
        }
    });
    listed.collect()
}

fn shown(asked: &Asked, answer: &Answer) -> Shown {
    let Answer { table, took } = answer;
    let rows = table.rows.len();
    let counted = words::counted(i64::try_from(rows).unwrap_or(i64::MAX), "row", "rows");
    let took = format::duration(i64::try_from(took.as_millis()).unwrap_or(i64::MAX));
    let complete = if table.cut.is_some() { "cut" } else { "complete" };
    let text = |cell: &Cell| (*cell != Cell::Null).then(|| output::plain(cell));
    let number = |at: usize| table.rows.iter().any(|row| row[at].is_number());
    let other = |at: usize| table.rows.iter().any(|row| matches!(row[at], Cell::Text(_) | Cell::Boolean(_)));
    let columns = table.columns.iter().enumerate();
    Shown {
        summary: format!("{counted} in {took}, {complete}"),
        cut: table.cut.clone(),
        columns: columns.map(|(at, name)| Column { name: name.clone(), is_number: number(at) && !other(at) }).collect(),
        rows: table.rows.iter().take(SHOWN).map(|row| row.iter().map(text).collect()).collect(),
        more: (rows > SHOWN).then(|| format!("The first {SHOWN} are shown here; CSV and JSON have all {rows}.")),
        csv: asked.to_link("/tally/v1/sql.csv", &[]),
        json: asked.to_link("/tally/v1/sql", &[]),
        permalink: asked.to_link(PATH, &[]),
        chart: chart(asked, table),
    }
}

/// What places a row on a chart.
enum Scale {
    /// By its order; the column.
    Names(usize),
    /// By time; the column and each row's instant.
    Times(usize, Vec<i64>),
}

/// The chart of an answer that has numbers beside names or times; `None` for any other.
fn chart(asked: &Asked, table: &Table) -> Option<Chart> {
    let rows = &table.rows;
    if rows.len() < 2 {
        return None;
    }
    let is_numeric = |at: &usize| {
        rows.iter().all(|row| row[*at].is_number() || row[*at] == Cell::Null)
            && rows.iter().any(|row| row[*at].is_number())
    };
    let columns = 0..table.columns.len();
    let times = columns.clone().find_map(|at| Some(Scale::Times(at, instants(table, at)?)));
    let names = columns.clone().find(|at| rows.iter().any(|row| matches!(row[*at], Cell::Text(_)))).map(Scale::Names);
    let wants_bars = asked.chart.as_deref() == Some("bars");
    let scale = if wants_bars { names.or(times)? } else { times.or(names)? };
    let placed = match scale {
        Scale::Names(at) | Scale::Times(at, _) => at,
    };
    let numbers: Vec<usize> = columns.filter(|at| *at != placed && is_numeric(at)).take(MAX_CHOICES).collect();
    let wanted = numbers.iter().find(|at| asked.shows.as_ref() == Some(&table.columns[**at]));
    // Money is asked for more often than counts.
    let money = numbers.iter().find(|at| table.columns[**at].contains("usd"));
    let shows = *wanted.or(money).or(numbers.first())?;
    let (label, number) = (table.columns[placed].clone(), table.columns[shows].clone());
    let kind = asked.chart.as_deref().filter(|kind| ["bars", "line"].contains(kind));
    let choose = |name: &str, y: &str, chart: Option<&str>| {
        let more: Vec<(&str, &str)> = [("y", y)].into_iter().chain(chart.map(|chart| ("chart", chart))).collect();
        (name.to_owned(), asked.to_link(PATH, &more))
    };
    let links: Vec<Choice> = numbers
        .iter()
        .map(|at| {
            let (name, link) = choose(&table.columns[*at], &table.columns[*at], kind);
            Choice { name, link, current: *at == shows }
        })
        .collect();
    let mut chart = Chart {
        about: format!("{number} by {label}"),
        label,
        number: number.clone(),
        svg: None,
        bars: Vec::new(),
        numbers: if links.len() > 1 { links } else { Vec::new() },
        kinds: Vec::new(),
    };
    match scale {
        Scale::Times(at, instants) if !wants_bars => {
            chart.svg = course(table, at, shows, &instants, &chart.about);
            if chart.svg.is_none() {
                chart.about = format!("{}: several rows share a time, so no line can be drawn", chart.about);
            }
        }
        Scale::Names(at) | Scale::Times(at, _) => {
            let value = |row: &Vec<Cell>| number_of(&row[shows]).unwrap_or(0.0);
            let some = || rows.iter().take(MAX_BARS);
            let (least, most) = some()
                .map(value)
                .fold((0.0, 0.0), |(least, most): (f64, f64), value| (least.min(value), most.max(value)));
            chart.bars = some()
                .map(|row| Bar {
                    name: if row[at] == Cell::Null { "NULL".to_owned() } else { output::plain(&row[at]) },
                    svg: answer::bar(value(row), least, most),
                    value: output::plain(&row[shows]),
                })
                .collect();
            if rows.len() > MAX_BARS {
                chart.about = format!("{}, the first {MAX_BARS} rows", chart.about);
            }
        }
    }
    if rows.iter().any(|row| matches!(row[placed], Cell::Text(_) | Cell::Integer(_)))
        && instants(table, placed).is_some()
    {
        let kinds = [("Line", "line"), ("Bars", "bars")].map(|(name, kind)| {
            let (name, link) = choose(name, &number, Some(kind));
            Choice { name, link, current: (kind == "bars") == wants_bars }
        });
        chart.kinds = kinds.into();
    }
    Some(chart)
}

/// The line of an answer; `None` where several rows stand at one time.
#[expect(clippy::cast_precision_loss, reason = "places on a picture")]
fn course(table: &Table, at: usize, shows: usize, instants: &[i64], about: &str) -> Option<String> {
    let mut rows: Vec<(i64, f64, &Cell)> = instants
        .iter()
        .zip(&table.rows)
        .filter_map(|(instant, row)| Some((*instant, number_of(&row[shows])?, &row[at])))
        .take(MAX_POINTS)
        .collect();
    rows.sort_by_key(|row| row.0);
    let (first, last) = (rows.first()?, rows.last()?);
    if rows.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return None;
    }
    let span = (last.0 - first.0).max(1) as f64;
    let name = |cell: &Cell, instant: i64| match cell {
        Cell::Text(text) => text.clone(),
        _ => Timestamp(instant).to_iso(),
    };
    let points: Vec<Point> = rows
        .iter()
        .map(|(instant, value, cell)| Point {
            along: (instant - first.0) as f64 / span,
            value: *value,
            title: format!("{}: {value}", name(cell, *instant)),
        })
        .collect();
    Some(answer::line(&points, (&name(first.2, first.0), &name(last.2, last.0)), about))
}

/// The instant of each row, where every one has one in this column: a day or an instant as text, or unix milliseconds.
fn instants(table: &Table, at: usize) -> Option<Vec<i64>> {
    let is_ms = table.columns[at].ends_with("_ms");
    let instant = |row: &Vec<Cell>| match &row[at] {
        Cell::Text(text) => {
            let text = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.clone() };
            Timestamp::parse(&text).map(Timestamp::millis)
        }
        Cell::Integer(number) if is_ms && *number > FIRST_INSTANT_MS => Some(*number),
        _ => None,
    };
    table.rows.iter().map(instant).collect()
}

/// A number as a chart needs it.
#[expect(clippy::cast_precision_loss, reason = "places on a picture")]
fn number_of(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::Integer(number) => Some(*number as f64),
        Cell::Real(number) => Some(*number),
        Cell::Decimal(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}
