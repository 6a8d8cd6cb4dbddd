//! The rows of the ledger: one call each.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::domain::call::{Call, CallState};
use crate::domain::ids::{CallId, GenerationId};
use crate::domain::money::Total;
use crate::domain::time::Timestamp;

use super::batch::{Json, SqliteQuery, SqliteRow, storable};
use super::statements as sql;
use super::tx::{in_tx, reading, write_rows};
use super::{Store, StoreError, Tx};

mod row;

pub(super) use row::CallRow;

/// Most rows that go to the database as one parameter: bounds its memory at some megabytes.
const CHUNK: usize = 2_000;

/// Most rows that a search for rare ones looks through, and how many of them at once.
pub const MAX_LOOKED: i64 = 400_000;
const PIECE: i64 = 20_000;

/// Which rows [`page`] shows; what is `None` restricts nothing. Values are compared exactly; an empty text stands for
/// "none named".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompletionFilter {
    /// `created_at` not before.
    pub since: Option<Timestamp>,
    /// `created_at` before.
    pub until: Option<Timestamp>,
    /// The application.
    pub app: Option<String>,
    /// The key's name.
    pub key_name: Option<String>,
    /// The model, as `usage.model` shows it.
    pub model: Option<String>,
    /// The provider.
    pub provider: Option<String>,
    /// The end user.
    pub end_user: Option<String>,
    /// The session.
    pub session: Option<String>,
    /// The endpoint.
    pub endpoint: Option<String>,
    /// The state.
    pub state: Option<CallState>,
    /// The error's type.
    pub error_type: Option<String>,
    /// The model asked for.
    pub requested_model: Option<String>,
    /// The reply's HTTP status.
    pub http_status: Option<u16>,
    /// One of the row's flags.
    pub flag: Option<String>,
    /// A tag's name and value.
    pub tag: Option<(String, String)>,
}

/// Where a page ends: the last row it showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Its `created_at`.
    pub created_at: Timestamp,
    /// Its ID.
    pub call_id: CallId,
}

impl Cursor {
    /// The cursor after `call`.
    pub fn after(call: &Call) -> Self {
        Self { created_at: call.created_at(), call_id: call.call_id }
    }

    /// Before all that was made at `at` or later.
    pub fn before(at: Timestamp) -> Self {
        Self { created_at: at, call_id: CallId::new(Timestamp(0), 0) }
    }

    /// As statements take it that ask for what is older; without one all is: no call ID begins with '~'.
    pub(super) fn parts(cursor: Option<Self>) -> (i64, String) {
        cursor.map_or_else(
            || (i64::MAX, "~".to_owned()),
            |cursor| (cursor.created_at.millis(), cursor.call_id.to_string()),
        )
    }
}

/// As URLs and answers have it.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.created_at.millis(), self.call_id)
    }
}

/// The text is no [`Cursor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no place in the list of completions")]
pub struct NoCursor;

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let (at, call) = text.split_once('_').ok_or(NoCursor)?;
        let created_at = Timestamp(at.parse().map_err(|_| NoCursor)?);
        Ok(Self { created_at, call_id: call.parse().map_err(|_| NoCursor)? })
    }
}

/// The rows with any of these IDs, in the order of their call IDs; locked until the end of the transaction.
pub async fn load(tx: &mut Tx, calls: &[CallId], generations: &[GenerationId]) -> Result<Vec<Call>, StoreError> {
    if calls.is_empty() && generations.is_empty() {
        return Ok(Vec::new());
    }
    let (calls, generations) = (Json::keys(calls)?, Json::keys(generations)?);
    let rows: Vec<CallRow> = in_tx!(tx, sql::CALLS_LOAD, |text, conn| {
        sqlx::query_as(text).bind(calls).bind(generations).fetch_all(conn).await?
    });
    rows.into_iter().map(CallRow::into_call).collect()
}

/// The rows that opened these jobs, in the order of their call IDs; locked until the end of the transaction.
pub async fn of_jobs(tx: &mut Tx, jobs: &[String]) -> Result<Vec<Call>, StoreError> {
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let jobs = Json::keys(jobs)?;
    let rows: Vec<CallRow> =
        in_tx!(tx, sql::CALLS_OF_JOBS, |text, conn| sqlx::query_as(text).bind(jobs).fetch_all(conn).await?);
    rows.into_iter().map(CallRow::into_call).collect()
}

/// Writes the rows, new or changed; ends any lease on them. No call may stand in `calls` twice. Two rows
/// of one generation are [`StoreError::Race`].
pub async fn upsert(tx: &mut Tx, calls: &[&Call]) -> Result<(), StoreError> {
    let mut sorted = calls.to_vec();
    // Two writers that lock rows in one order can not wait for each other.
    sorted.sort_unstable_by_key(|call| call.call_id);
    for chunk in sorted.chunks(CHUNK) {
        let rows: Vec<CallRow> = chunk.iter().map(|call| CallRow::of(call)).collect::<Result<_, _>>()?;
        write_rows!(tx, sql::CALLS_UPSERT, rows);
    }
    Ok(())
}

/// Removes rows (that another row of the same generation has absorbed), with their records.
pub async fn delete(tx: &mut Tx, calls: &[CallId]) -> Result<(), StoreError> {
    if calls.is_empty() {
        return Ok(());
    }
    for statement in [sql::CALLS_DELETE, sql::CALLS_DELETE_RECORDS] {
        let calls = Json::keys(calls)?;
        in_tx!(tx, statement, |text, conn| {
            sqlx::query(text).bind(calls).execute(conn).await?;
        });
    }
    Ok(())
}

#[derive(Serialize)]
struct RecordRow<'a> {
    call_id: CallId,
    body: Cow<'a, str>,
}

impl SqliteRow for RecordRow<'_> {
    fn bind(self, query: SqliteQuery<'_>) -> SqliteQuery<'_> {
        query.bind(self.call_id.to_string()).bind(self.body.into_owned())
    }
}

/// Keeps the remaining fields of generation records, as JSON text; a later one replaces. No call may stand twice.
pub async fn save_records(tx: &mut Tx, records: &[(CallId, &str)]) -> Result<(), StoreError> {
    for chunk in records.chunks(CHUNK) {
        let rows = chunk.iter().map(|(call_id, body)| RecordRow { call_id: *call_id, body: storable(body) });
        write_rows!(tx, sql::CALLS_SAVE_RECORDS, rows);
    }
    Ok(())
}

/// Rows that the journal `journal_id` has under way, by call ID, at most `limit` after `after`.
pub async fn under_way(
    tx: &mut Tx,
    journal_id: &str,
    after: Option<CallId>,
    limit: u32,
) -> Result<Vec<Call>, StoreError> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let rows: Vec<CallRow> = in_tx!(tx, sql::CALLS_UNDER_WAY, |text, conn| {
        sqlx::query_as(text).bind(journal_id).bind(after).bind(i64::from(limit)).fetch_all(conn).await?
    });
    rows.into_iter().map(CallRow::into_call).collect()
}

/// Rows for which budgets hold something back: their cost is to become known, oldest first; those after `cursor`.
pub async fn held(tx: &mut Tx, cursor: Option<Cursor>, limit: u32) -> Result<Vec<Call>, StoreError> {
    let after = cursor.map_or(i64::MIN, |cursor| cursor.created_at.millis());
    let after_id = cursor.map(|cursor| cursor.call_id.to_string()).unwrap_or_default();
    let rows: Vec<CallRow> = in_tx!(tx, sql::CALLS_HELD, |text, conn| {
        sqlx::query_as(text).bind(after).bind(after_id).bind(i64::from(limit)).fetch_all(conn).await?
    });
    rows.into_iter().map(CallRow::into_call).collect()
}

/// The row with this generation or call ID, with what is kept of its generation record (JSON text).
pub async fn find(store: &Store, id: &str) -> Result<Option<(Call, Option<String>)>, StoreError> {
    let row: Option<CallRow> =
        reading!(store, sql::CALLS_FIND, |text, conn| sqlx::query_as(text).bind(id).fetch_optional(conn).await?);
    let Some(row) = row else { return Ok(None) };
    let record: Option<String> = reading!(store, sql::CALLS_RECORD, |text, conn| {
        sqlx::query_scalar(text).bind(&row.call_id).fetch_optional(conn).await?
    });
    Ok(Some((row.into_call()?, record)))
}

/// Rows that are shown (not those still without an ID), newest first, at most `limit` older than `cursor`.
pub async fn page(
    store: &Store,
    filter: &CompletionFilter,
    cursor: Option<Cursor>,
    limit: u32,
) -> Result<Vec<Call>, StoreError> {
    let since = filter.since.map_or(i64::MIN, Timestamp::millis);
    let until = filter.until.map_or(i64::MAX, Timestamp::millis);
    let (before, before_id) = Cursor::parts(cursor);
    let (tag_name, tag_value) = filter.tag.as_ref().map_or((None, None), |(name, value)| (Some(name), Some(value)));
    let rows: Vec<CallRow> = reading!(store, sql::CALLS_PAGE, |text, conn| {
        sqlx::query_as(text)
            .bind(since)
            .bind(until)
            .bind(before)
            .bind(before_id)
            .bind(filter.app.as_ref())
            .bind(filter.key_name.as_ref())
            .bind(filter.model.as_ref())
            .bind(filter.provider.as_ref())
            .bind(filter.end_user.as_ref())
            .bind(filter.session.as_ref())
            .bind(filter.endpoint.as_ref())
            .bind(filter.state.map(CallState::as_str))
            .bind(filter.error_type.as_ref())
            .bind(tag_name)
            .bind(tag_value)
            .bind(filter.requested_model.as_ref())
            .bind(filter.http_status.map(i64::from))
            .bind(filter.flag.as_deref().map(super::drivers::like_literal))
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await?
    });
    rows.into_iter().map(CallRow::into_call).collect()
}

/// What was found of rows that may be rare.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Searched {
    /// The rows, newest first.
    pub calls: Vec<Call>,
    /// Where the search ended before it had all that was wanted, and before the last row.
    pub looked_to: Option<Timestamp>,
}

/// As [`page`], but looks through at most [`MAX_LOOKED`] rows, in short transactions: filters may leave few of many.
pub async fn search(
    store: &Store,
    filter: &CompletionFilter,
    cursor: Option<Cursor>,
    limit: u32,
) -> Result<Searched, StoreError> {
    let time = CompletionFilter { since: filter.since, until: filter.until, ..CompletionFilter::default() };
    if *filter == time {
        return Ok(Searched { calls: page(store, filter, cursor, limit).await?, looked_to: None });
    }
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut found = Searched::default();
    let mut piece = filter.clone();
    for _ in 0..MAX_LOOKED / PIECE {
        let (before, before_id) = Cursor::parts(cursor);
        let boundary: Option<i64> = reading!(store, sql::CALLS_BOUNDARY, |text, conn| {
            sqlx::query_scalar(text)
                .bind(filter.since.map_or(i64::MIN, Timestamp::millis))
                .bind(piece.until.map_or(i64::MAX, Timestamp::millis))
                .bind(before)
                .bind(before_id)
                .bind(PIECE)
                .fetch_optional(conn)
                .await?
        });
        piece.since = boundary.map(Timestamp).or(filter.since);
        let rest = u32::try_from(wanted - found.calls.len()).unwrap_or(limit);
        found.calls.extend(page(store, &piece, cursor, rest).await?);
        found.looked_to = boundary.map(Timestamp);
        if found.calls.len() >= wanted || boundary.is_none() {
            found.looked_to = None;
            break;
        }
        // All that was made in the boundary's millisecond has been looked at.
        piece.until = boundary.map(Timestamp);
    }
    Ok(found)
}

/// Rows that were given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsettled {
    /// How many there are; at most [`MAX_UNSETTLED`].
    pub calls: i64,
    /// Of how many the reply told the cost.
    pub told: i64,
    /// What those cost, by their replies.
    pub cost: Total,
}

/// Most rows that are counted as given up.
pub const MAX_UNSETTLED: i64 = 1_000;

/// The rows that were made since `since` and given up.
pub async fn unsettled(store: &Store, since: Timestamp) -> Result<Unsettled, StoreError> {
    let (calls, told, usd, picos): (i64, i64, i64, i64) = reading!(store, sql::CALLS_UNSETTLED, |text, conn| {
        sqlx::query_as(text).bind(since.millis()).bind(MAX_UNSETTLED).fetch_one(conn).await?
    });
    Ok(Unsettled { calls, told, cost: Total::from_parts(usd, picos) })
}

/// The last rows that carry `flag`, created from `since` until before `until`, at most `limit`.
pub async fn flagged(
    store: &Store,
    flag: &str,
    since: Timestamp,
    until: Timestamp,
    limit: u32,
) -> Result<Vec<Call>, StoreError> {
    let rows: Vec<CallRow> = reading!(store, sql::CALLS_FLAGGED, |text, conn| {
        sqlx::query_as(text)
            .bind(since.millis())
            .bind(until.millis())
            .bind(super::drivers::like_literal(flag))
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await?
    });
    rows.into_iter().map(CallRow::into_call).collect()
}

/// The first and the last `created_at` of all rows; `None`: there is none.
pub async fn bounds(store: &Store) -> Result<Option<(Timestamp, Timestamp)>, StoreError> {
    let (first, last): (Option<i64>, Option<i64>) =
        reading!(store, sql::CALLS_BOUNDS, |text, conn| sqlx::query_as(text).fetch_one(conn).await?);
    Ok(first.zip(last).map(|(first, last)| (Timestamp(first), Timestamp(last))))
}

/// Rows whose cost is unknown, created from `since` until before `until`, newest first, at most `limit`.
pub async fn unknown(store: &Store, since: Timestamp, until: Timestamp, limit: u32) -> Result<Vec<Call>, StoreError> {
    let rows: Vec<CallRow> = reading!(store, sql::CALLS_UNKNOWN, |text, conn| {
        sqlx::query_as(text).bind(since.millis()).bind(until.millis()).bind(i64::from(limit)).fetch_all(conn).await?
    });
    rows.into_iter().map(CallRow::into_call).collect()
}

/// Rows that are called by one of these permaslugs because no reply named their model, at most `limit`.
pub async fn unnamed(store: &Store, permaslugs: &[&str], limit: u32) -> Result<Vec<CallId>, StoreError> {
    if permaslugs.is_empty() {
        return Ok(Vec::new());
    }
    let names = Json::keys(permaslugs)?;
    let ids: Vec<String> = reading!(store, sql::CALLS_UNNAMED, |text, conn| {
        sqlx::query_scalar(text).bind(names).bind(i64::from(limit)).fetch_all(conn).await?
    });
    ids.iter().map(|id| id.parse().map_err(|error| StoreError::unreadable(id, &error))).collect()
}

/// Rows that are shown, oldest first, from `since` on and after `cursor`, at most `limit`: to fill a
/// new budget's counters in the transaction that adds it.
pub async fn scan(tx: &mut Tx, since: Timestamp, cursor: Option<Cursor>, limit: u32) -> Result<Vec<Call>, StoreError> {
    scan_rows(tx, since, cursor, limit).await?.into_iter().map(CallRow::into_call).collect()
}

/// The same outside a transaction, up to `until` (exclusive): for what reads years of rows, a page at a time.
pub async fn history(
    store: &Store,
    since: Timestamp,
    until: Timestamp,
    cursor: Option<Cursor>,
    limit: u32,
) -> Result<Vec<Call>, StoreError> {
    let after = cursor.map_or(since.millis(), |cursor| cursor.created_at.millis());
    let after_id = cursor.map(|cursor| cursor.call_id.to_string()).unwrap_or_default();
    let rows: Vec<CallRow> = reading!(store, sql::CALLS_SCAN, |text, conn| {
        sqlx::query_as(text)
            .bind(after)
            .bind(after_id)
            .bind(until.millis())
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await?
    });
    rows.into_iter().map(CallRow::into_call).collect()
}

pub(super) async fn scan_rows(
    tx: &mut Tx,
    since: Timestamp,
    cursor: Option<Cursor>,
    limit: u32,
) -> Result<Vec<CallRow>, StoreError> {
    let after = cursor.map_or(since.millis(), |cursor| cursor.created_at.millis());
    let after_id = cursor.map(|cursor| cursor.call_id.to_string()).unwrap_or_default();
    Ok(in_tx!(tx, sql::CALLS_SCAN, |text, conn| {
        sqlx::query_as(text).bind(after).bind(after_id).bind(i64::MAX).bind(i64::from(limit)).fetch_all(conn).await?
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_list_reads_back() {
        let cursor = Cursor { created_at: Timestamp(123), call_id: CallId::new(Timestamp(7), 3) };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        assert_eq!("x_y".parse::<Cursor>(), Err(NoCursor));
    }
}
