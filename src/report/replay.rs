//! What a budget would have done over the last days: the ledger's rows through [`crate::domain::replay`].

use chrono_tz::Tz;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use utoipa::ToSchema;

use super::span::{self, SpanError};
use super::words;
use crate::domain::alert::Crossing;
use crate::domain::budget::Budget;
use crate::domain::replay::{Course, Replay, Replayed};
use crate::domain::table::{Cell, Table};
use crate::domain::time::Timestamp;
use crate::store::calls::{self, Cursor};
use crate::store::{Store, StoreError};

/// Most rows that a page or the API goes through: more would keep whoever asks waiting.
pub const MAX_ROWS_AT_ONCE: u64 = 1_000_000;

/// Replays that pages and the API make at once; further ones wait.
pub const REPLAYS_AT_ONCE: usize = 2;

/// Rows read at once; each page is a transaction of its own, so that a long replay holds nothing up.
const PAGE: u32 = 5_000;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// More rows than the caller waits for.
    #[error(
        "that is over {0} completions to go through: ask for fewer days, or use `tallyd budget replay`, which takes any number"
    )]
    TooMany(u64),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Runs `budget` over the rows from `since` until before `until`, at most `most` of them, when `turns` has a turn for it.
pub async fn run(
    store: &Store,
    turns: &Semaphore,
    budget: Budget,
    since: Timestamp,
    until: Timestamp,
    most: u64,
) -> Result<Course, ReplayError> {
    // It is never closed.
    let _turn = turns.acquire().await;
    let mut replay = Replay::new(budget, since);
    let from = replay.reads_from();
    let mut cursor: Option<Cursor> = None;
    let mut rows = 0_u64;
    loop {
        let page = calls::history(store, from, until, cursor, PAGE).await?;
        rows += page.len() as u64;
        if rows > most {
            return Err(ReplayError::TooMany(most));
        }
        for call in &page {
            replay.call(call);
        }
        match page.last() {
            Some(last) if page.len() == PAGE as usize => cursor = Some(Cursor::after(last)),
            _ => return Ok(replay.end(until)),
        }
    }
}

/// From when until when, as people write it: without a beginning the last 30 days, without an end up to now.
pub fn span(
    since: Option<&str>,
    until: Option<&str>,
    zone: Tz,
    now: Timestamp,
) -> Result<(Timestamp, Timestamp), SpanError> {
    let since = span::parse_time(since.unwrap_or("30d"), zone, now)?;
    let until = until.map_or(Ok(now), |until| span::parse_time(until, zone, now))?;
    if until < since { Err(SpanError::Backwards { since, until }) } else { Ok((since, until)) }
}

/// What it had told, one a row.
pub fn crossings(course: &Course) -> Table {
    let columns = ["crossed_at", "value", "threshold", "spent_usd", "limit_usd", "window_start", "window_end"];
    let row = |crossing: &Crossing| {
        vec![
            Cell::Text(crossing.crossed_at.to_iso()),
            // NULL for a budget that is not of each value.
            Some(&*crossing.key.value).filter(|value| !value.is_empty()).into(),
            Cell::Text(crossing.key.threshold.to_string()),
            Cell::Decimal(crossing.spent.to_decimal()),
            Cell::Decimal(crossing.key.limit.to_decimal()),
            Cell::Text(crossing.window.start.to_iso()),
            instant(crossing.window.end),
        ]
    };
    Table { columns: columns.map(str::to_owned).into(), rows: course.crossings.iter().map(row).collect(), cut: None }
}

/// What happened window by window, one a row.
pub fn windows(course: &Course) -> Table {
    let columns = [
        "window_start",
        "window_end",
        "limit_usd",
        "completions",
        "spent_usd",
        "alerts",
        "refused",
        "not_spent_usd",
        "first_refused_at",
        "unknown",
    ];
    let row = |part: &Replayed| {
        vec![
            Cell::Text(part.window.start.to_iso()),
            instant(part.window.end),
            Cell::Decimal(part.limit.to_decimal()),
            count(part.calls),
            Cell::Decimal(part.spent.to_decimal()),
            count(part.told),
            count(part.refused),
            Cell::Decimal(part.not_spent.to_decimal()),
            instant(part.first_refused),
            count(part.unknown),
        ]
    };
    Table { columns: columns.map(str::to_owned).into(), rows: course.windows.iter().map(row).collect(), cut: None }
}

/// What a budget would have done, as it is told.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReplayTold {
    /// The budget.
    pub budget: String,
    /// From when.
    #[schema(format = DateTime)]
    pub since: String,
    /// Until when; null: now.
    #[schema(format = DateTime)]
    pub until: Option<String>,
    /// Completions that it would have counted.
    pub completions: u64,
    /// What they cost, in dollars.
    pub spent_usd: String,
    /// Calls that it would have refused.
    pub refused: u64,
    /// What those cost, in dollars.
    pub not_spent_usd: String,
    /// When it would have refused the first; null: none.
    #[schema(format = DateTime)]
    pub first_refused_at: Option<String>,
    /// Calls whose cost is not known.
    pub unknown: u64,
    /// What it would have told, one object a crossing.
    #[schema(value_type = Vec<Object>)]
    pub alerts: Vec<Map<String, Value>>,
    /// Its windows, one object each.
    #[schema(value_type = Vec<Object>)]
    pub windows: Vec<Map<String, Value>>,
}

/// What a budget would have done, as API and shell tell it.
pub fn told(course: &Course) -> ReplayTold {
    let whole = &course.whole;
    ReplayTold {
        budget: course.budget.name.to_string(),
        since: course.from.to_iso(),
        until: whole.window.end.map(Timestamp::to_iso),
        completions: whole.calls,
        spent_usd: whole.spent.to_decimal(),
        refused: whole.refused,
        not_spent_usd: whole.not_spent.to_decimal(),
        first_refused_at: whole.first_refused.map(Timestamp::to_iso),
        unknown: whole.unknown,
        alerts: super::output::json(&crossings(course)),
        windows: super::output::json(&windows(course)),
    }
}

/// It in one sentence.
pub fn summary(course: &Course) -> String {
    let whole = &course.whole;
    let counted =
        |number: u64, one: &str, plural: &str| words::counted(i64::try_from(number).unwrap_or(i64::MAX), one, plural);
    let told = counted(whole.told, "alert", "alerts");
    let spent = super::format::usd(whole.spent);
    if whole.refused == 0 {
        return format!("{told}, no call refused, {spent} spent");
    }
    let refused = counted(whole.refused, "call", "calls");
    format!(
        "{told}, {refused} refused, {} of {} not spent",
        super::format::usd(whole.not_spent),
        super::format::usd(whole.not_spent + whole.spent)
    )
}

fn count(number: u64) -> Cell {
    Cell::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn instant(at: Option<Timestamp>) -> Cell {
    at.map_or(Cell::Null, |at| Cell::Text(at.to_iso()))
}
