//! The state, its lock, and the ways to wait for a change of it: what handles, reader, writer and watch share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::JournalOptions;
use super::disk::Disk;
use super::folder::FolderLock;
use super::group::Synced;
use super::health::Failure;
use super::position::JournalId;
use super::state::{Life, Parked, Released, State};
use crate::clock::Clock;

/// What all parts of one open journal share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: JournalOptions,
    pub(super) id: JournalId,
    pub(super) clock: Clock,
    pub(super) disk: Arc<dyn Disk>,
    state: Mutex<State>,
    /// The writer waits here.
    pub(super) work: Condvar,
    /// The reader waits here.
    pub(super) readable: Notify,
    /// True once the writer has left for good.
    pub(super) closed: watch::Sender<bool>,
    accepts_new_calls: AtomicBool,
    has_room_for_new_calls: AtomicBool,
}

impl Shared {
    pub(super) fn new(options: JournalOptions, id: JournalId, clock: Clock, disk: Arc<dyn Disk>, state: State) -> Self {
        let shared = Self {
            options,
            id,
            clock,
            disk,
            state: Mutex::new(state),
            work: Condvar::new(),
            readable: Notify::new(),
            closed: watch::Sender::new(false),
            accepts_new_calls: AtomicBool::new(false),
            has_room_for_new_calls: AtomicBool::new(false),
        };
        shared.admit(&shared.lock());
        shared
    }

    /// The state. A panic while it was held left it as consistent as any step between two lines; losing the journal
    /// over it would be worse.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for work, for `at_most` if given. The second value tells that this time is over.
    pub(super) fn park<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        parked: Parked,
        at_most: Option<Duration>,
    ) -> (MutexGuard<'a, State>, bool) {
        state.parked = parked;
        let (mut state, over) = match at_most {
            None => (self.work.wait(state).unwrap_or_else(PoisonError::into_inner), false),
            Some(at_most) => {
                let (state, result) = self.work.wait_timeout(state, at_most).unwrap_or_else(PoisonError::into_inner);
                (state, result.timed_out())
            }
        };
        state.parked = Parked::No;
        (state, over)
    }

    /// Decides anew whether new calls are accepted.
    pub(super) fn admit(&self, state: &State) {
        let room = self.would_have_room(state);
        self.has_room_for_new_calls.store(room, Ordering::Release);
        self.accepts_new_calls.store(room && state.is_writable(), Ordering::Release);
    }

    fn would_have_room(&self, state: &State) -> bool {
        state.life == Life::Open
            && state.held_bytes() < self.options.limit_bytes
            && state.memory_bytes <= self.options.memory_bytes / 2
    }

    pub(super) fn has_room_for_new_calls(&self) -> bool {
        self.has_room_for_new_calls.load(Ordering::Acquire)
    }

    pub(super) fn accepts_new_calls(&self) -> bool {
        self.accepts_new_calls.load(Ordering::Acquire)
    }

    /// A failure that happens now.
    pub(super) fn failure(&self, what: String) -> Failure {
        Failure { at: self.clock.now(), what }
    }

    /// After a failure: frees the lock, tells waiters, reader and log. The log hears of a disk that stays broken once.
    pub(super) fn tell_failure(&self, mut state: MutexGuard<'_, State>, released: Released) {
        self.admit(&state);
        let failure = state.last_failure.clone().map(|failure| failure.what).unwrap_or_default();
        let well = state.is_well();
        let writable = state.is_writable();
        let told = state.broken_told;
        state.broken_told = !writable;
        drop(state);
        let released_groups = released.len();
        release(released, Synced::NotDurable);
        self.readable.notify_one();
        if well {
            tracing::warn!(failure, released_groups, "journal: the disk is slow; replies went on without it");
        } else if writable {
            tracing::error!(failure, released_groups, "journal: the disk failed; rewriting to a new segment");
        } else if !told {
            tracing::error!(
                failure,
                released_groups,
                "journal: the disk cannot be written; records are kept in memory and offered to the ledger"
            );
        }
    }

    /// The last handle is gone, or somebody closes: no more records.
    pub(super) fn begin_closing(&self) {
        let mut state = self.lock();
        if state.life == Life::Open {
            state.life = Life::Closing;
        }
        self.admit(&state);
        drop(state);
        self.work.notify_all();
    }

    /// The writer hangs and everybody wants to go: it is abandoned, and what it has goes to the reader.
    pub(super) fn close_without_writer(&self) {
        let mut state = self.lock();
        if state.life == Life::Closed {
            return;
        }
        state.life = Life::Closed;
        state.generation += 1;
        state.stale_writers += 1;
        let released = state.mark_broken(self.failure("the disk hung while the journal was being closed".to_owned()));
        self.tell_failure(state, released);
        self.closed.send_replace(true);
    }
}

/// Tells waiters; the lock must be free.
pub(super) fn release(waiters: Released, synced: Synced) {
    for waiters in waiters {
        waiters.release(synced);
    }
}

/// Something that keeps the folder owned for as long as it lives.
pub(super) type Owner = Arc<FolderLock>;
