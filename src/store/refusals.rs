//! Calls that tallyd itself refused: counted by the minute, the last ones kept singly.

use crate::domain::observation::Refused;

use super::{Store, StoreError, Tx};

/// How many refusals are kept singly.
pub const KEPT: u32 = 1_000;

/// Counts the refusals and keeps the last [`KEPT`] of all.
pub async fn add(tx: &mut Tx, refused: &[&Refused]) -> Result<(), StoreError> {
    todo!()
}

/// The last refusals, newest first, at most `limit`.
pub async fn recent(store: &Store, limit: u32) -> Result<Vec<Refused>, StoreError> {
    todo!()
}
