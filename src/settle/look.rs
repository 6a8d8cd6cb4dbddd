//! What the settler asks of the database: which rows are to be read now, and when to look again.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::ids::CallId;
use crate::domain::time::Timestamp;
use crate::store::settlements::{self, Due, Passed};
use crate::store::{Store, StoreError};

use super::keys::{HeldKey, Ring};

/// Rows parked in one transaction for want of their key.
const PARK_AT_ONCE: u32 = 1_000;

/// One look for work.
#[derive(Debug)]
pub(super) struct Look {
    /// Who leases: this process.
    pub(super) owner: String,
    /// The keys held.
    pub(super) ring: Arc<Ring>,
    /// Those of an earlier look: rows that were parked for want of a key that came since are woken.
    pub(super) announced: Arc<Ring>,
    /// Rows of keys that pause.
    pub(super) passed: Passed,
    /// Most rows to lease.
    pub(super) limit: u32,
    /// How long a lease lasts.
    pub(super) lease: Duration,
}

/// What a look found.
#[derive(Debug)]
pub(super) enum Found {
    /// Rows are due.
    Due {
        /// Those to read now, leased, all of keys held.
        rows: Vec<Due>,
        /// Rows were parked, behind which others may be due.
        parked: bool,
        /// No other row was due then but those of keys that pause.
        all_until: Option<Timestamp>,
    },
    /// Nothing is due before this instant; `None`: nothing is planned at all.
    NotBefore(Option<Timestamp>),
}

impl Look {
    /// Looks at `now`.
    pub(super) async fn run(&self, store: &Store, now: Timestamp) -> Result<Found, StoreError> {
        self.wake(store, now).await?;
        // A read first: most looks find nothing due, and need not disturb the writer.
        let next = settlements::next_due(store, now).await?;
        if next.is_none_or(|next| next > now) {
            return Ok(Found::NotBefore(next));
        }
        let mut tx = store.write().await?;
        let until = now.plus_millis(i64::try_from(self.lease.as_millis()).unwrap_or(i64::MAX));
        let mut rows = settlements::lease(&mut tx, &self.owner, now, until, &self.passed, self.limit).await?;
        let leased = rows.len();
        rows.retain(|due| self.ring.reader_of(due).is_some());
        let unheld = rows.len() < leased;
        if unheld {
            let parked = settlements::park(&mut tx, now, &self.ring.marks(|_| true), PARK_AT_ONCE).await?;
            tracing::info!(rows = parked, "calls whose key is not held wait for it");
        }
        tx.commit().await?;
        // Fewer than asked for: there are no more.
        let all_until = (leased < usize::try_from(self.limit).unwrap_or(usize::MAX)).then_some(now);
        Ok(Found::Due { rows, parked: unheld, all_until })
    }

    async fn wake(&self, store: &Store, now: Timestamp) -> Result<(), StoreError> {
        let mut new = self.ring.new_since(&self.announced).peekable();
        if new.peek().is_none() {
            return Ok(());
        }
        let mut tx = store.write().await?;
        for parked in new.flat_map(HeldKey::wakes) {
            settlements::unpark(&mut tx, parked, now).await?;
        }
        tx.commit().await
    }
}

/// Gives back leased rows that will not be read now.
pub(super) async fn give_back(store: &Store, rows: &[CallId]) -> Result<(), StoreError> {
    let mut tx = store.write().await?;
    settlements::give_back(&mut tx, rows).await?;
    tx.commit().await
}
