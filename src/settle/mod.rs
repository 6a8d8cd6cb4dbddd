//! The settler: leases rows that are due, asks OpenRouter for their generation records, hands the answers to the ledger.
//!
//! What an answer does to its row, and when the row is read again, is [`crate::domain::call`]'s and
//! [`crate::domain::settling`]'s; the ledger's writer applies it. A lease outlives nothing but itself: if
//! this process dies, its rows are read again once their leases have run out. A reading that is made twice
//! changes nothing.

mod backlog;
mod keys;
mod look;
mod pace;
mod reading;
mod work;

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::StreamExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use self::backlog::{give_up_parked, measure};
use self::work::{Work, release_left_over};
use crate::capture::keys::Keyring;
use crate::clock::Clock;
use crate::ledger::{ReadingOf, Wakes};
use crate::openrouter::Client;
use crate::store::Store;
use crate::telemetry::Metrics;

/// What the settler works with.
pub struct Settler {
    /// Where rows are leased.
    pub store: Store,
    /// Whom to ask.
    pub client: Client,
    /// With which keys.
    pub keys: Arc<Keyring>,
    /// Where answers go: the ledger's writer.
    pub readings: mpsc::Sender<ReadingOf>,
    /// Who says that rows may be due.
    pub wakes: Arc<Wakes>,
    /// Who counts readings.
    pub metrics: Metrics,
    /// The time.
    pub clock: Clock,
    /// How hard to ask.
    pub options: SettlerOptions,
}

/// How hard OpenRouter is asked.
#[derive(Clone, Debug)]
pub struct SettlerOptions {
    /// This process, among those that lease from one database: unique, and new at every start.
    pub owner: String,
    /// Readings at once (`settle.concurrency`).
    pub concurrency: usize,
    /// Readings begun in a second, over all keys (`settle.rate_per_second`).
    pub rate_per_second: u32,
    /// How long one reading may take (`settle.timeout`); the client ends it, a lease lasts longer.
    pub timeout: Duration,
}

impl Settler {
    /// Runs until `stop`; then finishes the readings under way and gives back the rest.
    ///
    /// The ledger's writer must outlive it, as it takes the last answers.
    pub async fn run(self, stop: CancellationToken) {
        release_left_over(&self.store).await;
        let mut work = Work::new(self);
        while work.takes_more() {
            work.begin_what_may();
            let wait = work.wait();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(event) = work.events.next() => work.heed(event),
                () = work.settler.wakes.settle.notified() => work.woken(),
                Ok(()) = work.key_news.changed() => work.keys_came(),
                () = work.settler.clock.sleep(wait) => {}
            }
        }
        work.end().await;
    }
}
