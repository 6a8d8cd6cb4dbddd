//! Sessions: the calls of one agent run or conversation, found through an index of their own.
//!
//! Nothing is summed up beforehand: each question reads rows, within a bound that it names.

use sqlx::FromRow;

use crate::domain::call::Call;
use crate::domain::money::Total;
use crate::domain::time::Timestamp;

use super::batch::Json;
use super::calls::{CallRow, CompletionFilter, Cursor};
use super::statements as sql;
use super::tx::reading;
use super::{Store, StoreError};

/// Most calls of one session that its line in a list sums up: the last ones.
pub const MAX_SUMMED: i64 = 2_000;

/// Most rows that one page of the list looks through; a page that is not full by then says how far it came.
pub const MAX_LOOKED: usize = 40_000;

/// Rows that are looked through at once.
const PIECE: usize = 1_000;

/// The sessions of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionPage {
    /// Each session and its last call that passes the filters, the latest first.
    pub sessions: Vec<(String, Cursor)>,
    /// Where the next page begins; `None` where there is nothing more.
    pub next: Option<Cursor>,
}

/// What some calls of a session have in common, and what they came to.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct SessionSums {
    /// The session.
    pub session: String,
    /// The model, as `usage.model` shows it.
    pub model: Option<String>,
    /// The application.
    pub app: Option<String>,
    /// The key's name.
    pub key_name: Option<String>,
    /// The end user.
    pub end_user: Option<String>,
    /// Calls that are not failed.
    pub completions: i64,
    /// Failed calls.
    pub failures: i64,
    /// Completions whose cost is unknown.
    pub unknown: i64,
    cost_usd: i64,
    cost_picos: i64,
    first_ms: i64,
    last_ms: i64,
}

impl SessionSums {
    /// Cost, unknown ones left out.
    pub fn cost(&self) -> Total {
        Total::from_parts(self.cost_usd, self.cost_picos)
    }

    /// When the first of them was made.
    pub fn first(&self) -> Timestamp {
        Timestamp(self.first_ms)
    }

    /// When the last of them was over.
    pub fn last(&self) -> Timestamp {
        Timestamp(self.last_ms)
    }
}

#[derive(FromRow)]
struct RecentRow {
    created_ms: i64,
    call_id: String,
    session: Option<String>,
}

/// Sessions by their last call, the latest first, at most `limit` older than `cursor`; of `filter` the time, app, key and user.
/// Looks through [`MAX_LOOKED`] rows at most, in short transactions: a page may be short and yet not the last.
pub async fn list(
    store: &Store,
    filter: &CompletionFilter,
    cursor: Option<Cursor>,
    limit: usize,
) -> Result<SessionPage, StoreError> {
    let mut page = SessionPage { next: cursor, ..SessionPage::default() };
    let mut looked = 0;
    while looked < MAX_LOOKED {
        let rows = recent(store, filter, page.next).await?;
        looked += rows.len();
        let ended = rows.len() < PIECE;
        for row in rows {
            let call_id = row.call_id.parse().map_err(|error| StoreError::unreadable(&row.call_id, &error))?;
            let at = Cursor { created_at: Timestamp(row.created_ms), call_id };
            page.next = Some(at);
            let Some(session) = row.session.filter(|session| !session.is_empty()) else { continue };
            page.sessions.push((session, at));
            if page.sessions.len() == limit {
                return Ok(page);
            }
        }
        if ended {
            page.next = None;
            break;
        }
    }
    Ok(page)
}

async fn recent(
    store: &Store,
    filter: &CompletionFilter,
    cursor: Option<Cursor>,
) -> Result<Vec<RecentRow>, StoreError> {
    let (before, before_id) = Cursor::parts(cursor);
    let piece = i64::try_from(PIECE).unwrap_or(i64::MAX);
    Ok(reading!(store, sql::SESSIONS_RECENT, |text, conn| {
        sqlx::query_as(text)
            .bind(before)
            .bind(before_id)
            .bind(piece)
            .bind(filter.since.map_or(i64::MIN, Timestamp::millis))
            .bind(filter.until.map_or(i64::MAX, Timestamp::millis))
            .bind(filter.app.as_ref())
            .bind(filter.key_name.as_ref())
            .bind(filter.end_user.as_ref())
            .fetch_all(conn)
            .await?
    }))
}

/// What the sessions came to, by all that they name, in no order; each over its last [`MAX_SUMMED`] calls.
pub async fn sums(store: &Store, sessions: &[&str]) -> Result<Vec<SessionSums>, StoreError> {
    if sessions.is_empty() {
        return Ok(Vec::new());
    }
    let keys = Json::keys(sessions)?;
    Ok(reading!(store, sql::SESSIONS_SUMS, |text, conn| {
        sqlx::query_as(text).bind(keys).bind(MAX_SUMMED).fetch_all(conn).await?
    }))
}

/// The last calls of a session that were made before `cursor`, the latest first, at most `limit`.
pub async fn calls(store: &Store, session: &str, cursor: Option<Cursor>, limit: u32) -> Result<Vec<Call>, StoreError> {
    let (before, before_id) = Cursor::parts(cursor);
    let rows: Vec<CallRow> = reading!(store, sql::SESSIONS_CALLS, |text, conn| {
        sqlx::query_as(text).bind(session).bind(before).bind(before_id).bind(i64::from(limit)).fetch_all(conn).await?
    });
    rows.into_iter().map(CallRow::into_call).collect()
}

/// The first calls of a session that were made after `cursor`, the earliest first, at most `limit`.
pub async fn later(store: &Store, session: &str, cursor: Cursor, limit: u32) -> Result<Vec<Call>, StoreError> {
    let rows: Vec<CallRow> = reading!(store, sql::SESSIONS_LATER, |text, conn| {
        sqlx::query_as(text)
            .bind(session)
            .bind(cursor.created_at.millis())
            .bind(cursor.call_id.to_string())
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await?
    });
    rows.into_iter().map(CallRow::into_call).collect()
}
