//! How large the database is.

use super::statements as sql;
use super::tx::reading;
use super::{Store, StoreError};

/// Bytes of the database: SQLite's file without its log, PostgreSQL's whole database.
pub async fn bytes(store: &Store) -> Result<u64, StoreError> {
    let bytes: i64 = reading!(store, sql::SIZE_BYTES, |text, conn| sqlx::query_scalar(text).fetch_one(conn).await?);
    Ok(u64::try_from(bytes).unwrap_or(0))
}
