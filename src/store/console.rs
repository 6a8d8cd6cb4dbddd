//! SQL that people write: read-only, over the documented views, bounded in time, rows and bytes.

use std::time::Duration;

use super::StoreError;

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

/// One cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// NULL.
    Null,
    /// A whole number.
    Integer(i64),
    /// A floating number.
    Real(f64),
    /// An exact decimal number, as text (PostgreSQL NUMERIC).
    Decimal(String),
    /// True or false.
    Boolean(bool),
    /// Text.
    Text(String),
}

/// What a query gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// The columns' names.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<Cell>>,
    /// Whether rows were left off at a bound.
    pub truncated: bool,
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
pub async fn run(url: &str, query: &str, limits: SqlLimits) -> Result<Table, SqlError> {
    todo!()
}
