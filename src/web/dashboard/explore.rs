//! `/explore`: one measure by up to two names over any time, as a chart and as the table that is its legend. The question is
//! the URL, and a form; script adds the read-out and looking closer with the pointer, nothing else.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use chrono_tz::Tz;

use super::DashboardState;
use super::chart::{lines, plot, spark, stack};
use super::chips::{self, Chip};
use super::completions;
use super::frame::{Frame, Page};
use super::query::link as link_to;
use super::respond::{PageError, html};
use super::saved_views::{self, ViewLine};
use crate::domain::time::{BUCKET_MS, Timestamp};
use crate::report::explore::{
    self, Answer, By, Column, ExploreError, Group, Kind, Measure, Period, Problem, Question, Shape, TOPS, Time, columns,
};
use crate::report::filters::{FIELDS, Filters, OF_SUMS};
use crate::report::range::{Range, Shift};
use crate::report::span::{MAX_STEPS, Step};
use crate::report::{format, timeline, words};
use crate::store::{self, StoreError};

/// The path of the page.
pub(super) const PATH: &str = "/explore";

/// In a chart of more steps the read-out names only so many groups a step.
const LONG_CHART: usize = 200;
const NAMES_IN_LONG: usize = 3;

/// Zones that are offered to be typed; every other is understood too.
const ZONES: [&str; 24] = [
    "UTC",
    "Africa/Cairo",
    "Africa/Johannesburg",
    "Africa/Lagos",
    "America/Chicago",
    "America/Denver",
    "America/Los_Angeles",
    "America/Mexico_City",
    "America/New_York",
    "America/Sao_Paulo",
    "Asia/Dubai",
    "Asia/Hong_Kong",
    "Asia/Jakarta",
    "Asia/Kolkata",
    "Asia/Seoul",
    "Asia/Shanghai",
    "Asia/Singapore",
    "Asia/Tokyo",
    "Australia/Sydney",
    "Europe/Berlin",
    "Europe/Istanbul",
    "Europe/London",
    "Europe/Paris",
    "Pacific/Auckland",
];

/// A link that may be the current choice.
struct Choice {
    link: String,
    name: String,
    current: bool,
}

/// An entry of a list in the form.
struct Pick {
    key: String,
    name: String,
    chosen: bool,
}

/// A head of the table.
struct Head {
    name: String,
    /// Sorts by it; `None`: the table cannot be.
    link: Option<String>,
    /// `ascending` or `descending`, where the table is sorted by it.
    sorted: Option<&'static str>,
    class: &'static str,
}

/// A cell of the table.
struct Cell {
    text: String,
    /// Markup of ours.
    picture: String,
    link: Option<String>,
    class: &'static str,
    label: String,
}

/// A row of the table.
struct Line {
    name: String,
    /// Narrows down to it, or opens the others.
    link: Option<String>,
    /// What the link does, for who does not see where the name stands.
    does: &'static str,
    swatch: String,
    cells: Vec<Cell>,
}

/// What was found.
struct Found {
    title: String,
    about: String,
    whole: String,
    rest: String,
    text: String,
    chart: String,
    heads: Vec<Head>,
    rows: Vec<Line>,
    /// `None` where there is one row, which is all.
    total: Option<Line>,
    /// How many groups are shown.
    tops: Vec<Choice>,
    shapes: Vec<Choice>,
    compare: Choice,
    csv: String,
    csv_of_steps: String,
    json: String,
}

#[derive(Template)]
#[template(path = "explore.html")]
struct ExplorePage {
    frame: Frame,
    ranges: Vec<Choice>,
    measures: Vec<Pick>,
    first: Vec<Pick>,
    second: Vec<Pick>,
    steps: Vec<Pick>,
    since: String,
    until: String,
    zone: String,
    zones: [&'static str; ZONES.len()],
    /// Pairs that the controls carry along.
    kept: Vec<(&'static str, String)>,
    /// Pairs that the filters' form carries along.
    hidden: Vec<(&'static str, String)>,
    chips: Vec<Chip>,
    fields: Vec<(&'static str, &'static str)>,
    problems: Vec<Problem>,
    found: Option<Found>,
    /// Nothing was found: where there is something.
    elsewhere: Option<String>,
    earlier: Option<String>,
    later: Option<String>,
    wider: Option<String>,
    span: String,
    views: Vec<ViewLine>,
    /// What is wrong with a view that was to be saved.
    view_problem: Option<String>,
    view_name: String,
    query: String,
    usual: String,
}

/// The page of a question.
pub(super) fn link(question: &Question) -> String {
    linked(PATH, question)
}

fn linked(path: &str, question: &Question) -> String {
    link_to(path, question.pairs().iter().map(|(name, value)| (*name, value.as_str())))
}

/// The query of a question's URL, without the question mark.
pub(super) fn query(question: &Question) -> String {
    link(question).split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default()
}

/// The page.
pub(super) async fn page(
    State(state): State<DashboardState>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let (question, problems) = Question::read(&pairs);
    let canonical = question.pairs();
    let same = canonical.iter().map(|(name, value)| (*name, value.as_str()));
    if problems.is_empty() && !pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(same) {
        // However it was asked, its URL is one.
        return Ok(Redirect::to(&link(&question)).into_response());
    }
    show(&state, &question, problems, None).await
}

/// The page, with what is wrong with a view that was to be kept under a name.
pub(super) async fn show(
    state: &DashboardState,
    question: &Question,
    mut problems: Vec<Problem>,
    refused: Option<(String, String)>,
) -> Result<Response, PageError> {
    let (now, pages) = (state.clock.now(), state.zone);
    let unreadable = |error: StoreError| state.unreadable()(error);
    let (tags, views) = tokio::try_join!(
        store::explore::tag_names(&state.store),
        store::views::list(&state.store, saved_views::MAX_VIEWS)
    )
    .map_err(unreadable)?;
    let answer = if problems.is_empty() {
        match explore::answer(&state.store, question, now, pages).await {
            Ok(answer) => Some(answer),
            Err(ExploreError::Question(problem)) => {
                problems.push(problem);
                None
            }
            Err(ExploreError::Store(error)) => return Err(unreadable(error)),
        }
    } else {
        None
    };
    let zone = question.zone(pages);
    let period = Question { step: None, ..question.clone() }.period(now, pages).ok();
    let (since, until) = match &question.time {
        Time::Range(_) => (String::new(), String::new()),
        Time::Between { since, until } => (since.clone(), until.clone().unwrap_or_default()),
    };
    let around = answer.as_ref().map(|answer| &answer.period).or(period.as_ref());
    let found = answer.as_ref().filter(|answer| !answer.is_empty());
    let nothing = answer.as_ref().filter(|answer| answer.is_empty());
    let (view_problem, view_name) = refused.unzip();
    let status = if view_problem.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let query = query(question);
    let page = html(&ExplorePage {
        frame: Frame::new(state, "Explore", Page::Explore),
        ranges: ranges(question),
        measures: Measure::ALL
            .map(|measure| Pick {
                key: measure.as_str().to_owned(),
                name: measure.name().to_owned(),
                chosen: measure == question.measure,
            })
            .into(),
        first: names(question.by.first(), &tags, "none"),
        second: names(question.by.get(1), &tags, ""),
        steps: steps(question, period.as_ref()),
        since,
        until,
        zone: question.own_zone.map_or_else(String::new, |zone| zone.name().to_owned()),
        zones: ZONES,
        kept: without(question, &["measure", "by", "since", "until", "zone", "step"]),
        hidden: without(question, &[]),
        chips: chips::of(&question.filters, |filters| link(&Question { filters: filters.clone(), ..question.clone() })),
        fields: FIELDS.into_iter().filter(|(field, _)| OF_SUMS.contains(field)).collect(),
        problems,
        elsewhere: nothing
            .and_then(|answer| answer.first)
            .map(|first| link(&question.between(first.bucket(), now.bucket().plus_millis(BUCKET_MS), pages))),
        earlier: around.and_then(|period| moved(question, period, pages, true)),
        later: around.and_then(|period| moved(question, period, pages, false)),
        wider: around.and_then(|period| wider(question, period, pages)),
        span: around.map_or_else(String::new, |period| span(period, now)),
        found: found.map(|answer| self::found(answer, zone)),
        views: saved_views::lines(&views, &query, now, pages),
        view_problem,
        view_name: view_name.unwrap_or_default(),
        query,
        usual: link(&Question::default()),
    })?;
    Ok((status, page).into_response())
}

fn ranges(question: &Question) -> Vec<Choice> {
    let choice = |range: Range| Choice {
        link: link(&Question { time: Time::Range(range), step: None, ..question.clone() }),
        name: range.name().to_owned(),
        current: question.time == Time::Range(range),
    };
    Range::ALL.map(choice).into()
}

/// What can be grouped by; `nothing` is the key of grouping by nothing.
fn names(chosen: Option<&By>, tags: &[String], nothing: &str) -> Vec<Pick> {
    let pick = |by: &By| Pick { key: by.key(), name: by.name(), chosen: Some(by) == chosen };
    let mut picks: Vec<Pick> = By::LISTED.iter().map(|(by, _)| pick(by)).collect();
    let tags: Vec<By> = tags.iter().map(|name| By::Tag(name.clone())).collect();
    picks.extend(tags.iter().map(pick));
    picks.extend(chosen.filter(|by| matches!(by, By::Tag(_)) && !tags.contains(by)).map(pick));
    picks.push(Pick { key: nothing.to_owned(), name: "nothing".to_owned(), chosen: chosen.is_none() });
    picks
}

/// The steps that suit the time.
fn steps(question: &Question, period: Option<&Period>) -> Vec<Pick> {
    let usual = period.map(|period| period.step);
    let name = |step: Step| match step {
        Step::FiveMinutes => "5 minutes".to_owned(),
        Step::QuarterHour => "15 minutes".to_owned(),
        step => step.as_str().to_owned(),
    };
    let most = i64::try_from(MAX_STEPS).unwrap_or(i64::MAX);
    let fits = |step: Step| {
        period.is_none_or(|period| (period.until.millis() - period.since.millis()) / step.about_ms() < most)
    };
    let auto = Pick {
        key: String::new(),
        name: usual.map_or_else(|| "as suits".to_owned(), |step| format!("{} (as suits)", name(step))),
        chosen: question.step.is_none(),
    };
    let own =
        Step::ALL.into_iter().filter(|step| question.step == Some(*step) || (fits(*step) && usual != Some(*step)));
    std::iter::once(auto)
        .chain(own.map(|step| Pick {
            key: step.as_str().to_owned(),
            name: name(step),
            chosen: question.step == Some(step),
        }))
        .collect()
}

/// The question's pairs but for some.
fn without(question: &Question, left_out: &[&str]) -> Vec<(&'static str, String)> {
    question.pairs().into_iter().filter(|(name, _)| !left_out.contains(name)).collect()
}

/// The time before or after, as long as this one.
fn moved(question: &Question, period: &Period, pages: Tz, back: bool) -> Option<String> {
    let time = if back {
        (period.shift.back(period.since, period.zone), period.since)
    } else {
        let until = ahead(period.shift, period.until, period.zone);
        if period.until > period.now {
            return None;
        }
        (period.until, until)
    };
    let step = question.step;
    (time.0 < time.1 && time.0 > Timestamp(0))
        .then(|| link(&Question { step, ..question.between(time.0, time.1, pages) }))
}

fn ahead(shift: Shift, at: Timestamp, zone: Tz) -> Timestamp {
    // The length of the time is the same both ways, but for days on which the clock changes.
    at.plus_millis(at.millis() - shift.back(at, zone).millis())
}

/// Twice the time on either side, up to now.
fn wider(question: &Question, period: &Period, pages: Tz) -> Option<String> {
    matches!(question.time, Time::Between { .. }).then(|| {
        let length = period.until.millis() - period.since.millis();
        let since = period.since.plus_millis(-length).bucket().max(Timestamp(0));
        let latest = period.now.bucket().plus_millis(BUCKET_MS);
        let until = period.until.plus_millis(length).bucket().min(latest.max(period.until));
        link(&question.between(since, until, pages))
    })
}

fn span(period: &Period, now: Timestamp) -> String {
    let moment = |at: Timestamp| format::date_time(at, now, period.zone);
    format!("{} – {}, {}", moment(period.since), moment(period.until), period.zone.name())
}

fn found(answer: &Answer, zone: Tz) -> Found {
    let question = &answer.question;
    let (whole, rest) = headline(answer);
    let api = linked("/tally/v1/explore.csv", question);
    let of_steps = if api.contains('?') { format!("{api}&table=steps") } else { format!("{api}?table=steps") };
    Found {
        title: title(question),
        about: subtitle(answer),
        whole,
        rest,
        text: comparison(answer),
        chart: chart(answer, zone),
        heads: heads(answer),
        rows: answer.groups.iter().enumerate().map(|(place, group)| row(answer, group, place)).collect(),
        total: (!question.by.is_empty()).then(|| total(answer)),
        tops: tops(answer),
        shapes: shapes(question),
        compare: Choice {
            link: link(&Question { compare: !question.compare, ..question.clone() }),
            name: if question.compare { "without the time before" } else { "with the time before" }.to_owned(),
            current: false,
        },
        csv: api,
        csv_of_steps: of_steps,
        json: linked("/tally/v1/explore", question),
    }
}

/// `Spend by model and app`.
pub(super) fn title(question: &Question) -> String {
    let names: Vec<String> = question.by.iter().map(By::name).collect();
    let by = if names.is_empty() { String::new() } else { format!(" by {}", words::listed(&names)) };
    format!("{}{by}", question.measure.name())
}

fn subtitle(answer: &Answer) -> String {
    let (question, period) = (&answer.question, &answer.period);
    let measure = question.measure;
    let (each, length) = (timeline::each(period.step), timeline::length(period.step));
    let ends = timeline::ends(period.step, &period.steps, period.now, period.zone);
    let what = match measure.kind() {
        Kind::Sum => format!("{} {each}", measure.unit_name()),
        Kind::Spread(_) if question.by.is_empty() => {
            let [first, second, third] = measure.percentiles();
            format!("p{first}, p{second} and p{third} of {} in steps of {length}", measure.unit_name())
        }
        Kind::Spread(_) => format!("p{} of {} in steps of {length}", question.drawn_percentile(), measure.unit_name()),
    };
    let near = match measure.kind() {
        Kind::Sum => String::new(),
        Kind::Spread(_) => {
            format!("; percentiles are within {} % of the exact ones", crate::domain::rollup::MOST_ERROR_PERCENT)
        }
    };
    let running = period.steps.last().is_some_and(|(start, end)| *start <= period.now && period.now < *end);
    let so_far = if running { "; the last step so far" } else { "" };
    let before = if draws_before(answer) { "; thin line: the time before" } else { "" };
    format!("{what}, {ends}, {}{near}{so_far}{before}", period.zone.name())
}

/// The figure of all, its dimmed part apart.
fn headline(answer: &Answer) -> (String, String) {
    let measure = answer.measure();
    match answer.total.value {
        None => (if measure.kind() == Kind::Sum { "unknown" } else { "not measured" }.to_owned(), String::new()),
        Some(value) => {
            let text = measure.written(value);
            let cut = match measure {
                Measure::Spend | Measure::Savings => text.find('.'),
                _ => text.find(format::NBSP),
            };
            let cut = cut.unwrap_or(text.len());
            (text[..cut].to_owned(), text[cut..].to_owned())
        }
    }
}

/// What stands beside the headline: each step's share, the time before, what is not known.
fn comparison(answer: &Answer) -> String {
    let (period, total) = (&answer.period, &answer.total);
    let measure = answer.measure();
    let mut parts = Vec::new();
    match measure.kind() {
        Kind::Sum => {
            let count =
                i128::try_from(period.steps.iter().filter(|(start, _)| *start <= period.now).count()).unwrap_or(1);
            if let Some(value) = total.value.filter(|_| count > 1) {
                parts.push(format!("{} {} on average", measure.written(value / count), timeline::each(period.step)));
            }
        }
        Kind::Spread(_) => {
            let figures: Vec<String> = measure
                .percentiles()
                .iter()
                .zip(total.percentiles)
                .filter_map(|(percent, figure)| Some(format!("p{percent} {}", measure.written(figure?))))
                .collect();
            parts.push(format!(
                "is p{} of {}: {}",
                answer.question.drawn_percentile(),
                words::counted(total.measured, "call", "calls"),
                words::listed(&figures)
            ));
        }
    }
    if answer.question.compare {
        let ends = period.before_ends().map_or_else(String::new, |(since, until)| {
            if period.step.about_ms() < Step::Day.about_ms() {
                let moment = |at: Timestamp| format::date_time(at, period.now, period.zone);
                format!("{} – {}", moment(since), moment(until))
            } else {
                let date = |at: Timestamp| format::date(at, period.now, period.zone);
                format!("{} – {}", date(since), date(until.plus_millis(-1)))
            }
        });
        parts.push(match total.before.filter(|before| *before > 0) {
            Some(before) => {
                let change = Column::Change.written(answer, total);
                format!("{change} against {} in the time before, {ends}", measure.written(before))
            }
            None => format!("nothing in the time before to compare with, {ends}"),
        });
    }
    if measure == Measure::Spend && total.sums.unknown > 0 {
        let unknown = words::counted(total.sums.unknown, "cost is", "costs are");
        parts.push(format!("{unknown} unknown and in no sum"));
    }
    if measure == Measure::Spend && answer.inline.iter().any(|inline| *inline != crate::domain::money::Total::ZERO) {
        parts.push("hatched: not yet settled".to_owned());
    }
    format!("{}.", parts.join("; "))
}

/// Whether the time before is drawn: beside lines of several names it would say nothing.
fn draws_before(answer: &Answer) -> bool {
    let question = &answer.question;
    let one = question.by.is_empty() || answer.groups.len() == 1;
    let bars = question.measure.kind() == Kind::Sum && question.shape == Shape::Bars;
    question.compare && (bars || one) && answer.before_steps.iter().flatten().any(|figure| *figure != 0)
}

fn chart(answer: &Answer, zone: Tz) -> String {
    let (question, period) = (&answer.question, &answer.period);
    let measure = question.measure;
    let zooms = period.steps.len() > 1 || period.step != Step::Minute;
    let ticks = timeline::ticks(&period.steps, zone);
    let steps: Vec<plot::Step> = ticks
        .into_iter()
        .enumerate()
        .map(|(place, tick)| plot::Step {
            title: read_out(answer, place, zone),
            tick,
            bounds: zooms.then(|| period.steps[place]),
        })
        .collect();
    let about = format!(
        "{}, {}: {} in all. Left and right arrow keys read it out, Enter looks closer. The table below holds the same figures.",
        title(question),
        timeline::ends(period.step, &period.steps, period.now, zone),
        answer.total.value.map_or_else(|| "not known".to_owned(), |value| measure.written(value)),
    );
    let before = if draws_before(answer) { answer.before_steps.as_slice() } else { &[] };
    let gaps = explore::unrecorded(&period.steps, answer.first);
    let shown = stack::Shown { unit: measure.unit(), about: &about, gaps, before, zooms };
    if measure.kind() == Kind::Sum && question.shape == Shape::Bars {
        let bars: Vec<stack::Bar> = steps
            .into_iter()
            .enumerate()
            .map(|(place, step)| stack::Bar {
                step,
                parts: parts(answer, place),
                inline: answer.inline[place].picos(),
                expected: None,
            })
            .collect();
        stack::draw(&bars, &shown)
    } else {
        lines::draw(&steps, &drawn(answer), &shown)
    }
}

/// A bar's parts: the groups with a colour as the table has them by size, then all that have none.
fn parts(answer: &Answer, place: usize) -> Vec<(usize, i128)> {
    let figure = |group: &Group| group.steps.get(place).copied().flatten().unwrap_or(0);
    let mut coloured: Vec<&Group> = answer.groups.iter().filter(|group| group.colour > 0).collect();
    // Sorted once for the whole time, whatever the table is sorted by.
    coloured.sort_by_key(|group| std::cmp::Reverse(group.value));
    let mut parts: Vec<(usize, i128)> = coloured.into_iter().map(|group| (group.colour, figure(group))).collect();
    let rest = answer.groups.iter().filter(|group| group.colour == 0).map(figure);
    let (above, below) = rest.fold((0, 0), |(above, below), part| (above + part.max(0), below + part.min(0)));
    parts.extend([(0, above), (0, below)]);
    parts.retain(|(_, figure)| *figure != 0);
    parts
}

fn drawn(answer: &Answer) -> Vec<lines::Line> {
    if answer.question.by.is_empty() && !answer.courses.is_empty() {
        let line = |(place, course): (usize, &Vec<Option<i128>>)| lines::Line {
            class: course_class(place),
            figures: course.clone(),
        };
        return answer.courses.iter().enumerate().map(line).collect();
    }
    // Beyond the colours, and put together, names have no line of their own to be told by.
    let shown = answer.groups.iter().enumerate().filter(|(_, group)| group.colour > 0 || group.is_others());
    // What has not begun yet is nothing, not zero.
    let begun = answer.period.steps.iter().take_while(|(start, _)| *start <= answer.period.now).count();
    shown
        .map(|(place, group)| lines::Line {
            class: lines::class(group.colour, place),
            figures: group.steps.iter().take(begun).copied().collect(),
        })
        .collect()
}

/// The class of a percentile's line, the median the boldest.
fn course_class(place: usize) -> String {
    ["line", "line thin d1", "line thin d2"].get(place).copied().unwrap_or("line").to_owned()
}

fn read_out(answer: &Answer, place: usize, zone: Tz) -> String {
    let (period, measure) = (&answer.period, answer.measure());
    let name = timeline::name(period.step, period.steps[place].0, zone);
    let written = |figure: Option<i128>| figure.map(|figure| measure.written(figure));
    let total = written(answer.total.steps.get(place).copied().flatten());
    let mut lines = vec![format!("{name}: {}", total.unwrap_or_else(|| "not measured".to_owned()))];
    if !answer.courses.is_empty() && answer.question.by.is_empty() {
        lines[0].clone_from(&name);
        for (percent, course) in measure.percentiles().iter().zip(&answer.courses) {
            if let Some(text) = written(course[place]) {
                lines.push(format!("p{percent} {text}"));
            }
        }
    }
    if let Some(before) = written(answer.before_steps.get(place).copied().flatten()).filter(|_| draws_before(answer)) {
        lines.push(format!("before {before}"));
    }
    if !answer.question.by.is_empty() {
        let most = if period.steps.len() > LONG_CHART { NAMES_IN_LONG } else { usize::MAX };
        let named = answer.groups.iter().filter_map(|group| {
            let figure = group.steps.get(place).copied().flatten().filter(|figure| *figure != 0)?;
            Some(format!("{} {}", name_of(answer, group), measure.written(figure)))
        });
        lines.extend(named.take(most));
    }
    lines.join("\n")
}

/// A group's name: its keys, or how many others it stands for.
fn name_of(answer: &Answer, group: &Group) -> String {
    let by = &answer.question.by;
    if group.is_others() {
        let names = match by.as_slice() {
            [one] => one.names(),
            _ => "groups".to_owned(),
        };
        return format!("{} other {names}", format::count(i64::try_from(group.names).unwrap_or(i64::MAX)));
    }
    let mut keys = group.keys.iter();
    let names: Vec<String> = by
        .iter()
        .map(|by| {
            let mut next = || keys.next().and_then(Option::as_deref);
            match by {
                By::Route => match (next(), next()) {
                    (Some(asked), Some(served)) if asked == served => asked.to_owned(),
                    (asked, served) => {
                        format!("{} → {}", asked.unwrap_or("not known"), served.unwrap_or("nobody"))
                    }
                },
                by => next().map_or_else(|| format!("no {}", by.name()), str::to_owned),
            }
        })
        .collect();
    if names.is_empty() { "All calls".to_owned() } else { names.join(" · ") }
}

fn heads(answer: &Answer) -> Vec<Head> {
    let question = &answer.question;
    let now = question.sorted_by();
    let direction = |column: Option<Column>| {
        let down = column.is_some() != now.reversed;
        (now.column == column).then_some(if down { "descending" } else { "ascending" })
    };
    let first = question.by.iter().map(By::name).collect::<Vec<_>>().join(" · ");
    let first = first.get(..1).map_or_else(|| "Calls".to_owned(), |letter| letter.to_uppercase() + &first[1..]);
    let name = Head { name: first, link: Some(link(&question.sorted(None))), sorted: direction(None), class: "" };
    std::iter::once(name)
        .chain(shown(question).into_iter().map(|column| Head {
            name: column.head(question.measure),
            link: column.sorts().then(|| link(&question.sorted(Some(column)))),
            sorted: direction(Some(column)).filter(|_| column.sorts()),
            class: if column == Column::Course { "n opt" } else { class(column, question) },
        }))
        .collect()
}

/// The columns that are shown.
fn shown(question: &Question) -> Vec<Column> {
    let mut columns = columns(question.measure);
    columns.retain(|column| question.compare || !matches!(column, Column::Before | Column::Change));
    columns
}

fn class(column: Column, question: &Question) -> &'static str {
    match column {
        Column::Value => "n strong right",
        Column::Percentile(percent) if percent == question.drawn_percentile() => "n strong right",
        Column::Percentile(_) | Column::Before => "n",
        Column::Change => "n right",
        Column::Completions | Column::Measured | Column::Share => "n hide-s",
        Column::Course | Column::Spend | Column::PerThousand | Column::FailedShare => "n opt hide-s",
    }
}

/// The cells of a group; `calls` are the rows that it is made of.
fn cells(answer: &Answer, group: &Group, calls: Option<&str>) -> Vec<Cell> {
    let question = &answer.question;
    let course = |group: &Group| {
        // So small a picture has no room for gaps: it goes on from what was measured to what was measured.
        let steps: Vec<i128> = group.steps.iter().copied().flatten().collect();
        if steps.len() > 1 { spark::row(&steps) } else { String::new() }
    };
    shown(question)
        .into_iter()
        .map(|column| Cell {
            text: column.written(answer, group),
            picture: if column == Column::Course { course(group) } else { String::new() },
            link: calls.filter(|_| matches!(column, Column::Completions | Column::Measured)).map(str::to_owned),
            class: class(column, question),
            label: match column {
                Column::Before => "before".to_owned(),
                Column::Percentile(percent) => format!("p{percent}"),
                _ => String::new(),
            },
        })
        .collect()
}

/// The page of the rows that these filters leave in the time that is shown.
fn calls(answer: &Answer, filters: &Filters) -> String {
    let iso = |at: Timestamp| at.to_utc().format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let filters = filters.with("since", iso(answer.period.since)).with("until", iso(answer.period.until));
    completions::rows(&filters)
}

fn row(answer: &Answer, group: &Group, place: usize) -> Line {
    let question = &answer.question;
    let narrowed = if group.is_others() { None } else { question.narrowed(&group.keys) };
    let calls = narrowed.as_ref().map(|narrowed| calls(answer, &narrowed.filters));
    let (to, does) = if group.is_others() {
        let next = TOPS.into_iter().find(|top| *top > question.top);
        (next.map(|top| link(&Question { top, ..question.clone() })), "show more of them")
    } else if question.by.is_empty() {
        (None, "")
    } else {
        (narrowed.filter(|narrowed| narrowed != question).map(|narrowed| link(&narrowed)), "only this")
    };
    Line {
        name: name_of(answer, group),
        link: to,
        does,
        swatch: swatch(answer, group, place),
        cells: cells(answer, group, calls.as_deref()),
    }
}

/// The mark that a name has in the chart.
fn swatch(answer: &Answer, group: &Group, place: usize) -> String {
    let question = &answer.question;
    if question.measure.kind() == Kind::Sum && question.shape == Shape::Bars {
        return format!(
            r#"<svg class="sw" aria-hidden="true"><rect class="s{}" width="10" height="10"/></svg>"#,
            group.colour
        );
    }
    if question.by.is_empty() || (group.colour == 0 && !group.is_others()) {
        return String::new();
    }
    let class = lines::class(group.colour, place);
    format!(r#"<svg class="sw long" aria-hidden="true"><path class="{class}" d="M0,5 L22,5"/></svg>"#)
}

fn total(answer: &Answer) -> Line {
    let mut cells = cells(answer, &answer.total, Some(&calls(answer, &answer.question.filters)));
    for cell in &mut cells {
        cell.class = match cell.class {
            "n strong right" => "n right",
            class => class,
        };
    }
    Line { name: "Total".to_owned(), link: None, does: "", swatch: String::new(), cells }
}

fn tops(answer: &Answer) -> Vec<Choice> {
    let question = &answer.question;
    if !answer.has_others && question.top == TOPS[0] {
        return Vec::new();
    }
    TOPS.into_iter()
        .map(|top| Choice {
            link: link(&Question { top, ..question.clone() }),
            name: top.to_string(),
            current: top == question.top,
        })
        .collect()
}

/// The ways in which it can be drawn.
fn shapes(question: &Question) -> Vec<Choice> {
    if question.measure.kind() == Kind::Sum {
        return [(Shape::Bars, "bars"), (Shape::Lines, "lines")]
            .map(|(shape, name)| Choice {
                link: link(&Question { shape, ..question.clone() }),
                name: name.to_owned(),
                current: shape == question.shape,
            })
            .into();
    }
    question
        .measure
        .percentiles()
        .map(|percent| Choice {
            link: link(&question.drawn_by(percent)),
            name: format!("p{percent}"),
            current: percent == question.drawn_percentile(),
        })
        .into()
}

/// What a saved view's query asks, in words.
pub(super) fn in_words(query: &str) -> String {
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let (question, _) = Question::read(&pairs);
    let time = match &question.time {
        Time::Range(range) => range.name().to_owned(),
        Time::Between { since, until: Some(until) } => format!("{since} – {until}"),
        Time::Between { since, until: None } => format!("since {since}"),
    };
    let narrowed = question.filters.iter().count();
    let filters = if narrowed == 0 {
        String::new()
    } else {
        format!(", {}", words::counted(i64::try_from(narrowed).unwrap_or(0), "filter", "filters"))
    };
    format!("{}, {time}{filters}", title(&question))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_told_in_words() {
        assert_eq!(in_words(""), "Spend by model, 30 d");
        assert_eq!(
            in_words("measure=latency&by=provider%2Capp&since=2026-11-01&app=x&none=user"),
            "Latency by provider and app, since 2026-11-01, 2 filters"
        );
    }
}
