//! Looks at the writer from outside, because a thread that hangs in `fdatasync` cannot look at itself.

use std::sync::Arc;
use std::time::Duration;

use super::shared::{Owner, Shared};
use super::writer::{self, RETRY_INTERVAL};

/// How many writer threads may hang at once before no further one is started: each holds a stack and an open file
/// until its disk lets go of it.
const MAX_STALE_WRITERS: usize = 3;

/// Releases those who have waited for the disk too long, and replaces a writer that hangs.
#[derive(Debug)]
#[must_use = "without Watch::run, a disk that hangs holds up every reply"]
pub struct Watch {
    shared: Arc<Shared>,
    owner: Owner,
}

impl Watch {
    pub(super) fn new(shared: Arc<Shared>, owner: Owner) -> Self {
        Self { shared, owner }
    }

    /// Watches until the journal is closed. While all is well it wakes once in `sync_timeout`.
    pub async fn run(self) {
        let mut closed = self.shared.closed.subscribe();
        loop {
            let pause = self.shared.clock.sleep(self.next_look());
            tokio::select! {
                // An error would mean that the sender is gone, but it lives in `shared`.
                _ = closed.wait_for(|closed| *closed) => return,
                () = pause => self.look(),
            }
        }
    }

    /// How long until something can be overdue.
    fn next_look(&self) -> Duration {
        let state = self.shared.lock();
        if !state.is_writable() || state.writer_missing {
            return RETRY_INTERVAL;
        }
        let awaited = state.in_flight.iter().chain(&state.queue).find(|group| group.awaited > 0 && !group.given_up);
        let oldest = state.operation_since.into_iter().chain(awaited.map(|group| group.opened_at)).min();
        let timeout = self.shared.options.sync_timeout;
        oldest.map_or(timeout, |since| (since + timeout).saturating_sub(self.shared.clock.elapsed()))
    }

    fn look(&self) {
        let shared = &*self.shared;
        let timeout = shared.options.sync_timeout;
        let mut state = shared.lock();
        let Some(overdue_since) = shared.clock.elapsed().checked_sub(timeout) else { return };
        let what = format!("the disk took longer than {} ms to sync the journal", timeout.as_millis());

        let mut released = state.give_up_older(overdue_since);
        if !released.is_empty() {
            state.last_failure = Some(shared.failure(what.clone()));
        }
        let hangs = state.operation_since.is_some_and(|since| since <= overdue_since);
        if hangs && state.stale_writers >= MAX_STALE_WRITERS {
            // No further thread: the one that hangs stays the writer, and nobody waits for it.
            released.extend(state.mark_broken(shared.failure(what)));
        } else if hangs || state.writer_missing {
            if hangs {
                released.extend(state.failed(shared.failure(what)));
                state.operation_since = None;
                state.stale_writers += 1;
                state.generation += 1;
            }
            // Under the lock, so that nobody sees a journal without a writer; starting a thread takes microseconds.
            let started = writer::start(&self.shared, &self.owner, state.generation);
            state.writer_missing = started.is_err();
            if let Err(error) = started {
                let what = format!("the journal's writer could not be started: {error}");
                released.extend(state.mark_broken(shared.failure(what)));
            }
        } else if released.is_empty() {
            return;
        }
        shared.tell_failure(state, released);
    }
}
