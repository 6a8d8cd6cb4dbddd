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

/// What stands behind a journal's ID where the number of its last transaction is kept. No ID has a space in it.
const TRANSACTIONS: &str = " transactions";

/// Where the number of a journal's last transaction is kept.
pub(super) fn transactions(journal_id: &str) -> String {
    format!("{journal_id}{TRANSACTIONS}")
}

/// How many transactions were committed for this journal, in this life and the ones before.
pub async fn count(store: &Store, journal_id: &str) -> Result<u64, StoreError> {
    Ok(get(store, &transactions(journal_id)).await?.map_or(0, |number| number.segment))
}

/// The number of the last transaction that was committed for this journal; `None` before the first. Waits for one that
/// is under way still, and lets none begin to write it before this one has ended: so what is told here is final.
pub async fn last_transaction(tx: &mut Tx, journal_id: &str) -> Result<Option<u64>, StoreError> {
    let name = transactions(journal_id);
    let row: Option<(i64, i64)> =
        in_tx!(tx, sql::PROGRESS_LAST, |text, conn| sqlx::query_as(text).bind(&name).fetch_optional(conn).await?);
    row.map(|(number, _)| u64::try_from(number).map_err(|error| StoreError::unreadable(&name, &error))).transpose()
}

/// Notes the number of this transaction.
pub async fn number_transaction(tx: &mut Tx, journal_id: &str, number: u64) -> Result<(), StoreError> {
    set(tx, &transactions(journal_id), Drained { segment: number, offset: 0 }).await
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
