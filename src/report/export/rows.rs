//! The rows that filters leave, newest first, a page at a time.
//!
//! Each page is a reading of its own, over a stretch of time that is made shorter while readings take long: one of few rows
//! among many would otherwise hold a transaction open over all of them, and the write-ahead log could not be cleared.

use std::time::Duration;

use crate::clock::Clock;
use crate::domain::call::Call;
use crate::domain::time::Timestamp;
use crate::store::calls::{self, CompletionFilter, Cursor};
use crate::store::{Store, StoreError};

/// Rows of one page: some megabytes.
pub const PAGE: u32 = 2_000;

/// The stretch of time that the first reading looks at.
const FIRST_STRETCH_MS: i64 = 24 * 3_600_000;

/// The shortest stretch.
const LEAST_STRETCH_MS: i64 = 60_000;

/// A reading that took less lets the next one look twice as far.
const QUICK: Duration = Duration::from_millis(100);

/// A reading that took more lets the next one look half as far: far below the 5 s that none may take.
const SLOW: Duration = Duration::from_millis(500);

/// Reads rows page by page.
#[derive(Debug)]
pub struct Rows {
    store: Store,
    clock: Clock,
    filter: CompletionFilter,
    /// The first instant that is still to be read, and the first that is not.
    since: Timestamp,
    until: Timestamp,
    /// What is left of it at the start, for the progress.
    all_ms: i64,
    stretch_ms: i64,
    /// The last row of a stretch that has more of them.
    cursor: Option<Cursor>,
    /// The first instant of that stretch.
    from: Timestamp,
}

impl Rows {
    /// Before the newest row of `filter` that there is now: what comes later is not looked for, so that it ends.
    pub async fn begin(store: Store, clock: Clock, filter: CompletionFilter) -> Result<Self, StoreError> {
        let (first, end) = match calls::bounds(&store).await? {
            Some((first, last)) => (first, last.plus_millis(1)),
            None => (Timestamp(0), Timestamp(0)),
        };
        let since = filter.since.map_or(first, |since| since.max(first));
        let until = filter.until.map_or(end, |until| until.min(end)).max(since);
        let all_ms = until.millis().saturating_sub(since.millis());
        let from = until;
        Ok(Self { store, clock, filter, since, until, all_ms, stretch_ms: FIRST_STRETCH_MS, cursor: None, from })
    }

    /// The next rows, at most [`PAGE`]; `None`: those before were the last.
    pub async fn next(&mut self) -> Result<Option<Vec<Call>>, StoreError> {
        while self.cursor.is_some() || self.until > self.since {
            if self.cursor.is_none() {
                self.from = self.until.plus_millis(-self.stretch_ms).max(self.since);
            }
            // From the row where the page before ended, not from the stretch's own end: each row is looked at once.
            let until = self.cursor.map_or(self.until, |cursor| cursor.created_at.plus_millis(1));
            let filter = CompletionFilter { since: Some(self.from), until: Some(until), ..self.filter.clone() };
            let began = self.clock.elapsed();
            let rows = calls::page(&self.store, &filter, self.cursor, PAGE).await?;
            let took = self.clock.elapsed().saturating_sub(began);
            if took > SLOW {
                self.stretch_ms = (self.stretch_ms / 2).max(LEAST_STRETCH_MS);
            } else if took < QUICK {
                self.stretch_ms = self.stretch_ms.saturating_mul(2).min(self.all_ms.max(LEAST_STRETCH_MS));
            }
            let is_full = rows.len() >= usize::try_from(PAGE).unwrap_or(usize::MAX);
            self.cursor = rows.last().filter(|_| is_full).map(Cursor::after);
            self.until = self.cursor.map_or(self.from, |cursor| cursor.created_at.plus_millis(1));
            if !rows.is_empty() {
                return Ok(Some(rows));
            }
        }
        Ok(None)
    }

    /// How much of the time there is has been read, of how much, in milliseconds.
    pub fn progress(&self) -> (u64, u64) {
        let left = self.until.millis().saturating_sub(self.since.millis());
        let positive = |ms: i64| u64::try_from(ms).unwrap_or(0);
        (positive(self.all_ms.saturating_sub(left)), positive(self.all_ms))
    }
}
