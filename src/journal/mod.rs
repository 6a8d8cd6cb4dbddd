//! The journal: an append-only, checksummed log on the local disk, between what was observed and the ledger.
//!
//! Records are opaque bytes. Many callers append; one thread writes what has gathered and syncs it with one
//! `fdatasync` (`writer`); one reader takes the records to the database (`reader`) and says what is committed, and
//! drained segments are cleared away. At start, what was not committed is read again (`recover`), so the reader's
//! side must be idempotent: a record may come twice after a crash, but none that was [`Synced::Durable`] is lost.
//!
//! A disk that fails, fills up or hangs is told ([`Health`]), never waited for without end (`watch`), and never makes
//! the journal forget what its memory holds.
//!
//! This module knows nothing of calls, money or databases, and spawns nothing but the writer's thread.

mod disk;
mod folder;
mod format;
mod group;
mod health;
mod outgoing;
pub mod peek;
mod position;
mod reader;
mod recover;
mod scan;
mod shared;
mod state;
#[cfg(test)]
mod tests;
mod watch;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use self::disk::{Disk, SystemDisk};
use self::folder::FolderLock;
use self::shared::{Owner, Shared};
use self::state::{Life, Parked};
use crate::clock::{Clock, Entropy};

pub use self::format::MAX_RECORD_BYTES;
pub use self::group::{Synced, Wait};
pub use self::health::{Damage, DamageKind, Failure, Health};
pub use self::position::{BadJournalId, JournalId, Position};
pub use self::reader::{Batch, Mark, Reader};
pub use self::watch::Watch;

/// Longest segment the options may ask for, in bytes: where one is damaged, its rest is read into memory at once.
pub const MAX_SEGMENT_BYTES: u64 = 256 << 20;

/// How a journal is to be kept.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// The folder; created where it is missing.
    pub dir: PathBuf,
    /// A segment that has reached this length, in bytes, is followed by another.
    pub segment_bytes: u64,
    /// With this many uncommitted bytes, no new call is accepted.
    pub limit_bytes: u64,
    /// How many bytes beyond the limit are taken from calls under way.
    pub reserve_bytes: u64,
    /// With this many bytes of records in memory, not yet written because the disk hangs or fails, no more are taken.
    pub memory_bytes: u64,
    /// How long somebody waits for the disk, at most.
    pub sync_timeout: Duration,
}

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process, or another part of this one, owns the folder.
    #[error(
        "the journal folder {} is in use by a running tallyd{}: stop that one, or give this one another journal_dir",
        folder.display(),
        pid.map(|pid| format!(" (PID {pid})")).unwrap_or_default()
    )]
    Owned {
        /// The folder.
        folder: PathBuf,
        /// The owner's process ID; `None` if the lock file does not tell.
        pid: Option<u32>,
    },
    /// The folder, or a file in it, cannot be used.
    #[error("the journal folder {} cannot be used: {error}; it must be writable for this user", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The writer's thread could not be started.
    #[error("the journal's writer could not be started: {0}; raise the limit on threads of this user or container")]
    Thread(io::Error),
    /// A segment was written by a later version.
    #[error(
        "{} was written by a later tallyd (journal format {version}): start that version, or let it drain the journal first",
        path.display()
    )]
    Newer {
        /// The segment.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
    /// `segment_bytes` is out of range.
    #[error("a journal segment of {0} bytes is too long: at most {MAX_SEGMENT_BYTES}")]
    SegmentTooLong(u64),
}

/// Why a record was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Limit and reserve are used up.
    #[error("the journal is full: the database has not taken its records for too long")]
    Full,
    /// The disk does not take records, and as many as may wait in memory do.
    #[error("the journal's disk does not take records, and the memory for those that wait is full")]
    MemoryFull,
    /// The record is empty, or longer than [`MAX_RECORD_BYTES`].
    #[error("a journal record has 1 to {MAX_RECORD_BYTES} bytes")]
    Length,
    /// The journal is closed.
    #[error("the journal is closed")]
    Closed,
}

/// A journal folder that is owned and named, and not yet read: the caller first asks the database for the position
/// stored under its name.
#[derive(Debug)]
pub struct OpenedJournal {
    options: JournalOptions,
    id: JournalId,
    disk: Arc<dyn Disk>,
    owner: Owner,
}

/// A running journal and what was found when it started.
#[derive(Debug)]
pub struct StartedJournal {
    /// The way in.
    pub journal: Journal,
    /// The way out.
    pub reader: Reader,
    /// To be run for as long as the journal is open.
    pub watch: Watch,
    /// What was found broken before anything was read; the reader's batches tell what it finds.
    pub damage: Vec<Damage>,
    /// Where the last record was cut short by the end of the earlier life, and dropped; `None`: nowhere.
    pub torn_tail: Option<Position>,
}

impl OpenedJournal {
    /// The name under which the database knows positions of this journal.
    pub fn id(&self) -> JournalId {
        self.id
    }

    /// Reads what is there and starts the writer. `start_after` is the position last committed in the database under
    /// [`OpenedJournal::id`]; `None` reads everything that is there.
    pub fn start(self, clock: Clock, start_after: Option<Position>) -> Result<StartedJournal, JournalError> {
        let Self { options, id, disk, owner } = self;
        let recover::Recovered { mut state, torn_tail } = recover::recover(&*disk, &options.dir, id, start_after)?;
        if state.undrained_bytes > 0 {
            state.outgoing.push_age(state.durable_end, clock.elapsed());
        }
        let damage = state.damage.clone();
        let shared = Arc::new(Shared::new(options, id, clock, disk, state));
        writer::start(&shared, &owner, 0).map_err(JournalError::Thread)?;
        let reader = Reader::new(Arc::clone(&shared), Arc::clone(&owner));
        let watch = Watch::new(Arc::clone(&shared), Arc::clone(&owner));
        let journal = Journal(Arc::new(Handle { shared, _owner: owner }));
        Ok(StartedJournal { journal, reader, watch, damage, torn_tail })
    }
}

/// The way in: appends records. Cheap to clone; when the last clone is gone, the journal closes.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    _owner: Owner,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.begin_closing();
    }
}

impl Journal {
    /// Takes the folder and finds out the journal's name.
    pub fn open(options: JournalOptions, entropy: &Entropy) -> Result<OpenedJournal, JournalError> {
        Self::open_on(Arc::new(SystemDisk), options, entropy)
    }

    fn open_on(disk: Arc<dyn Disk>, options: JournalOptions, entropy: &Entropy) -> Result<OpenedJournal, JournalError> {
        if options.segment_bytes > MAX_SEGMENT_BYTES {
            return Err(JournalError::SegmentTooLong(options.segment_bytes));
        }
        let owner = Arc::new(FolderLock::acquire(&options.dir)?);
        let id = folder::load_id(&*disk, &options.dir, entropy)
            .map_err(|error| JournalError::Folder { folder: options.dir.clone(), error })?;
        Ok(OpenedJournal { options, id, disk, owner })
    }

    /// Appends a record for which nobody waits: it is synced with the next group, within some 20 ms. Never blocks.
    pub fn append(&self, record: &[u8]) -> Result<(), Refused> {
        self.push(record, false).map(drop)
    }

    /// Appends a record; the wait ends when it is durable, or when the disk has failed to make it so. Never blocks.
    pub fn append_synced(&self, record: &[u8]) -> Result<Wait, Refused> {
        self.push(record, true).map(|wait| wait.unwrap_or_else(Wait::over))
    }

    fn push(&self, record: &[u8], awaited: bool) -> Result<Option<Wait>, Refused> {
        let shared = &*self.0.shared;
        let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
        let fits = (1..=MAX_RECORD_BYTES).contains(&record.len());
        // Outside the lock: hashing is most of the work.
        let checksum = if fits { format::checksum(length, record) } else { 0 };
        let mut state = shared.lock();
        let refused = if state.life != Life::Open {
            Some(Refused::Closed)
        } else if !fits {
            Some(Refused::Length)
        } else if state.held_bytes() >= shared.options.limit_bytes.saturating_add(shared.options.reserve_bytes) {
            Some(Refused::Full)
        } else if state.memory_bytes >= shared.options.memory_bytes {
            Some(Refused::MemoryFull)
        } else {
            None
        };
        if let Some(refused) = refused {
            state.refused += 1;
            return Err(refused);
        }
        let wait = state.push(length, checksum, record, awaited, || shared.clock.elapsed());
        let given_up = !state.is_writable();
        let wake = match state.parked {
            Parked::Idle => true,
            Parked::UntilAwaited => awaited,
            Parked::No | Parked::UntilRetry => false,
        };
        shared.admit(&state);
        drop(state);
        if wake {
            shared.work.notify_all();
        }
        if given_up {
            shared.readable.notify_one();
        }
        Ok(wait)
    }

    /// False once the limit is reached or the disk cannot be written: what `on_ledger_failure` is about. Cheap.
    pub fn accepts_new_calls(&self) -> bool {
        self.0.shared.accepts_new_calls()
    }

    /// False once limit, or half the memory for records that the disk does not take, is used up: the rest is for calls
    /// under way. Cheap.
    pub fn has_room_for_new_calls(&self) -> bool {
        self.0.shared.has_room_for_new_calls()
    }

    /// Everything appended has been committed by the reader.
    pub fn is_empty(&self) -> bool {
        self.0.shared.lock().is_empty()
    }

    /// The name under which the database knows positions of this journal.
    pub fn id(&self) -> JournalId {
        self.0.shared.id
    }

    /// How the journal is doing.
    pub fn health(&self) -> Health {
        let shared = &*self.0.shared;
        let now = shared.clock.elapsed();
        let state = shared.lock();
        Health {
            writable: state.is_well(),
            accepts_new_calls: shared.accepts_new_calls(),
            held_bytes: state.held_bytes(),
            memory_bytes: state.memory_bytes,
            limit_bytes: shared.options.limit_bytes,
            segments: state.segments.len(),
            oldest_undrained: state.oldest_since().map(|since| now.saturating_sub(since)),
            records: state.records,
            syncs: state.syncs,
            not_durable: state.not_durable,
            refused: state.refused,
            last_failure: state.last_failure.clone(),
            damage: state.damage.clone(),
            kept_aside: state.kept_aside,
        }
    }

    /// Takes no more records, writes those it has, and gives the folder up when reader and watch are gone too. False if
    /// some could not be written within `sync_timeout`; the reader still gets them, and then the end. Closing twice
    /// does no harm.
    pub async fn close(&self) -> bool {
        let shared = &*self.0.shared;
        shared.begin_closing();
        let mut closed = shared.closed.subscribe();
        // An error would mean that the sender is gone, but it lives in `shared`.
        let left = shared.clock.timeout(shared.options.sync_timeout, closed.wait_for(|closed| *closed)).await.is_some();
        if !left {
            shared.close_without_writer();
        }
        left && shared.lock().memory_bytes == 0
    }
}
