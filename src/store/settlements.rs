//! Which generation is to be read next, and by whom.

use crate::domain::ids::{CallId, GenerationId};
use crate::domain::time::Timestamp;

use super::{Store, StoreError, Tx};

/// A generation whose record is to be read now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The row.
    pub call_id: CallId,
    /// The generation.
    pub generation_id: GenerationId,
    /// SHA-256 (hex) of the key that made it; `None` where only a name or no key is known.
    pub key_sha256: Option<String>,
    /// The key's name; `None`: read with `openrouter.api_key`.
    pub key_name: Option<String>,
    /// Whether the reply named a cost.
    pub cost_known: bool,
    /// When the reading was due.
    pub due: Timestamp,
}

/// Which parked rows a key wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parked<'a> {
    /// Those made with the key of this SHA-256 (hex).
    Fingerprint(&'a str),
    /// Those told with this key name alone.
    Name(&'a str),
    /// Those that name no key.
    NoKey,
}

/// What waits to be settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Rows whose reading is due.
    pub due: i64,
    /// Rows whose reading is planned for later.
    pub waiting: i64,
    /// Rows whose key no running instance holds.
    pub parked: i64,
    /// When the oldest reading that is due was due.
    pub oldest_due: Option<Timestamp>,
}

/// Leases rows that are due at `now` and leased by nobody: unknown costs first, then the most recently
/// due. Of rows that carry a fingerprint, only those whose key is in `held` (SHA-256, hex); rows without
/// one are for the caller to judge. A lease ends at `lease_until`, or when the row is written again.
pub async fn lease(
    tx: &mut Tx,
    owner: &str,
    now: Timestamp,
    lease_until: Timestamp,
    held: &[String],
    limit: u32,
) -> Result<Vec<Due>, StoreError> {
    todo!()
}

/// Ends leases early: those of `owner`, or all (`None`: the caller is the database's only daemon). Returns how many.
pub async fn release(tx: &mut Tx, owner: Option<&str>) -> Result<u64, StoreError> {
    todo!()
}

/// Parks rows that are due at `now` and whose fingerprint is not in `held`: reason `key not held`, no
/// reading planned. Returns how many, at most `limit`.
pub async fn park(tx: &mut Tx, now: Timestamp, held: &[String], limit: u32) -> Result<u64, StoreError> {
    todo!()
}

/// Plans a reading at `now` for the rows that `parked` names. Returns how many.
pub async fn unpark(tx: &mut Tx, parked: Parked<'_>, now: Timestamp) -> Result<u64, StoreError> {
    todo!()
}

/// Parked rows whose settling began before `before`, at most `limit`: to be given up.
pub async fn parked_before(store: &Store, before: Timestamp, limit: u32) -> Result<Vec<CallId>, StoreError> {
    todo!()
}

/// What waits at `now`.
pub async fn backlog(store: &Store, now: Timestamp) -> Result<Backlog, StoreError> {
    todo!()
}
