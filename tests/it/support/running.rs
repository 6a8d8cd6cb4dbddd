//! A daemon in the test's own process, on the test's own clock.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tallyd::app::{Daemon, Surroundings};
use tallyd::budget::Book;
use tallyd::catalogue::Shelf;
use tallyd::clock::{Clock, Entropy};
use tallyd::journal::Journal;
use tallyd::ledger::Ledger;
use tallyd::shutdown::{Ending, Signals, Tasks};
use tallyd::store::Store;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, block_in_place};

use super::installation::Installation;
use super::{beside, until};

/// Longest wait for a daemon that a failed test leaves behind.
const LAST_WAIT: Duration = Duration::from_secs(30);

/// A daemon that runs.
pub struct Running {
    address: SocketAddr,
    store: Store,
    ledger: Ledger,
    journal: Journal,
    book: Arc<Book>,
    catalogue: Shelf,
    tasks: Tasks,
    ending: JoinHandle<Ending>,
    _signal: mpsc::Sender<()>,
}

impl Running {
    /// Starts it.
    pub async fn start(at: &Installation, clock: &Clock) -> Self {
        Self::start_as(at, clock, 11).await
    }

    /// Starts it with a seed of its own: two of one seed give their journals and calls the same names.
    pub async fn start_as(at: &Installation, clock: &Clock, seed: u64) -> Self {
        let entropy = Entropy::seeded(seed);
        let surroundings = Surroundings {
            clock: clock.clone(),
            entropy,
            warnings: Vec::new(),
            reload: None,
            program: Some(env!("CARGO_BIN_EXE_tallyd").into()),
        };
        let daemon = Daemon::start(&at.config(), surroundings).await.unwrap();
        let (address, store, tasks) = (daemon.address(), daemon.store().clone(), daemon.tasks().clone());
        let (ledger, journal) = (daemon.ledger().clone(), daemon.journal().clone());
        let (book, catalogue) = (Arc::clone(daemon.book()), daemon.catalogue().clone());
        let (signal, signals) = Signals::by_hand();
        Self {
            address,
            store,
            ledger,
            journal,
            book,
            catalogue,
            tasks,
            ending: beside(daemon.run(signals)),
            _signal: signal,
        }
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

    /// What its budgets stand at.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// Waits until it prices calls by OpenRouter's list of models.
    pub async fn knows_prices(&self) {
        until("the list of models", async || (!self.catalogue.load().models().is_empty()).then_some(())).await;
    }

    /// Waits until it knows `model` by OpenRouter's list.
    pub async fn knows_model(&self, model: &str) {
        until("the model", async || self.catalogue.load().models().contains_key(model).then_some(())).await;
    }

    /// Ends it as a signal does; it must end well.
    pub async fn stop(mut self) {
        self.tasks.stop();
        assert_eq!((&mut self.ending).await.unwrap(), Ending { failed: None, cut: 0 });
    }
}

impl Drop for Running {
    /// A test that fails leaves it running. The ledger's writer has a thread of its own, for which the runtime would wait for
    /// ever once the tasks are gone that the writer waits for: so it is ended here as far as that goes.
    fn drop(&mut self) {
        self.tasks.stop();
        self.tasks.drain_token().cancel();
        let Ok(handle) = Handle::try_current() else { return };
        let is_left = std::thread::panicking() && !self.ending.is_finished();
        if is_left && handle.runtime_flavor() == RuntimeFlavor::MultiThread {
            block_in_place(|| handle.block_on(Clock::system().timeout(LAST_WAIT, &mut self.ending)));
        }
    }
}
