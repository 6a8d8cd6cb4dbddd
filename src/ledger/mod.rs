//! The ledger: the one writer of rows, sums, budgets and alerts.
//!
//! Everything that is learnt of a call comes here, from the journal or from a [`Ledger`] handle, and
//! goes into the database in large transactions: rows, roll-up deltas, budget spend, alert crossings and
//! the mail they cause, and how far the journal is drained. A database that is locked, full, slow or gone
//! is waited for; the journal grows meanwhile, and [`Health`] says so.
//!
//! [`fold`] is pure; [`apply`] is the transaction; [`tracking`] counts budgets; [`writer`] is the loop.

mod apply;
mod changing;
pub mod fold;
mod import;
pub mod intake;
pub mod naming;
mod tracking;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

pub use self::apply::{Applied, ApplyError};
pub use self::changing::Changed;
use self::changing::NotChanged;
pub use self::fold::Verdict;
pub use self::import::IMPORT_TARGET;
use self::import::ImportRows;
pub use self::writer::{OpenError, Opened, Writer, WriterOptions};
use crate::domain::budget::change::{Actor, Change, Refusal};
use crate::domain::ids::CallId;
use crate::domain::observation::{Observation, Reading, Told};
use crate::domain::time::Timestamp;

/// Commands waiting for the writer before callers are held back.
pub const COMMAND_QUEUE: usize = 64;

/// Pieces of imports waiting for the writer before importers are held back: one to write, one to come.
const IMPORT_QUEUE: usize = 2;

/// Items of commands that wait for the writer or are being written, before callers are held back: some 50 MiB at worst.
/// A command with more of them waits until no other is there.
pub const COMMAND_ITEMS: u32 = 32_768;

/// Readings waiting for the writer before the settler is held back.
pub const READING_QUEUE: usize = 1_024;

/// Changes of budgets waiting for the writer before those who ask are held back.
const CHANGE_QUEUE: usize = 16;

/// One reading of a generation record, on its way to its row.
#[derive(Debug)]
pub struct ReadingOf {
    /// The row.
    pub call_id: CallId,
    /// When it was read.
    pub at: Timestamp,
    /// What it said.
    pub reading: Reading,
}

/// What one transaction is to write.
#[derive(Debug, Default)]
pub struct Work {
    /// What the gateway saw, in its order.
    pub observations: Vec<Observation>,
    /// What was told of generations.
    pub told: Vec<Told>,
    /// Generation records that were read.
    pub readings: Vec<ReadingOf>,
    /// Rows to be looked at again, because the catalogue learnt of their models.
    pub renamed: Vec<CallId>,
    /// The instant at which budgets are judged; `None` is now. History is made with its own.
    pub as_of: Option<Timestamp>,
    /// Whether it is an import, which never mails for windows that have ended.
    pub imported: bool,
}

impl Work {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.observations.is_empty() && self.told.is_empty() && self.readings.is_empty() && self.renamed.is_empty()
    }

    /// Whether there is nothing left to part.
    fn is_single(&self) -> bool {
        self.pieces() < 2
    }

    /// How much of [`COMMAND_ITEMS`] it takes.
    fn room(&self) -> u32 {
        u32::try_from(self.pieces()).unwrap_or(COMMAND_ITEMS).clamp(1, COMMAND_ITEMS)
    }

    fn pieces(&self) -> usize {
        self.observations.len() + self.told.len() + self.readings.len() + self.renamed.len()
    }

    /// Two halves that hold the same in the same order.
    fn halves(mut self) -> (Self, Self) {
        let mut middle = self.pieces() / 2;
        let mut second = Self { as_of: self.as_of, imported: self.imported, ..Self::default() };
        let mut cut = |len: usize| {
            let at = middle.min(len);
            middle -= at;
            at
        };
        second.observations = self.observations.split_off(cut(self.observations.len()));
        second.told = self.told.split_off(cut(self.told.len()));
        second.readings = self.readings.split_off(cut(self.readings.len()));
        second.renamed = self.renamed.split_off(cut(self.renamed.len()));
        (self, second)
    }
}

/// How the writer is doing.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// The last commit.
    pub committed_at: Option<Timestamp>,
    /// Rows written since the start.
    pub rows: u64,
    /// Since when the database refuses to be written, and what it says; `None` when all is well.
    pub trouble: Option<Trouble>,
    /// Records of the journal that could not be understood and were set aside since the start.
    pub set_aside: u64,
}

/// A database that can not be written at present.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// Since when.
    pub since: Timestamp,
    /// What it says.
    pub message: String,
}

/// Wakes those who act on what was committed.
#[derive(Debug, Default)]
pub struct Wakes {
    /// Rows may be due for settling.
    pub settle: Notify,
    /// Mail may wait to be composed.
    pub outbox: Notify,
    /// Pages may want to show something new.
    pub pages: Notify,
}

/// Why the ledger did not take something.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database can not be written at present.
    #[error("the ledger's database can not be written at present; nothing was recorded, so send it again later")]
    Unavailable,
    /// The daemon is stopping.
    #[error("the daemon is stopping; nothing was recorded, so send it again when it runs")]
    Stopping,
}

struct Command {
    work: Work,
    answer: oneshot::Sender<Vec<Verdict>>,
    /// Its share of [`COMMAND_ITEMS`], given back when it is done with or dropped.
    room: OwnedSemaphorePermit,
}

struct ChangeCommand {
    change: Change,
    by: Actor,
    answer: oneshot::Sender<Result<Changed, NotChanged>>,
}

/// Why budgets were not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The change is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The ledger did not take it.
    #[error("the ledger's database can not be written at present; look whether the change was made, then try again")]
    Unavailable,
    /// The daemon is stopping.
    #[error("the daemon is stopping; nothing was changed, so try again when it runs")]
    Stopping,
}

/// A handle to the writer.
#[derive(Clone)]
pub struct Ledger {
    commands: mpsc::Sender<Command>,
    imports: mpsc::Sender<Command>,
    import_rows: Arc<ImportRows>,
    room: Arc<Semaphore>,
    readings: mpsc::Sender<ReadingOf>,
    changes: mpsc::Sender<ChangeCommand>,
    health: Arc<ArcSwap<Health>>,
    wakes: Arc<Wakes>,
    clock: crate::clock::Clock,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}

impl Ledger {
    /// Writes `work` and says what became of each told ID, once it is committed.
    ///
    /// After `patience` the answer is [`LedgerError::Unavailable`], and what was told is dropped by the writer. Only
    /// where the end of patience falls into the transaction itself it is committed all the same, which is harmless, as
    /// telling twice changes nothing.
    pub async fn submit(&self, work: Work, patience: Duration) -> Result<Vec<Verdict>, LedgerError> {
        self.exchange(&self.commands, work, patience).await
    }

    async fn exchange(
        &self,
        lane: &mpsc::Sender<Command>,
        work: Work,
        patience: Duration,
    ) -> Result<Vec<Verdict>, LedgerError> {
        let (answer, verdicts) = oneshot::channel();
        let exchange = async {
            let room = Arc::clone(&self.room).acquire_many_owned(work.room()).await;
            let room = room.map_err(|_| LedgerError::Stopping)?;
            lane.send(Command { work, answer, room }).await.map_err(|_| LedgerError::Stopping)?;
            verdicts.await.map_err(|_| LedgerError::Stopping)
        };
        self.clock.timeout(patience, exchange).await.unwrap_or(Err(LedgerError::Unavailable))
    }

    /// Writes an import in pieces, each in a transaction of its own that takes some [`IMPORT_TARGET`], between those of
    /// live traffic; says what became of each once all are committed.
    ///
    /// `patience` is for each piece; after an error some pieces may be committed, which is harmless.
    pub async fn import(&self, told: Vec<Told>, patience: Duration) -> Result<Vec<Verdict>, LedgerError> {
        let mut verdicts = Vec::with_capacity(told.len());
        let mut told = told.into_iter();
        loop {
            let piece: Vec<Told> = told.by_ref().take(self.import_rows.get()).collect();
            if piece.is_empty() {
                return Ok(verdicts);
            }
            let work = Work { told: piece, imported: true, ..Work::default() };
            verdicts.extend(self.exchange(&self.imports, work, patience).await?);
        }
    }

    /// Changes budgets, and says what came of it once it holds.
    ///
    /// A change that waits when `patience` ends is not made. Where its end falls into the change itself it is made all
    /// the same: its entry in the audit trail tells.
    pub async fn change(&self, change: Change, by: Actor, patience: Duration) -> Result<Changed, ChangeError> {
        let (answer, changed) = oneshot::channel();
        let exchange = async {
            let command = ChangeCommand { change, by, answer };
            self.changes.send(command).await.map_err(|_| ChangeError::Stopping)?;
            changed.await.map_err(|_| ChangeError::Stopping)?.map_err(|error| match error {
                NotChanged::Refused(refusal) => ChangeError::Refused(refusal),
                NotChanged::Apply(error) => {
                    tracing::error!(%error, "budgets could not be changed");
                    ChangeError::Unavailable
                }
            })
        };
        self.clock.timeout(patience, exchange).await.unwrap_or(Err(ChangeError::Unavailable))
    }

    /// Where the settler puts its readings.
    pub fn readings(&self) -> mpsc::Sender<ReadingOf> {
        self.readings.clone()
    }

    /// How the writer is doing.
    pub fn health(&self) -> Arc<Health> {
        self.health.load_full()
    }

    /// Who is woken by commits.
    pub fn wakes(&self) -> Arc<Wakes> {
        Arc::clone(&self.wakes)
    }
}
