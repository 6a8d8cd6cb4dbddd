//! How far each journal has been drained into this database.

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
    todo!()
}

/// Notes how far the journal has been drained, in the transaction that drained it.
pub async fn set(tx: &mut Tx, journal_id: &str, drained: Drained) -> Result<(), StoreError> {
    todo!()
}
