//! What the settler asks of the database: which rows are to be read now, and when to look again.

use std::time::Duration;

use crate::domain::ids::CallId;
use crate::domain::time::Timestamp;
use crate::store::settlements::{self, Due};
use crate::store::{Store, StoreError};

use super::keys::HeldKey;

/// Rows parked in one transaction for want of their key.
const PARK_AT_ONCE: u32 = 1_000;

/// One look for work.
#[derive(Debug)]
pub(super) struct Look {
    /// Who leases: this process.
    pub(super) owner: String,
    /// What stands in rows for every key held.
    pub(super) held: Vec<String>,
    /// The same for the keys that may be used at present.
    pub(super) usable: Vec<String>,
    /// Keys that came since the last look: rows that were parked for want of them are woken.
    pub(super) new: Vec<HeldKey>,
    /// Most rows to lease.
    pub(super) limit: u32,
    /// How long a lease lasts.
    pub(super) lease: Duration,
}

/// What a look found.
#[derive(Debug)]
pub(super) enum Found {
    /// Rows to read now, leased; there may be more.
    Rows(Vec<Due>),
    /// Nothing to lease, though rows are due: their keys pause.
    Held,
    /// Nothing is due before this instant; `None`: nothing is planned at all.
    NotBefore(Option<Timestamp>),
}

impl Look {
    /// Looks at `now`.
    pub(super) async fn run(&self, store: &Store, now: Timestamp) -> Result<Found, StoreError> {
        if !self.new.is_empty() {
            let mut tx = store.write().await?;
            for parked in self.new.iter().flat_map(HeldKey::wakes) {
                settlements::unpark(&mut tx, parked, now).await?;
            }
            tx.commit().await?;
        }
        // A read first: most looks find nothing due, and need not disturb the writer.
        let next = settlements::next_due(store, now).await?;
        if next.is_none_or(|next| next > now) {
            return Ok(Found::NotBefore(next));
        }
        let mut tx = store.write().await?;
        let parked = settlements::park(&mut tx, now, &self.held, PARK_AT_ONCE).await?;
        let until = now.plus_millis(i64::try_from(self.lease.as_millis()).unwrap_or(i64::MAX));
        let rows = settlements::lease(&mut tx, &self.owner, now, until, &self.usable, self.limit).await?;
        tx.commit().await?;
        if parked > 0 {
            tracing::info!(rows = parked, "calls whose key is not held wait for it");
        }
        Ok(if rows.is_empty() && parked == 0 { Found::Held } else { Found::Rows(rows) })
    }
}

/// Gives back leased rows that will not be read now.
pub(super) async fn give_back(store: &Store, rows: &[CallId]) -> Result<(), StoreError> {
    let mut tx = store.write().await?;
    settlements::give_back(&mut tx, rows).await?;
    tx.commit().await
}
