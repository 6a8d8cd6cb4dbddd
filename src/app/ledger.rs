//! Opens journal, database and writer, in the order that makes a second daemon harmless.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::StartError;
use crate::budget::Book;
use crate::catalogue::Shelf;
use crate::clock::{Clock, Entropy};
use crate::config::{Config, Database};
use crate::journal::{Journal, JournalOptions};
use crate::ledger::{Opened, Writer, WriterOptions};
use crate::lock::{LockError, OwnerLock};
use crate::store::{self, Store, StoreOptions};
use crate::telemetry::Metrics;

/// Bytes beyond `journal.limit` that calls under way may still write: an outcome each for 100,000 calls.
const JOURNAL_RESERVE: u64 = 64 << 20;

/// Bytes of records that may be in memory while the disk hangs.
const JOURNAL_MEMORY: u64 = 64 << 20;

/// Its name, beside the journal.
const ASIDE: &str = "set-aside.ndjson";

/// Where records go that the database refuses for good or nobody can read.
pub fn set_aside_file(config: &Config) -> PathBuf {
    config.journal_dir.join(ASIDE)
}

/// Everything that writes, ready to run.
pub(super) struct OpenLedger {
    /// The database.
    pub(super) store: Store,
    /// Writer, handle, journal.
    pub(super) opened: Opened,
    /// What budgets stand at.
    pub(super) book: Arc<Book>,
    /// The list of models.
    pub(super) catalogue: Shelf,
    /// The SQLite database is this process's alone; `None` on PostgreSQL, which many daemons may share.
    pub(super) lock: Option<OwnerLock>,
}

/// Takes the journal's lock, then the database, then brings the ledger up to date.
pub(super) async fn open(
    config: &Config,
    metrics: &Metrics,
    clock: &Clock,
    entropy: &Entropy,
) -> Result<OpenLedger, StartError> {
    let journal = Journal::open(
        JournalOptions {
            dir: config.journal_dir.clone(),
            segment_bytes: config.journal.segment_size,
            limit_bytes: config.journal.limit,
            reserve_bytes: JOURNAL_RESERVE,
            memory_bytes: JOURNAL_MEMORY,
            sync_timeout: config.journal.sync_timeout,
        },
        entropy,
    )?;
    let lock = own(&config.database)?;
    let store = Store::open(&StoreOptions {
        readers: config.ledger.read_connections,
        ..StoreOptions::new(config.database.url())
    })
    .await?;
    let book = Arc::new(Book::default());
    let catalogue = Shelf::of(store::catalogue::load(&store).await?);
    let options = WriterOptions {
        catalogue: catalogue.clone(),
        batch_rows: config.ledger.batch_rows,
        batch_wait: config.ledger.batch_wait,
        give_up_after_ms: i64::try_from(config.settle.give_up_after.as_millis()).unwrap_or(i64::MAX),
        aside: set_aside_file(config),
        metrics: metrics.clone(),
    };
    let opened =
        Writer::open(store.clone(), journal, config.budgets.clone(), Arc::clone(&book), clock.clone(), options).await?;
    Ok(OpenLedger { store, opened, book, catalogue, lock })
}

/// Opens the database alone, to write what the ledger's writer does not; its lock is taken first.
pub(super) async fn open_store(config: &Config) -> Result<(Store, Option<OwnerLock>), StartError> {
    let lock = own(&config.database)?;
    Ok((Store::open(&StoreOptions::new(config.database.url())).await?, lock))
}

/// Takes the lock beside a SQLite database, whatever journal folder another daemon on it may have.
fn own(database: &Database) -> Result<Option<OwnerLock>, StartError> {
    let Database::Sqlite(path) = database else { return Ok(None) };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        // What is wrong with the folder is the database's to say, better than a lock can.
        let _ = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    }
    let mut name = path.clone().into_os_string();
    name.push(".lock");
    match OwnerLock::acquire(Path::new(&name)) {
        Ok(lock) => Ok(Some(lock)),
        Err(LockError::Held(pid)) => Err(StartError::Owned { database: path.clone(), pid }),
        Err(LockError::Io(error)) => Err(StartError::Unwritable { path: name.into(), error }),
    }
}
