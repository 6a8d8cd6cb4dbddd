//! Sessions as they are told: what each came to, and one call after another with what all up to it cost together.

use std::collections::BTreeMap;

use super::series::{self, Stack, TOP_OPEN};
use crate::domain::call::{Call, CallState};
use crate::domain::money::Total;
use crate::domain::time::Timestamp;
use crate::store::calls::{CompletionFilter, Cursor};
use crate::store::rollups::{Sums, TotalsRow};
use crate::store::sessions::{self, MAX_SUMMED, SessionSums};
use crate::store::{Store, StoreError};

/// Most calls of one session that are told singly: the last ones.
pub const MAX_CALLS: u32 = 1_000;

/// A session in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub session: String,
    /// Apps, keys, users and models of its calls, each with the dearest first.
    pub apps: Vec<String>,
    /// As above.
    pub keys: Vec<String>,
    /// As above.
    pub users: Vec<String>,
    /// As above.
    pub models: Vec<String>,
    /// Calls that are not failed.
    pub completions: i64,
    /// Failed calls.
    pub failures: i64,
    /// Completions whose cost is unknown.
    pub unknown: i64,
    /// What it cost, unknown ones left out.
    pub cost: Total,
    /// When its first call was made.
    pub first: Timestamp,
    /// When its last call was over.
    pub last: Timestamp,
    /// Whether it has more calls than are summed here.
    pub is_cut: bool,
}

/// A page of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The sessions, that with the latest call first.
    pub sessions: Vec<Listed>,
    /// Where the next page begins.
    pub next: Option<Cursor>,
}

/// Sessions by their last call that `filter` leaves (its time, app, key and user), at most `limit` older than `cursor`; each
/// with all its calls, whatever the filter.
pub async fn list(
    store: &Store,
    filter: &CompletionFilter,
    cursor: Option<Cursor>,
    limit: usize,
) -> Result<Page, StoreError> {
    let page = sessions::list(store, filter, cursor, limit).await?;
    let names: Vec<&str> = page.sessions.iter().map(|(session, _)| session.as_str()).collect();
    let mut sums: BTreeMap<String, Vec<SessionSums>> = BTreeMap::new();
    for row in sessions::sums(store, &names).await? {
        sums.entry(row.session.clone()).or_default().push(row);
    }
    let listed = names.iter().filter_map(|name| Some(listed(name, sums.get(*name)?))).collect();
    Ok(Page { sessions: listed, next: page.next })
}

fn listed(session: &str, rows: &[SessionSums]) -> Listed {
    let sum = |of: fn(&SessionSums) -> i64| rows.iter().map(of).fold(0_i64, i64::saturating_add);
    let (completions, failures) = (sum(|row| row.completions), sum(|row| row.failures));
    Listed {
        session: session.to_owned(),
        apps: by_cost(rows, |row| row.app.as_deref()),
        keys: by_cost(rows, |row| row.key_name.as_deref()),
        users: by_cost(rows, |row| row.end_user.as_deref()),
        models: by_cost(rows, |row| row.model.as_deref()),
        completions,
        failures,
        unknown: sum(|row| row.unknown),
        cost: rows.iter().map(SessionSums::cost).sum(),
        first: rows.iter().map(SessionSums::first).min().unwrap_or_default(),
        last: rows.iter().map(SessionSums::last).max().unwrap_or_default(),
        is_cut: completions + failures >= MAX_SUMMED,
    }
}

/// The names that `of` finds, the dearest first.
fn by_cost(rows: &[SessionSums], of: impl Fn(&SessionSums) -> Option<&str>) -> Vec<String> {
    let mut costs: BTreeMap<&str, Total> = BTreeMap::new();
    for row in rows {
        if let Some(name) = of(row) {
            *costs.entry(name).or_insert(Total::ZERO) += row.cost();
        }
    }
    let mut names: Vec<(&str, Total)> = costs.into_iter().collect();
    names.sort_by(|(a, spent), (b, less)| (less, a).cmp(&(spent, b)));
    names.into_iter().map(|(name, _)| name.to_owned()).collect()
}

/// A call of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// The call.
    pub call: Call,
    /// What it and all before it cost, unknown ones left out.
    pub together: Total,
    /// The colour of its model; 0 where there are more models than colours.
    pub colour: usize,
}

/// A session, call by call.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its calls, the first first.
    pub turns: Vec<Turn>,
    /// What they came to by model.
    pub models: Stack<Sums, Total>,
    /// When the last of them was over.
    pub end: Timestamp,
    /// Whether it has earlier calls that are not among these.
    pub is_cut: bool,
}

impl Run {
    /// When the first of the calls was made.
    pub fn start(&self) -> Timestamp {
        self.turns.first().map_or(self.end, |turn| turn.call.created_at())
    }

    /// How long calls took altogether, in milliseconds; calls at the same time count each.
    pub fn in_calls_ms(&self) -> i64 {
        self.turns.iter().filter_map(|turn| turn.call.duration_ms).fold(0, i64::saturating_add)
    }
}

/// The last [`MAX_CALLS`] calls of a session; `None` where there is none.
pub async fn run(store: &Store, session: &str) -> Result<Option<Run>, StoreError> {
    let mut calls = sessions::calls(store, session, None, MAX_CALLS + 1).await?;
    let most = usize::try_from(MAX_CALLS).unwrap_or(usize::MAX);
    let is_cut = calls.len() > most;
    calls.truncate(most);
    calls.reverse();
    if calls.is_empty() {
        return Ok(None);
    }
    let rows: Vec<TotalsRow> = calls
        .iter()
        .map(|call| TotalsRow { span: 0, keys: vec![call.model().map(str::to_owned)], sums: sums(call) })
        .collect();
    let models = series::costs(1, &rows, &[], TOP_OPEN);
    let mut together = Total::ZERO;
    let end = calls.iter().map(over).max().unwrap_or_default();
    let turns = calls
        .into_iter()
        .map(|call| {
            together += cost(&call);
            let of_model = |series: &&series::Series<Sums, Total>| !series.is_others() && series.name() == call.model();
            let colour = models.series.iter().find(of_model).map_or(0, |series| series.colour);
            Turn { call, together, colour }
        })
        .collect();
    Ok(Some(Run { turns, models, end, is_cut }))
}

/// When a call was over, as far as is known.
pub fn over(call: &Call) -> Timestamp {
    call.created_at().plus_millis(call.duration_ms.or(call.facts.generation_time_ms).unwrap_or(0))
}

fn cost(call: &Call) -> Total {
    if call.state == CallState::Failed { Total::ZERO } else { call.cost().map(Total::from).unwrap_or_default() }
}

/// What one call adds, as roll-ups count it.
fn sums(call: &Call) -> Sums {
    if call.state == CallState::Failed {
        return Sums { failures: 1, ..Sums::default() };
    }
    let facts = &call.facts;
    Sums {
        completions: 1,
        unknown: i64::from(call.cost().is_none()),
        inline: i64::from(call.is_inline()),
        cost: cost(call),
        native_tokens_prompt: facts.native_tokens_prompt.unwrap_or(0),
        native_tokens_completion: facts.native_tokens_completion.unwrap_or(0),
        native_tokens_reasoning: facts.native_tokens_reasoning.unwrap_or(0),
        native_tokens_cached: facts.native_tokens_cached.unwrap_or(0),
        cache_discount: facts.cache_discount.map(Total::from).unwrap_or_default(),
        ..Sums::default()
    }
}
