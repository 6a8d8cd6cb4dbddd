//! The rows of the ledger: one call each.

use crate::domain::call::{Call, CallState};
use crate::domain::ids::{CallId, GenerationId};
use crate::domain::time::Timestamp;

use super::{Store, StoreError, Tx};

/// Which rows [`page`] shows; what is `None` restricts nothing. Values are compared exactly.
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
}

/// The rows with any of these IDs, in the order of their call IDs; locked until the end of the transaction.
pub async fn load(tx: &mut Tx, calls: &[CallId], generations: &[GenerationId]) -> Result<Vec<Call>, StoreError> {
    todo!()
}

/// Writes the rows, new or changed; ends any lease on them. Two rows of one generation are [`StoreError::Race`].
pub async fn upsert(tx: &mut Tx, calls: &[&Call]) -> Result<(), StoreError> {
    todo!()
}

/// Removes rows (that another row of the same generation has absorbed), with their records.
pub async fn delete(tx: &mut Tx, calls: &[CallId]) -> Result<(), StoreError> {
    todo!()
}

/// Keeps the remaining fields of generation records, as JSON text; a later one replaces.
pub async fn save_records(tx: &mut Tx, records: &[(CallId, &str)]) -> Result<(), StoreError> {
    todo!()
}

/// Rows that the journal `journal_id` has under way, by call ID, at most `limit` after `after`.
pub async fn under_way(
    tx: &mut Tx,
    journal_id: &str,
    after: Option<CallId>,
    limit: u32,
) -> Result<Vec<Call>, StoreError> {
    todo!()
}

/// The row with this generation or call ID, with what is kept of its generation record (JSON text).
pub async fn find(store: &Store, id: &str) -> Result<Option<(Call, Option<String>)>, StoreError> {
    todo!()
}

/// Rows that are shown (not those still without an ID), newest first, at most `limit` older than `cursor`.
pub async fn page(
    store: &Store,
    filter: &CompletionFilter,
    cursor: Option<Cursor>,
    limit: u32,
) -> Result<Vec<Call>, StoreError> {
    todo!()
}

/// Rows that are shown, oldest first, from `since` on and after `cursor`, at most `limit`: to fill a
/// new budget's counters in the transaction that adds it.
pub async fn scan(tx: &mut Tx, since: Timestamp, cursor: Option<Cursor>, limit: u32) -> Result<Vec<Call>, StoreError> {
    todo!()
}
