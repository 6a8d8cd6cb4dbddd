//! `/sessions/{id}`: one agent run, call by call, with what it had cost by then.

use std::fmt::Write as _;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use chrono_tz::Tz;
use serde::Deserialize;

use super::DashboardState;
use super::chart::run::{self, Block, Mark};
use super::completions::{self, Badge, badge};
use super::explore;
use super::frame::{Frame, Page};
use super::query::link;
use super::respond::{PageError, html};
use super::sessions::link_to;
use crate::domain::call::{Call, CallState};
use crate::domain::money::Total;
use crate::domain::time::{DAY_MS, Timestamp};
use crate::report::scale::between;
use crate::report::sessions::{self, MAX_CALLS, Run, Turn, over};
use crate::report::span::day_start;
use crate::report::{format, words};

/// Calls of a page of the table.
const SIZE: usize = 100;

/// Most labels of the time axis.
const MARKS: i64 = 7;

/// What labels may be apart, in milliseconds.
const APART: [i64; 18] = [
    1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000, 1_800_000, 3_600_000,
    7_200_000, 10_800_000, 21_600_000, 43_200_000, DAY_MS,
];

/// What the URL says.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    /// The first call of the table, counted from 1.
    from: Option<String>,
}

struct Figure {
    label: &'static str,
    whole: String,
    cents: String,
    text: String,
}

struct Line {
    number: String,
    id: String,
    link: String,
    time: String,
    time_iso: String,
    /// Since the first call.
    after: String,
    model: String,
    colour: usize,
    provider: String,
    badge: Badge,
    cost: String,
    together: String,
    tokens_in: String,
    tokens_out: String,
    total: String,
    failed: bool,
}

struct ModelLine {
    name: String,
    colour: usize,
    calls: String,
    failures: String,
    tokens_in: String,
    tokens_out: String,
    spend: String,
    share: String,
}

/// A label, and what the session's calls name.
struct Named {
    label: &'static str,
    values: Vec<(String, String)>,
}

#[derive(Template)]
#[template(path = "session.html")]
struct SessionPage {
    frame: Frame,
    session: String,
    when: String,
    figures: Vec<Figure>,
    chart: String,
    chart_about: String,
    models: Vec<ModelLine>,
    named: Vec<Named>,
    rows: Vec<Line>,
    shown: String,
    earlier: Option<String>,
    later: Option<String>,
    /// Where there are more calls than are told here.
    cut: Option<String>,
    completions: String,
    explore: String,
}

/// The page.
pub(super) async fn page(
    State(state): State<DashboardState>,
    Path(session): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let run = sessions::run(&state.store, &session).await.map_err(state.unreadable())?;
    let Some(run) = run else {
        return Err(PageError::NotFound(Box::new(state), "The ledger has no call of a session of this name."));
    };
    let (now, zone) = (state.clock.now(), state.zone);
    let count = run.turns.len();
    let asked = asked.from.and_then(|from| from.parse::<usize>().ok()).unwrap_or(1);
    let from = asked.clamp(1, count) - 1;
    let until = (from + SIZE).min(count);
    let at = |place: usize| link(&link_to(&session), [("from", (place + 1).to_string().as_str())]);
    let number = |place: usize| i64::try_from(place).unwrap_or(i64::MAX);
    html(&SessionPage {
        frame: Frame::new(&state, "Session", Page::Sessions),
        when: format!("{} to {}", format::moment(run.start(), now, zone), format::moment(run.end, now, zone)),
        figures: figures(&run),
        chart: chart(&run, now, zone),
        chart_about: format!(
            "US$ together, {}; each block is a call, as wide as it took and as high as it cost",
            zone.name()
        ),
        models: models(&run),
        named: named(&run),
        rows: run.turns[from..until]
            .iter()
            .zip(from..)
            .map(|(turn, place)| line(turn, place, &run, now, zone))
            .collect(),
        shown: format!(
            "{} to {} of {}",
            number(from + 1),
            number(until),
            words::counted(number(count), "call", "calls")
        ),
        earlier: (from > 0).then(|| at(from.saturating_sub(SIZE))),
        later: (until < count).then(|| at(until)),
        cut: run
            .is_cut
            .then(|| format!("It has more calls: the last {} are told here.", format::count(i64::from(MAX_CALLS)))),
        completions: link("/completions", [("session", session.as_str())]),
        explore: link(
            explore::PATH,
            [
                ("by", "model"),
                ("since", run.start().bucket().to_iso().as_str()),
                (
                    "until",
                    run.end.plus_millis(1).bucket().plus_millis(crate::domain::time::BUCKET_MS).to_iso().as_str(),
                ),
                ("session", session.as_str()),
            ],
        ),
        session,
    })
}

fn figures(run: &Run) -> Vec<Figure> {
    let total = run.models.total;
    let (whole, cents) = format::usd_parts(total.cost);
    let calls = total.completions + total.failures;
    let cost = |turn: &Turn| turn.call.cost().filter(|_| turn.call.state != CallState::Failed);
    let dearest = run.turns.iter().filter_map(cost).max();
    let mut about =
        dearest.map_or_else(String::new, |cost| format!("The dearest call cost {}.", format::call_usd(cost)));
    if total.unknown > 0 {
        let _ =
            write!(about, " {} and in no sum.", words::counted(total.unknown, "cost is unknown", "costs are unknown"));
    }
    let failures = match total.failures {
        0 => "None failed.".to_owned(),
        failures => format!("{} failed; nothing was billed for them.", format::count(failures)),
    };
    let lasted = run.end.millis() - run.start().millis();
    let cached = format::share_of(
        Total::from_picos(total.native_tokens_cached.into()),
        Total::from_picos(total.native_tokens_prompt.into()),
    );
    vec![
        Figure { label: "Cost", whole, cents, text: about.trim_start().to_owned() },
        Figure { label: "Calls", whole: format::count(calls), cents: String::new(), text: failures },
        Figure {
            label: "Lasted",
            whole: format::duration(lasted),
            cents: String::new(),
            text: format!(
                "{} of it in calls, those at the same time counted each.",
                format::duration(run.in_calls_ms())
            ),
        },
        Figure {
            label: "Tokens in",
            whole: format::short_count(total.native_tokens_prompt),
            cents: String::new(),
            text: format!(
                "{} of them from a cache; {} out.",
                cached.unwrap_or_else(|| "none".to_owned()),
                format::short_count(total.native_tokens_completion)
            ),
        },
    ]
}

fn chart(run: &Run, now: Timestamp, zone: Tz) -> String {
    let (start, end) = (run.start(), run.end.max(run.start().plus_millis(1)));
    let place = |at: Timestamp| between(at, start, end, 10_000);
    let mut before = Total::ZERO;
    let blocks: Vec<Block> = run
        .turns
        .iter()
        .map(|turn| {
            let from = std::mem::replace(&mut before, turn.together);
            Block {
                left: place(turn.call.created_at()),
                right: place(over(&turn.call)),
                from: from.picos(),
                to: turn.together.picos(),
                colour: turn.colour,
                failed: turn.call.state == CallState::Failed,
                title: format!(
                    "{} {}: {}\n{} together",
                    format::moment(turn.call.created_at(), now, zone),
                    turn.call.model().or(turn.call.requested_model.as_deref()).unwrap_or("model not known"),
                    cost(&turn.call),
                    format::usd(turn.together)
                ),
            }
        })
        .collect();
    let about = format!(
        "What {} of this session cost together over {}: {}. The table below holds the same figures.",
        words::counted(i64::try_from(run.turns.len()).unwrap_or(i64::MAX), "call", "calls"),
        format::duration(end.millis() - start.millis()),
        format::usd(run.models.total.cost)
    );
    run::draw(&blocks, &marks(start, end, now, zone), &about)
}

fn cost(call: &Call) -> String {
    match (call.state, call.cost()) {
        (CallState::Failed, _) => "none".to_owned(),
        (_, Some(cost)) => format::completion_usd(cost),
        (_, None) => "unknown".to_owned(),
    }
}

/// Labels at round times of the zone's clock.
fn marks(start: Timestamp, end: Timestamp, now: Timestamp, zone: Tz) -> Vec<Mark> {
    let span = end.millis() - start.millis();
    let days = span / DAY_MS / MARKS + 1;
    let apart = APART.into_iter().find(|apart| span / apart < MARKS).unwrap_or(days * DAY_MS);
    let midnight = day_start(start.to_utc().with_timezone(&zone).date_naive(), zone);
    let gone = (start.millis() - midnight.millis() + apart - 1) / apart;
    (gone..=gone + MARKS)
        .map(|number| midnight.plus_millis(number * apart))
        .take_while(|at| *at < end)
        .enumerate()
        .map(|(place, at)| Mark {
            at: between(at, start, end, 10_000),
            text: if apart < 60_000 {
                format::clock_time(at, zone)
            } else if apart < DAY_MS && (at.millis() - midnight.millis()) % DAY_MS != 0 {
                format::minute(at, zone)
            } else {
                format::date(at, now, zone)
            },
            // The last may stand too near to that before it where there is little room.
            minor: place % 2 == 1 || between(at, start, end, 10_000) >= run::LABEL_LEFT_FROM,
        })
        .collect()
}

fn models(run: &Run) -> Vec<ModelLine> {
    let total = run.models.total.cost;
    run.models
        .series
        .iter()
        .map(|series| ModelLine {
            name: match series.name() {
                _ if series.is_others() => format!("{} other models", series.names),
                Some(name) => name.to_owned(),
                None => "model not known".to_owned(),
            },
            colour: series.colour,
            calls: format::count(series.whole.completions + series.whole.failures),
            failures: if series.whole.failures == 0 { String::new() } else { format::count(series.whole.failures) },
            tokens_in: format::count(series.whole.native_tokens_prompt),
            tokens_out: format::count(series.whole.native_tokens_completion),
            spend: format::usd(series.whole.cost),
            share: format::share_of(series.whole.cost, total).unwrap_or_default(),
        })
        .collect()
}

/// The apps, keys and users of its calls, each with the rows that it leaves.
fn named(run: &Run) -> Vec<Named> {
    let of = |label: &'static str, field: &'static str, name: fn(&Call) -> Option<&str>| {
        let mut values: Vec<&str> = run.turns.iter().filter_map(|turn| name(&turn.call)).collect();
        values.sort_unstable();
        values.dedup();
        let values = values.iter().map(|value| ((*value).to_owned(), link("/sessions", [(field, *value)]))).collect();
        Named { label, values }
    };
    vec![
        of("App", "app", |call| call.attribution.app.as_deref()),
        of("User", "user", |call| call.attribution.user.as_deref()),
        of("Key", "key", |call| call.key.as_ref().map(|key| key.name.as_str())),
    ]
}

fn line(turn: &Turn, place: usize, run: &Run, now: Timestamp, zone: Tz) -> Line {
    let call = &turn.call;
    let at = call.created_at();
    let count = |tokens: Option<i64>| tokens.map(format::count).unwrap_or_default();
    Line {
        number: format::count(i64::try_from(place + 1).unwrap_or(i64::MAX)),
        id: call.call_id.to_string(),
        link: completions::link_to_row(call),
        time: format::moment(at, now, zone),
        time_iso: at.to_iso(),
        after: format!("+{}", format::duration(at.millis() - run.start().millis())),
        model: call.model().or(call.requested_model.as_deref()).unwrap_or("model not known").to_owned(),
        colour: turn.colour,
        provider: call.facts.provider.clone().unwrap_or_default(),
        badge: badge(call),
        cost: cost(call),
        together: format::usd(turn.together),
        tokens_in: count(call.facts.native_tokens_prompt),
        tokens_out: count(call.facts.native_tokens_completion),
        total: call.duration_ms.map(format::duration).unwrap_or_default(),
        failed: call.state == CallState::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_stand_at_round_times_of_the_zones_clock() {
        let at = |text| Timestamp::parse(text).unwrap();
        let (start, end) = (at("2026-11-19T14:31:07Z"), at("2026-11-19T14:52:11Z"));
        let texts: Vec<String> =
            marks(start, end, end, chrono_tz::Asia::Kolkata).into_iter().map(|mark| mark.text).collect();
        assert_eq!(texts, ["20:05", "20:10", "20:15", "20:20"]);
        let days = marks(start, at("2026-11-22T09:00:00Z"), end, Tz::UTC);
        assert_eq!((days[0].text.as_str(), days.len()), ("Fri 20 Nov", 5), "{days:?}");
        assert!(marks(start, start.plus_millis(1), end, Tz::UTC).len() < 2);
    }
}
