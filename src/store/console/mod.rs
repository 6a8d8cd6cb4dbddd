//! SQL that people write: read-only, over the documented views, bounded in time, rows and bytes.
//!
//! Two fences stand behind each other. Here the text is read for what no honest query needs
//! ([`guard`]); and the database itself is told to allow reading the views and nothing else: SQLite
//! by an authorizer, PostgreSQL by a role that owns nothing.

use std::time::Duration;

use crate::clock::Clock;
use crate::domain::table::{Cell, Table};

use super::StoreError;
use super::connect::Location;

mod guard;
mod postgres;
mod sqlite;

/// The documented views (docs/sql.md), all that a query may read.
pub const VIEWS: [&str; 12] = [
    "usage",
    "usage_tags",
    "spend_by_day",
    "spend_by_bucket",
    "budget_status",
    "budget_values",
    "budget_limits",
    "budget_changes",
    "budget_forecast",
    "alert_history",
    "spike_history",
    "refusals",
];

/// Longest query read, in bytes.
pub const MAX_QUERY: usize = 256 * 1024;

/// Bounds of one query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SqlLimits {
    /// Longest time it may run.
    pub time: Duration,
    /// Most rows returned.
    pub rows: usize,
    /// Most bytes returned, as text.
    pub bytes: usize,
}

impl Default for SqlLimits {
    fn default() -> Self {
        Self { time: Duration::from_secs(5), rows: 100_000, bytes: 64 * 1024 * 1024 }
    }
}

/// Why a query gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// The query is not allowed, wrong, or refers to what is not there.
    #[error("{0}")]
    Refused(String),
    /// It ran too long.
    #[error("the query took longer than {} s; narrow it, for example by created_ms", .0.as_secs())]
    TimedOut(Duration),
    /// This database can not answer safely; says why and what to do.
    #[error("{0}")]
    NotAvailable(String),
    /// The database itself.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Runs one query, read-only, on the database at `url`.
pub async fn run(url: &str, query: &str, limits: &SqlLimits, clock: &Clock) -> Result<Table, SqlError> {
    if query.len() > MAX_QUERY {
        return Err(SqlError::Refused(format!("the query is longer than {MAX_QUERY} bytes")));
    }
    guard::check(query).map_err(SqlError::Refused)?;
    match Location::parse(url)? {
        Location::Sqlite(path) => {
            let (query, limits, clock) = (query.to_owned(), *limits, clock.clone());
            tokio::task::spawn_blocking(move || sqlite::run(&path, &query, &limits, &clock))
                .await
                .map_err(|error| SqlError::Refused(format!("the query broke off: {error}")))?
        }
        Location::Postgres(connect) => postgres::run(*connect, query, limits, clock).await,
    }
}

/// Rows gathered up to the bounds.
struct Gathered {
    table: Table,
    bytes: usize,
    limits: SqlLimits,
}

impl Gathered {
    fn new(columns: Vec<String>, limits: &SqlLimits) -> Self {
        Self { table: Table { columns, ..Table::default() }, bytes: 0, limits: *limits }
    }

    /// Takes a row; `false`, and the table says why, when a bound is reached.
    fn take(&mut self, row: Vec<Cell>) -> bool {
        if self.table.rows.len() >= self.limits.rows {
            self.table.cut = Some(format!("only the first {} rows are shown", self.limits.rows));
            return false;
        }
        self.bytes += row.iter().map(size).sum::<usize>();
        if self.bytes > self.limits.bytes {
            self.table.cut = Some(format!(
                "only the first {} rows are shown: more than {} bytes",
                self.table.rows.len(),
                self.limits.bytes
            ));
            return false;
        }
        self.table.rows.push(row);
        true
    }
}

/// What a cell takes as text, about; never nothing, so that empty rows are bounded too.
fn size(cell: &Cell) -> usize {
    match cell {
        Cell::Null | Cell::Boolean(_) => 8,
        Cell::Integer(_) | Cell::Real(_) => 16,
        Cell::Decimal(text) | Cell::Text(text) => 8 + text.len(),
    }
}
