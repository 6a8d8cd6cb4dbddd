//! The way out in memory: durable records that the reader has not taken, and how old the uncommitted ones are.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::position::Position;

/// Bytes of durable records kept in memory for the reader; beyond them it reads the file.
const READ_AHEAD_BYTES: usize = 8 << 20;

/// What a range in memory costs besides its records, so that many small ones are bounded too.
const RANGE_OVERHEAD_BYTES: usize = 128;

/// The ages of undrained records are known to within this.
const AGE_STEP: Duration = Duration::from_millis(100);

/// How many steps of age are remembered; beyond them ages are known less well, to the older side.
const AGE_STEPS: usize = 36_000;

/// What is durable and not yet committed.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// What the reader has not taken, in its order.
    ranges: VecDeque<Range>,
    /// Bytes of it in memory.
    ahead_bytes: usize,
    ages: VecDeque<Age>,
}

/// A stretch of durable records that the reader has not taken yet.
#[derive(Debug)]
pub(super) struct Range {
    pub(super) segment: u64,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) source: Source,
}

/// Where a range's records are to be had.
#[derive(Debug)]
pub(super) enum Source {
    Memory(Bytes),
    File,
    /// The reader has had them, before they were durable.
    Delivered,
}

/// Records up to `end` were appended at `at` or later.
#[derive(Debug)]
struct Age {
    end: Position,
    at: Duration,
}

impl Outgoing {
    /// The next range for the reader, which has it from now on.
    pub(super) fn take_range(&mut self) -> Option<Range> {
        let range = self.ranges.pop_front()?;
        if let Source::Memory(bytes) = &range.source {
            self.ahead_bytes -= bytes.len() + RANGE_OVERHEAD_BYTES;
        }
        Some(range)
    }

    /// Forgets the ages of what is committed.
    pub(super) fn commit(&mut self, committed: Position) {
        while self.ages.front().is_some_and(|age| age.end <= committed) {
            self.ages.pop_front();
        }
    }

    /// Since when, by the clock's elapsed time, the oldest uncommitted record waits.
    pub(super) fn oldest_since(&self) -> Option<Duration> {
        self.ages.front().map(|age| age.at)
    }

    /// Remembers that records up to `end` were appended at `at`, by the clock's elapsed time, or later.
    pub(super) fn push_age(&mut self, end: Position, at: Duration) {
        let full = self.ages.len() >= AGE_STEPS;
        match self.ages.back_mut() {
            Some(last) if full || at.saturating_sub(last.at) < AGE_STEP => last.end = end,
            _ => self.ages.push_back(Age { end, at }),
        }
    }

    /// Adds a range behind the others; it stays in memory as far as the bound for that allows.
    pub(super) fn push_range(&mut self, mut range: Range) {
        if let Source::Memory(bytes) = &range.source {
            let cost = bytes.len() + RANGE_OVERHEAD_BYTES;
            if self.ahead_bytes + cost <= READ_AHEAD_BYTES {
                self.ahead_bytes += cost;
            } else {
                range.source = Source::File;
            }
        }
        if let Some(last) = self.ranges.back_mut()
            && last.segment == range.segment
            && last.end == range.start
            && matches!(
                (&last.source, &range.source),
                (Source::File, Source::File) | (Source::Delivered, Source::Delivered)
            )
        {
            last.end = range.end;
            return;
        }
        self.ranges.push_back(range);
    }
}
