//! `/completions`: the ledger's rows, newest first, filtered by what stands in the URL.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use chrono_tz::Tz;

use super::DashboardState;
use super::chips::{self, Chip};
use super::explore;
use super::frame::{Frame, Page};
use super::query::{link, segment};
use super::respond::{PageError, html};
use crate::domain::call::{Call, CallState};
use crate::domain::catalogue::Catalogue;
use crate::domain::money::{Money, Total};
use crate::domain::time::Timestamp;
use crate::domain::window::WindowKind;
use crate::report::filters::{FIELDS, Filters, NONE, OF_SUMS};
use crate::report::{format, words};
use crate::store::calls::{self, Cursor, MAX_LOOKED, Searched};
use crate::store::rollups::{self, Sums, TotalsQuery};

/// The path of the page.
const PATH: &str = "/completions";

/// Rows a page may have; the first is the usual.
const SIZES: [u32; 3] = [50, 100, 500];

/// States that are offered as links.
const STATES: [(&str, &str); 5] =
    [("", "all"), ("settled", "settled"), ("pending", "pending"), ("unsettled", "unsettled"), ("failed", "failed")];

/// A cell whose absence has a word of its own.
pub(super) struct Line {
    pub(super) id: String,
    pub(super) link: String,
    pub(super) time: String,
    pub(super) time_iso: String,
    /// The day, where it differs from the row above.
    pub(super) day: Option<String>,
    /// `None`: unknown, or nothing was to be paid.
    pub(super) cost: Option<String>,
    pub(super) no_cost: &'static str,
    /// What an unknown cost may be: `≈ $0.000437 estimate`.
    pub(super) estimate: Option<String>,
    pub(super) badge: Badge,
    pub(super) requested: String,
    /// What served, where that was another.
    pub(super) served: Option<String>,
    pub(super) app: String,
    pub(super) provider: String,
    pub(super) tokens_in: String,
    pub(super) tokens_out: String,
    pub(super) cached: String,
    pub(super) reasoning: String,
    pub(super) first_byte: String,
    pub(super) total: String,
    pub(super) failed: bool,
}

/// A mark and a word.
#[derive(Clone, Debug)]
pub(super) struct Badge {
    pub(super) class: &'static str,
    pub(super) word: String,
}

struct Choice {
    link: String,
    name: String,
    current: bool,
}

#[derive(Template)]
#[template(path = "completions.html")]
struct CompletionsPage {
    frame: Frame,
    summary: String,
    spend_today: String,
    chips: Vec<Chip>,
    /// Pairs that the form carries along.
    hidden: Vec<(&'static str, String)>,
    fields: Vec<(&'static str, &'static str)>,
    states: Vec<Choice>,
    problem: Option<String>,
    rows: Vec<Line>,
    known: String,
    shown: String,
    span: String,
    /// Files of every row that these filters leave, not of this page alone.
    exports: Vec<(&'static str, String)>,
    newest: Option<String>,
    older: Option<String>,
    /// How far a search came that found too little.
    looked: Option<String>,
    sizes: Vec<Choice>,
    clear: String,
    /// The same calls in Explore.
    explore: String,
    /// Rows of a page to which new ones come, which script can stop; 0 where none come.
    tail: u32,
}

/// What the URL asks for.
#[derive(Debug, Default)]
struct Asked {
    filters: Filters,
    size: u32,
    before: Option<Cursor>,
}

impl Asked {
    fn read(pairs: &[(String, String)]) -> Self {
        let value = |key: &str| pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.trim());
        Self {
            filters: Filters::read(pairs, &FIELDS.map(|(field, _)| field)),
            size: value("n").and_then(|n| n.parse().ok()).filter(|n| SIZES.contains(n)).unwrap_or(SIZES[0]),
            before: value("before").and_then(|text| text.parse().ok()),
        }
    }

    /// The page with other filters, size or place.
    fn link(filters: &Filters, size: u32, before: Option<&str>) -> String {
        let mut pairs = filters.pairs();
        if size != SIZES[0] {
            pairs.push(("n", size.to_string()));
        }
        if let Some(before) = before {
            pairs.push(("before", before.to_owned()));
        }
        link(PATH, pairs.iter().map(|(name, value)| (*name, value.as_str())))
    }
}

/// The rows that these filters leave.
pub(super) fn rows(filters: &Filters) -> String {
    Asked::link(filters, SIZES[0], None)
}

/// The page.
pub(super) async fn page(
    State(state): State<DashboardState>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let asked = Asked::read(&pairs);
    if chips::adds(&pairs) {
        // The form's pair becomes a filter like any other, so that the URL says what is shown.
        return Ok(Redirect::to(&Asked::link(&asked.filters, asked.size, None)).into_response());
    }
    let (now, zone) = (state.clock.now(), state.zone);
    let today = today(&state, now).await?;
    let (filter, problem) = match asked.filters.of_rows(zone, now) {
        Ok(filter) => (Some(filter), None),
        Err(problem) => (None, Some(problem)),
    };
    let searched = match &filter {
        Some(filter) => {
            calls::search(&state.store, filter, asked.before, asked.size + 1).await.map_err(state.unreadable())?
        }
        None => Searched::default(),
    };
    let mut found = searched.calls;
    let size = usize::try_from(asked.size).unwrap_or(usize::MAX);
    let more = found.len() > size;
    found.truncate(size);
    let next = match searched.looked_to {
        Some(at) => Some(Cursor::before(at)),
        None => found.last().filter(|_| more).map(Cursor::after),
    };
    let older = next.map(|next| Asked::link(&asked.filters, asked.size, Some(&next.to_string())));
    html(&CompletionsPage {
        frame: Frame::new(&state, "Completions", Page::Completions),
        summary: summary(&today),
        spend_today: format::usd(today.cost),
        chips: chips::of(&asked.filters, |filters| Asked::link(filters, asked.size, None)),
        hidden: hidden(&asked),
        fields: FIELDS.to_vec(),
        states: states(&asked),
        problem,
        known: known(&found),
        shown: words::counted(i64::try_from(found.len()).unwrap_or(i64::MAX), "row", "rows"),
        span: span_of(&found, now, zone),
        rows: table(&found, &state.catalogue.load(), now, zone),
        exports: if filter.is_some() { exports(&asked.filters) } else { Vec::new() },
        newest: asked.before.is_some().then(|| Asked::link(&asked.filters, asked.size, None)),
        older,
        looked: searched.looked_to.map(|at| {
            format!(
                "{} were looked through, back to {}.",
                words::counted(MAX_LOOKED, "row", "rows"),
                format::moment(at, now, zone)
            )
        }),
        sizes: SIZES
            .iter()
            .map(|size| Choice {
                link: Asked::link(&asked.filters, *size, None),
                name: size.to_string(),
                current: *size == asked.size,
            })
            .collect(),
        clear: Asked::link(&Filters::default(), asked.size, None),
        explore: in_explore(&asked.filters),
        tail: if asked.before.is_none() && asked.filters.value("until").is_none() { asked.size } else { 0 },
    })
}

/// The calls that these filters leave, as far as Explore narrows down to them.
fn in_explore(filters: &Filters) -> String {
    let known = |name: &str, value: &str| {
        OF_SUMS.contains(&name) || ["since", "until"].contains(&name) || (name == NONE && OF_SUMS.contains(&value))
    };
    let pairs = filters.pairs();
    let pairs = pairs.iter().map(|(name, value)| (*name, value.as_str()));
    link(explore::PATH, pairs.filter(|(name, value)| known(name, value)))
}

/// What these filters leave, as files.
fn exports(filters: &Filters) -> Vec<(&'static str, String)> {
    let pairs = filters.pairs();
    [
        ("CSV", "/tally/v1/completions.csv"),
        ("NDJSON", "/tally/v1/completions.ndjson"),
        ("Parquet", "/tally/v1/completions.parquet"),
        ("FOCUS", "/tally/v1/completions.focus.csv"),
    ]
    .map(|(name, path)| (name, link(path, pairs.iter().map(|(field, value)| (*field, value.as_str())))))
    .to_vec()
}

async fn today(state: &DashboardState, now: Timestamp) -> Result<Sums, PageError> {
    let window = WindowKind::Day.window_at(state.zone, now);
    let query = TotalsQuery { spans: vec![(window.start, window.end.unwrap_or(now))], ..TotalsQuery::default() };
    let rows = rollups::totals(&state.store, &query).await.map_err(state.unreadable())?;
    Ok(rows.first().map(|row| row.sums).unwrap_or_default())
}

fn summary(today: &Sums) -> String {
    let mut parts = Vec::new();
    for (count, word) in [(today.inline, "inline"), (today.unknown, "of unknown cost"), (today.failures, "failed")] {
        if count > 0 {
            parts.push(format!("{} {word}", format::count(count)));
        }
    }
    let rest = if parts.is_empty() { String::new() } else { format!(" · {}", parts.join(", ")) };
    format!("{} today{rest}", format::count(today.completions))
}

fn hidden(asked: &Asked) -> Vec<(&'static str, String)> {
    let mut hidden = asked.filters.pairs();
    if asked.size != SIZES[0] {
        hidden.push(("n", asked.size.to_string()));
    }
    hidden
}

fn states(asked: &Asked) -> Vec<Choice> {
    let current = asked.filters.value("state").unwrap_or_default();
    STATES
        .iter()
        .map(|(state, name)| {
            let filters = match *state {
                "" => asked.filters.without("state"),
                state => asked.filters.with("state", state),
            };
            Choice {
                link: Asked::link(&filters, asked.size, None),
                name: (*name).to_owned(),
                current: *state == current,
            }
        })
        .collect()
}

/// The known costs of the rows, together.
fn known(found: &[Call]) -> String {
    let costs: Total = found.iter().filter_map(Call::cost).map(Total::from).sum();
    i64::try_from(costs.picos())
        .map_or_else(|_| format::usd(costs), |picos| format::completion_usd(Money::from_picos(picos)))
}

fn span_of(found: &[Call], now: Timestamp, zone: Tz) -> String {
    match (found.first(), found.last()) {
        (Some(first), Some(last)) => {
            let at = |call: &Call| format::moment(call.created_at(), now, zone);
            format!("{} back to {}", at(first), at(last))
        }
        _ => String::new(),
    }
}

/// The rows, with a day's name above the first of each where they span several.
fn table(found: &[Call], catalogue: &Catalogue, now: Timestamp, zone: Tz) -> Vec<Line> {
    let day = |call: &Call| format::date(call.created_at(), now, zone);
    let today = format::date(now, now, zone);
    let several = found.iter().any(|call| day(call) != today);
    let mut above = None;
    found
        .iter()
        .map(|call| {
            let mut line = line(call, catalogue, now, zone);
            if several {
                let this = day(call);
                if above.as_ref() != Some(&this) {
                    line.day = Some(if this == today { "Today".to_owned() } else { this.clone() });
                    above = Some(this);
                }
                line.time = format::clock_time(call.created_at(), zone);
            }
            line
        })
        .collect()
}

/// The page of one row.
pub(super) fn link_to_row(call: &Call) -> String {
    let id = call.generation_id.as_ref().map_or_else(|| call.call_id.to_string(), ToString::to_string);
    format!("{PATH}/{}", segment(&id))
}

/// One row.
pub(super) fn line(call: &Call, catalogue: &Catalogue, now: Timestamp, zone: Tz) -> Line {
    let at = call.created_at();
    let count = |tokens: Option<i64>| tokens.map(format::count).unwrap_or_default();
    let duration = |ms: Option<i64>| ms.map(format::duration).unwrap_or_default();
    let model = call.model();
    let requested = call.requested_model.as_deref();
    let failed = call.state == CallState::Failed;
    Line {
        link: link_to_row(call),
        id: call.call_id.to_string(),
        time: format::moment(at, now, zone),
        time_iso: at.to_iso(),
        day: None,
        cost: call.cost().filter(|_| !failed).map(format::completion_usd),
        no_cost: if failed { "none" } else { "unknown" },
        estimate: catalogue.estimate(call).map(estimated),
        badge: badge(call),
        requested: requested.or(model).unwrap_or("model not known").to_owned(),
        served: model.filter(|model| requested.is_some_and(|requested| requested != *model)).map(str::to_owned),
        app: call.attribution.app.clone().unwrap_or_default(),
        provider: call.facts.provider.clone().unwrap_or_default(),
        tokens_in: count(call.facts.native_tokens_prompt),
        tokens_out: count(call.facts.native_tokens_completion),
        cached: count(call.facts.native_tokens_cached),
        reasoning: count(call.facts.native_tokens_reasoning),
        first_byte: duration(call.first_byte_ms),
        total: duration(call.duration_ms),
        failed,
    }
}

/// An estimate, never to be taken for a cost.
pub(super) fn estimated(estimate: Money) -> String {
    format!("≈ {} estimate", format::completion_usd(estimate))
}

/// What is known of a call's cost, as a mark and a word.
pub(super) fn badge(call: &Call) -> Badge {
    let (class, word) = match call.state {
        CallState::Settled => ("settled", "settled".to_owned()),
        CallState::Pending | CallState::Open if call.is_inline() => ("inline", "inline".to_owned()),
        CallState::Pending | CallState::Open => ("pending", "pending".to_owned()),
        CallState::Unsettled => ("unsettled", "unsettled".to_owned()),
        CallState::Failed => {
            ("failed", call.http_status.map_or_else(|| "failed".to_owned(), |status| format!("failed {status}")))
        }
    };
    Badge { class, word }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_all_and_is_written_one_way() {
        let pairs: Vec<_> =
            url::form_urlencoded::parse(b"app=b&model=a%2Fx&app=c&n=100&unknown=1&state=").into_owned().collect();
        let asked = Asked::read(&pairs);
        assert_eq!(Asked::link(&asked.filters, asked.size, None), "/completions?model=a%2Fx&app=c&n=100");
    }
}
