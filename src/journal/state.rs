//! What the journal knows at one moment, behind one lock, and the steps from one such moment to the next.
//!
//! Nothing here touches the disk or wakes anybody: a step returns what is to be done once the lock is free.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::format::{HEADER_BYTES, RECORD_HEAD_BYTES};
use super::group::{GROUP_BYTES, Group, Wait, Waiters};
use super::health::{Damage, Failure};
use super::outgoing::{Outgoing, Range, Source};
use super::position::Position;

/// Room a new group has at least, in bytes.
const GROUP_ROOM_BYTES: usize = 1 << 10;

/// Found damage is listed up to this many times; all of it is kept aside.
const DAMAGE_LISTED: usize = 100;

/// Everything that changes.
#[derive(Debug, Default)]
pub(super) struct State {
    // On the way in.
    pub(super) queue: VecDeque<Group>,
    pub(super) in_flight: Option<Group>,
    next_group: u64,
    last_group_bytes: usize,
    /// Bytes in `queue` and `in_flight`.
    pub(super) memory_bytes: u64,

    // The disk.
    /// Which writer thread is the one that counts; an older one leaves as soon as its disk lets it.
    pub(super) generation: u64,
    /// Abandoned writer threads that have not left yet.
    pub(super) stale_writers: usize,
    /// No thread is writing: the last one could not be started.
    pub(super) writer_missing: bool,
    /// Since when, by the clock's elapsed time, the writer is in an operation on the disk.
    pub(super) operation_since: Option<Duration>,
    condition: Condition,
    /// That the disk is broken has been logged.
    pub(super) broken_told: bool,
    /// The segment being written; `None`: a new one is to be begun.
    pub(super) current: Option<u64>,
    pub(super) next_number: u64,
    /// The end of the last durable record.
    pub(super) durable_end: Position,
    /// A drained segment's file waits to be used again.
    pub(super) spare: bool,
    pub(super) removals: VecDeque<Removal>,
    pub(super) segments: VecDeque<Segment>,

    // On the way out.
    pub(super) outgoing: Outgoing,
    pub(super) committed: Position,
    pub(super) undrained_bytes: u64,

    // Life.
    pub(super) parked: Parked,
    pub(super) life: Life,

    // What is told.
    pub(super) records: u64,
    pub(super) syncs: u64,
    pub(super) not_durable: u64,
    pub(super) refused: u64,
    pub(super) last_failure: Option<Failure>,
    pub(super) damage: Vec<Damage>,
    pub(super) kept_aside: usize,
}

/// How the disk does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Condition {
    /// Nothing has failed since the last success.
    #[default]
    Well,
    /// One failure; a new segment is being tried at once, and waiters wait for that.
    Failed,
    /// It failed again: nobody waits for it, records are kept in memory.
    Broken {
        /// It is to be left alone for a while.
        pause: bool,
    },
}

/// Whether records are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Life {
    #[default]
    Open,
    /// No more records; those that are there are written.
    Closing,
    /// The writer has left.
    Closed,
}

/// What the writer thread is waiting for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Parked {
    /// It is at work, or about to look.
    #[default]
    No,
    /// Anything at all.
    Idle,
    /// A record that somebody waits for; others are taken when its time is over.
    UntilAwaited,
    /// The time of the next attempt on a disk that fails.
    UntilRetry,
}

/// A segment file.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// Where its first record of interest starts.
    pub(super) start: u64,
    /// Where its last durable record ends.
    pub(super) end: u64,
    pub(super) keep: Keep,
}

/// What becomes of a segment's file when everything in it is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// Used again, or removed if there is a spare already.
    Reusable,
    /// Removed: a thread stuck in it may still write to it.
    Abandoned,
    /// Holds perhaps the only copy on disk of the group being rewritten: stays until that is done.
    OnlyCopy,
    /// Kept aside under another name.
    Damaged,
}

/// What the writer is to do with a file that is no longer needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Removal {
    /// Remove the segment.
    Remove(u64),
    /// Make it the spare.
    Spare(u64),
    /// Rename it, so that it is kept and not read again.
    KeepAside(u64),
}

/// Waiters to be released as soon as the lock is free.
pub(super) type Released = Vec<Arc<Waiters>>;

impl State {
    /// The disk takes what it is given, or a first failure is being made good.
    pub(super) fn is_writable(&self) -> bool {
        !matches!(self.condition, Condition::Broken { .. })
    }

    /// Nothing has failed since the last success.
    pub(super) fn is_well(&self) -> bool {
        self.condition == Condition::Well
    }

    /// The disk is to be left alone for a while.
    pub(super) fn must_pause(&self) -> bool {
        self.condition == Condition::Broken { pause: true }
    }

    /// Bytes that the reader has not committed.
    pub(super) fn held_bytes(&self) -> u64 {
        self.undrained_bytes + self.memory_bytes
    }

    /// A state to start from, with everything up to `committed` in the database.
    pub(super) fn starting_at(committed: Position) -> Self {
        Self { committed, durable_end: committed, ..Self::default() }
    }

    /// Everything appended has been committed.
    pub(super) fn is_empty(&self) -> bool {
        self.undrained_bytes == 0 && self.in_flight.is_none() && self.queue.is_empty()
    }

    /// Adds a record to the last group, or to a new one. The wait is for its sync; `None` if nobody waits, or if the disk
    /// cannot be written, and then it is over already.
    pub(super) fn push(
        &mut self,
        length: u32,
        checksum: u32,
        payload: &[u8],
        awaited: bool,
        now: impl FnOnce() -> Duration,
    ) -> Option<Wait> {
        self.memory_bytes += (RECORD_HEAD_BYTES + payload.len()) as u64;
        self.records += 1;
        let given_up = !self.is_writable();
        if given_up && awaited {
            self.not_durable += 1;
        }
        if let Some(group) = self.queue.back_mut()
            && group.given_up == given_up
            && group.push(length, checksum, payload)
        {
            return (awaited && !given_up).then(|| group.wait());
        }
        let room = self.last_group_bytes.clamp(GROUP_ROOM_BYTES, GROUP_BYTES);
        let mut group = Group::open(self.next_group, room, now(), given_up);
        self.next_group += 1;
        group.push(length, checksum, payload);
        let wait = (awaited && !given_up).then(|| group.wait());
        self.queue.push_back(group);
        wait
    }

    /// Where the segment being written ends; `None` if there is none.
    pub(super) fn write_offset(&self) -> Option<u64> {
        self.current?;
        self.segments.back().map(|segment| segment.end)
    }

    /// Takes the oldest group to be written at the end of the current segment.
    pub(super) fn take_group(&mut self) -> Option<Bytes> {
        let mut group = self.queue.pop_front()?;
        let bytes = group.seal();
        self.last_group_bytes = bytes.len();
        self.in_flight = Some(group);
        Some(bytes)
    }

    /// A segment was begun and its header is durable. The value says whether that ends a failure: with records that
    /// wait, only writing them does.
    pub(super) fn begun(&mut self, number: u64) -> bool {
        self.current = Some(number);
        self.segments.push_back(Segment { number, start: HEADER_BYTES, end: HEADER_BYTES, keep: Keep::Reusable });
        if self.queue.is_empty() && self.in_flight.is_none() {
            return self.succeeded();
        }
        if !self.is_writable() {
            self.condition = Condition::Broken { pause: false };
        }
        self.retire();
        false
    }

    /// The group in flight is durable at the end of the current segment. The second value says whether that ends a
    /// failure.
    pub(super) fn written(&mut self) -> (Released, bool) {
        let (Some(mut group), Some(segment)) = (self.in_flight.take(), self.segments.back_mut()) else {
            return (Released::new(), false);
        };
        let bytes = group.seal();
        let length = bytes.len() as u64;
        let (number, start) = (segment.number, segment.end);
        segment.end += length;
        self.durable_end = Position { segment: number, offset: segment.end };
        self.memory_bytes -= length;
        self.undrained_bytes += length;
        self.syncs += 1;
        let source = if group.delivered { Source::Delivered } else { Source::Memory(bytes) };
        self.outgoing.push_range(Range { segment: number, start, end: start + length, source });
        self.outgoing.push_age(self.durable_end, group.opened_at);
        (group.take_waiters().into_iter().collect(), self.succeeded())
    }

    /// The disk did what it was told; the value says whether that ends a failure.
    fn succeeded(&mut self) -> bool {
        let recovered = !self.is_well();
        self.condition = Condition::Well;
        self.broken_told = false;
        if recovered {
            for segment in &mut self.segments {
                if segment.keep == Keep::OnlyCopy {
                    segment.keep = Keep::Abandoned;
                }
            }
        }
        self.retire();
        recovered
    }

    /// Nobody waits for the disk until it does something again.
    pub(super) fn mark_broken(&mut self, failure: Failure) -> Released {
        self.last_failure = Some(failure);
        self.condition = Condition::Broken { pause: true };
        let mut released = self.give_up_queue();
        if let Some(group) = &mut self.in_flight {
            released.extend(give_up(group, &mut self.not_durable));
        }
        released
    }

    /// What the writer was doing failed, or is hanging: the group in flight goes back to the front, the segment is
    /// written no further. From the second failure in a row on nobody waits for the disk.
    pub(super) fn failed(&mut self, failure: Failure) -> Released {
        self.last_failure = Some(failure);
        self.condition = match self.condition {
            Condition::Well => Condition::Failed,
            Condition::Failed | Condition::Broken { .. } => Condition::Broken { pause: true },
        };
        let mut released = Released::new();
        let has_copy = self.segments.iter().any(|segment| segment.keep == Keep::OnlyCopy);
        if self.current.take().is_some()
            && let Some(segment) = self.segments.back_mut()
            && segment.keep == Keep::Reusable
        {
            segment.keep = if self.in_flight.is_some() && !has_copy { Keep::OnlyCopy } else { Keep::Abandoned };
        }
        if let Some(mut group) = self.in_flight.take() {
            released.extend(give_up(&mut group, &mut self.not_durable));
            self.queue.push_front(group);
        }
        if !self.is_writable() {
            released.extend(self.give_up_queue());
        }
        self.retire();
        released
    }

    fn give_up_queue(&mut self) -> Released {
        let not_durable = &mut self.not_durable;
        self.queue.iter_mut().filter_map(|group| give_up(group, not_durable)).collect()
    }

    /// Releases those who have waited since `opened_before` or earlier.
    pub(super) fn give_up_older(&mut self, opened_before: Duration) -> Released {
        let not_durable = &mut self.not_durable;
        self.in_flight
            .iter_mut()
            .chain(&mut self.queue)
            .filter(|group| group.awaited > 0 && group.opened_at <= opened_before)
            .filter_map(|group| give_up(group, not_durable))
            .collect()
    }

    /// The oldest group that was given up and that the reader has not had.
    pub(super) fn take_given_up(&mut self) -> Option<(u64, Bytes)> {
        let group =
            self.in_flight.iter_mut().chain(&mut self.queue).find(|group| group.given_up && !group.delivered)?;
        group.delivered = true;
        Some((group.number, group.seal()))
    }

    /// Everything up to `position`, and every given-up group numbered below `given_up_before`, is committed in the
    /// database.
    pub(super) fn commit(&mut self, position: Position, given_up_before: u64) {
        self.committed = self.committed.max(position);
        let memory_bytes = &mut self.memory_bytes;
        self.queue.retain(|group| {
            let done = group.delivered && group.number < given_up_before;
            if done {
                *memory_bytes -= group.size() as u64;
            }
            !done
        });
        let committed = self.committed;
        self.undrained_bytes = self.segments.iter().map(|segment| segment.undrained(committed)).sum();
        self.outgoing.commit(committed);
        self.retire();
    }

    /// Hands segments with nothing left in them to the writer, to be cleared away.
    pub(super) fn retire(&mut self) {
        let (current, committed) = (self.current, self.committed);
        let mut spare = self.spare || self.removals.iter().any(|removal| matches!(removal, Removal::Spare(_)));
        let removals = &mut self.removals;
        self.segments.retain(|segment| {
            let needed = Some(segment.number) == current || segment.undrained(committed) > 0;
            if needed || segment.keep == Keep::OnlyCopy {
                return true;
            }
            removals.push_back(match segment.keep {
                Keep::Damaged => Removal::KeepAside(segment.number),
                Keep::Reusable if !spare && segment.end > HEADER_BYTES => {
                    spare = true;
                    Removal::Spare(segment.number)
                }
                Keep::Reusable | Keep::Abandoned | Keep::OnlyCopy => Removal::Remove(segment.number),
            });
            false
        });
    }

    /// Damage was found: it is listed, and the segment will be kept aside.
    pub(super) fn note_damage(&mut self, damage: Damage) {
        if self.damage.len() < DAMAGE_LISTED {
            self.damage.push(damage);
        }
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.number == damage.at.segment) {
            segment.keep = Keep::Damaged;
        }
    }

    /// Since when, by the clock's elapsed time, the oldest uncommitted record waits.
    pub(super) fn oldest_since(&self) -> Option<Duration> {
        let written = self.outgoing.oldest_since();
        let unwritten = self.in_flight.iter().chain(&self.queue).map(|group| group.opened_at).next();
        written.into_iter().chain(unwritten).min()
    }
}

impl Segment {
    /// Bytes of records in it that are not committed.
    pub(super) fn undrained(&self, committed: Position) -> u64 {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let from = match self.number.cmp(&committed.segment) {
            Less => return 0,
            Equal => self.start.max(committed.offset),
            Greater => self.start,
        };
        self.end.saturating_sub(from)
    }
}

fn give_up(group: &mut Group, not_durable: &mut u64) -> Option<Arc<Waiters>> {
    if group.given_up {
        return None;
    }
    group.given_up = true;
    *not_durable += group.awaited;
    group.take_waiters()
}
