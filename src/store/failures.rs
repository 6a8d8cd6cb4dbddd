//! What went wrong, read from the rows: errors by kind, flagged calls, and which models have answered.

use crate::domain::time::Timestamp;

use super::rollups::{self, Dimension, TotalsQuery};
use super::statements as sql;
use super::tx::reading;
use super::{Store, StoreError};

/// Errors of one kind, told in one way, on one path, of one model.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Errors {
    /// The reply's HTTP status; `None` when none came.
    pub http_status: Option<i64>,
    /// The error's code: of an error in a good reply, the status it would have had.
    pub error_code: Option<String>,
    /// The error's type.
    pub error_type: String,
    /// OpenRouter's own message.
    pub error_message: Option<String>,
    /// The path below `/api/v1/`; `None` for calls that did not pass through.
    pub endpoint: Option<String>,
    /// The model asked for; `None` where none was read.
    pub requested_model: Option<String>,
    /// How many.
    pub calls: i64,
    /// The last one's `created_at`, in unix milliseconds.
    pub last_ms: i64,
}

/// Calls with the same flags, of one app, on one path, of one model.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Flagged {
    /// As the column holds them: joined by commas.
    pub flags: String,
    /// The application; `None` where none was named.
    pub app: Option<String>,
    /// The path below `/api/v1/`.
    pub endpoint: Option<String>,
    /// The model asked for.
    pub requested_model: Option<String>,
    /// How many.
    pub calls: i64,
    /// The last one's `created_at`, in unix milliseconds.
    pub last_ms: i64,
}

/// Errors in `since..until`, most frequent first, at most `limit` groups.
pub async fn errors(store: &Store, since: Timestamp, until: Timestamp, limit: u32) -> Result<Vec<Errors>, StoreError> {
    Ok(reading!(store, sql::FAILURES_ERRORS, |text, conn| {
        sqlx::query_as(text).bind(since.millis()).bind(until.millis()).bind(i64::from(limit)).fetch_all(conn).await?
    }))
}

/// Flagged calls in `since..until`, most frequent first, at most `limit` groups.
pub async fn flagged(
    store: &Store,
    since: Timestamp,
    until: Timestamp,
    limit: u32,
) -> Result<Vec<Flagged>, StoreError> {
    Ok(reading!(store, sql::FAILURES_FLAGGED, |text, conn| {
        sqlx::query_as(text).bind(since.millis()).bind(until.millis()).bind(i64::from(limit)).fetch_all(conn).await?
    }))
}

/// The models that have answered since then (the quarter of an hour it lies in), sorted, at most `limit`.
pub async fn models(store: &Store, since: Timestamp, limit: u32) -> Result<Vec<String>, StoreError> {
    let spans = vec![(since.bucket(), Timestamp(i64::MAX))];
    let query = TotalsQuery { spans, by: vec![Dimension::Model], ..TotalsQuery::default() };
    let rows = rollups::totals(store, &query).await?;
    let answered = rows.into_iter().filter(|row| row.sums.completions > 0);
    let mut models: Vec<String> = answered.filter_map(|row| row.keys.into_iter().next().flatten()).collect();
    models.sort_unstable();
    models.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(models)
}
