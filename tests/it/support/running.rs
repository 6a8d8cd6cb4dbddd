//! A daemon in the test's own process, on the test's own clock.

use std::net::SocketAddr;

use tallyd::app::{Daemon, Surroundings};
use tallyd::clock::{Clock, Entropy};
use tallyd::journal::Journal;
use tallyd::ledger::Ledger;
use tallyd::shutdown::{Ending, Signals, Tasks};
use tallyd::store::Store;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::beside;
use super::installation::Installation;

/// A daemon that runs.
pub struct Running {
    address: SocketAddr,
    store: Store,
    ledger: Ledger,
    journal: Journal,
    tasks: Tasks,
    ending: JoinHandle<Ending>,
    _signal: mpsc::Sender<()>,
}

impl Running {
    /// Starts it.
    pub async fn start(at: &Installation, clock: &Clock) -> Self {
        let surroundings = Surroundings { clock: clock.clone(), entropy: Entropy::seeded(11), warnings: Vec::new() };
        let daemon = Daemon::start(&at.config(), surroundings).await.unwrap();
        let (address, store, tasks) = (daemon.address(), daemon.store().clone(), daemon.tasks().clone());
        let (ledger, journal) = (daemon.ledger().clone(), daemon.journal().clone());
        let (signal, signals) = Signals::by_hand();
        Self { address, store, ledger, journal, tasks, ending: beside(daemon.run(signals)), _signal: signal }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its database.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Its ledger's writer.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Its journal.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Ends it as a signal does; it must end well.
    pub async fn stop(self) {
        self.tasks.stop();
        assert_eq!(self.ending.await.unwrap(), Ending { failed: None, cut: 0 });
    }
}
