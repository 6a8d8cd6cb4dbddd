//! How far each journal has been drained into this database.

use super::statements as sql;
use super::tx::{in_tx, reading};
use super::{Store, StoreError, Tx};

/// A place in a journal: everything before it is in the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Drained {
    /// The segment.
    pub segment: u64,
    /// The offset in it, in bytes.
    pub offset: u64,
}

/// How far the journal has been drained; `None` when it is new here.
pub async fn get(store: &Store, journal_id: &str) -> Result<Option<Drained>, StoreError> {
    let row: Option<(i64, i64)> = reading!(store, sql::PROGRESS_GET, |text, conn| {
        sqlx::query_as(text).bind(journal_id).fetch_optional(conn).await?
    });
    row.map(|(segment, offset)| {
        let place = |value: i64| {
            u64::try_from(value)
                .map_err(|error| StoreError::unreadable(&format!("journal_progress {journal_id}"), &error))
        };
        Ok(Drained { segment: place(segment)?, offset: place(offset)? })
    })
    .transpose()
}

/// Notes how far the journal has been drained, in the transaction that drained it.
pub async fn set(tx: &mut Tx, journal_id: &str, drained: Drained) -> Result<(), StoreError> {
    let segment = i64::try_from(drained.segment).map_err(StoreError::encoding)?;
    let offset = i64::try_from(drained.offset).map_err(StoreError::encoding)?;
    in_tx!(tx, sql::PROGRESS_SET, |text, conn| {
        sqlx::query(text).bind(journal_id).bind(segment).bind(offset).execute(conn).await?;
    });
    Ok(())
}
