//! Groups: the records that share one write and one sync, and those who wait for it.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::format::{RECORD_HEAD_BYTES, push_record};

/// A group takes no further record that would make it longer than this, in bytes; a single record may.
pub(super) const GROUP_BYTES: usize = 256 << 10;

/// How a wait for the disk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synced {
    /// The record is on disk and survives a loss of power.
    Durable,
    /// The disk failed or took too long. The record is still in memory, is offered to the reader, and is written again
    /// as soon as the disk lets it; until then the end of the process loses it. Counted in
    /// [`Health::not_durable`](super::Health::not_durable).
    NotDurable,
}

const WAITING: u8 = 0;
const DURABLE: u8 = 1;
const NOT_DURABLE: u8 = 2;

/// Those who wait for one group.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    outcome: AtomicU8,
    wakers: Mutex<Vec<Waker>>,
}

impl Waiters {
    /// Tells every waiter, those to come included. Only the first call counts.
    pub(super) fn release(&self, synced: Synced) {
        let outcome = match synced {
            Synced::Durable => DURABLE,
            Synced::NotDurable => NOT_DURABLE,
        };
        let wakers = {
            let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
            if self.outcome.load(Ordering::Relaxed) == WAITING {
                self.outcome.store(outcome, Ordering::Release);
            }
            mem::take(&mut *wakers)
        };
        for waker in wakers {
            waker.wake();
        }
    }

    fn outcome(&self) -> Option<Synced> {
        match self.outcome.load(Ordering::Acquire) {
            WAITING => None,
            DURABLE => Some(Synced::Durable),
            _ => Some(Synced::NotDurable),
        }
    }
}

/// Resolves when a record is durable, or when that has been given up. Never waits for longer than the journal's
/// `sync_timeout` while [`Watch::run`](super::Watch::run) runs. Dropping it leaves the record where it is.
#[derive(Debug)]
#[must_use = "the record is durable only when this has resolved to Synced::Durable"]
pub struct Wait {
    waiters: Arc<Waiters>,
    /// Where this wait's waker stands among the waiters', once it has been polled.
    slot: Option<usize>,
}

impl Wait {
    pub(super) fn new(waiters: Arc<Waiters>) -> Self {
        Self { waiters, slot: None }
    }

    /// A wait that was given up before it began.
    pub(super) fn over() -> Self {
        let waiters = Waiters { outcome: AtomicU8::new(NOT_DURABLE), wakers: Mutex::default() };
        Self::new(Arc::new(waiters))
    }
}

impl Future for Wait {
    type Output = Synced;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Synced> {
        if let Some(synced) = self.waiters.outcome() {
            return Poll::Ready(synced);
        }
        let slot = {
            let mut wakers = self.waiters.wakers.lock().unwrap_or_else(PoisonError::into_inner);
            // Decided between the look above and the lock: nobody would wake us any more.
            if let Some(synced) = self.waiters.outcome() {
                return Poll::Ready(synced);
            }
            if let Some(slot) = self.slot {
                wakers[slot].clone_from(context.waker());
                slot
            } else {
                wakers.push(context.waker().clone());
                wakers.len() - 1
            }
        };
        self.slot = Some(slot);
        Poll::Pending
    }
}

/// Records on their way to the disk.
#[derive(Debug)]
pub(super) struct Group {
    /// Ascending in the order of appending; names the group to the reader while it has no position.
    pub(super) number: u64,
    body: Body,
    pub(super) records: u64,
    /// How many of the records somebody waits for.
    pub(super) awaited: u64,
    /// The clock's elapsed time when its first record came.
    pub(super) opened_at: Duration,
    waiters: Option<Arc<Waiters>>,
    /// Its waiters were told that it is not durable; the reader may have it before the disk has.
    pub(super) given_up: bool,
    /// The reader has had it already.
    pub(super) delivered: bool,
}

#[derive(Debug)]
enum Body {
    Open(Vec<u8>),
    Sealed(Bytes),
}

impl Group {
    pub(super) fn open(number: u64, capacity: usize, opened_at: Duration, given_up: bool) -> Self {
        Self {
            number,
            body: Body::Open(Vec::with_capacity(capacity)),
            records: 0,
            awaited: 0,
            opened_at,
            waiters: None,
            given_up,
            delivered: false,
        }
    }

    /// Adds a record; `false` if the group takes no more.
    pub(super) fn push(&mut self, length: u32, checksum: u32, payload: &[u8]) -> bool {
        match &mut self.body {
            Body::Open(bytes) if bytes.is_empty() || bytes.len() + RECORD_HEAD_BYTES + payload.len() <= GROUP_BYTES => {
                push_record(bytes, length, checksum, payload);
                self.records += 1;
                true
            }
            _ => false,
        }
    }

    /// Waits for the record pushed last.
    pub(super) fn wait(&mut self) -> Wait {
        self.awaited += 1;
        Wait::new(Arc::clone(self.waiters.get_or_insert_default()))
    }

    /// Takes no more records; the bytes as they stand in memory.
    pub(super) fn seal(&mut self) -> Bytes {
        let bytes = match &mut self.body {
            // Boxed, so that what the group had room for beyond its records is given back: the reader may keep many.
            Body::Open(bytes) => Bytes::from(mem::take(bytes).into_boxed_slice()),
            Body::Sealed(bytes) => return bytes.clone(),
        };
        self.body = Body::Sealed(bytes.clone());
        bytes
    }

    pub(super) fn is_sealed(&self) -> bool {
        matches!(self.body, Body::Sealed(_))
    }

    pub(super) fn size(&self) -> usize {
        match &self.body {
            Body::Open(bytes) => bytes.len(),
            Body::Sealed(bytes) => bytes.len(),
        }
    }

    /// The waiters, to be released once the journal's lock is free; nobody waits for the group any more.
    pub(super) fn take_waiters(&mut self) -> Option<Arc<Waiters>> {
        self.waiters.take()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_wait_ends_with_the_first_word() {
        let waiters = Arc::new(Waiters::default());
        let mut wait = Wait::new(Arc::clone(&waiters));
        assert_eq!((&mut wait).now_or_never(), None);
        assert_eq!((&mut wait).now_or_never(), None, "polling again takes no second place");
        assert_eq!(waiters.wakers.lock().unwrap().len(), 1);
        waiters.release(Synced::NotDurable);
        waiters.release(Synced::Durable);
        assert_eq!(wait.now_or_never(), Some(Synced::NotDurable));
    }
}
