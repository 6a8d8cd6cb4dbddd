//! What the journal tells of itself, and what it found broken.

use std::fmt;
use std::time::Duration;

use super::position::Position;
use crate::domain::time::Timestamp;

/// The journal at one moment, for the status page, metrics and admission.
#[derive(Clone, Debug)]
pub struct Health {
    /// The last thing asked of the disk succeeded. False: red.
    pub writable: bool,
    /// New calls may be sent upstream with their record promised: writable, and below the limit.
    pub accepts_new_calls: bool,
    /// Bytes of records that the reader has not committed, on disk and in memory.
    pub held_bytes: u64,
    /// Of those, the bytes that are in memory only: not yet written, or not writable.
    pub memory_bytes: u64,
    /// From how many held bytes on no new call is accepted.
    pub limit_bytes: u64,
    /// Segment files in use.
    pub segments: usize,
    /// Age of the oldest record that the reader has not committed, known to within 100 ms while less than about an
    /// hour's worth waits; records from before the start count from the start. `None`: nothing waits.
    pub oldest_undrained: Option<Duration>,
    /// Records appended since the start.
    pub records: u64,
    /// Groups made durable since the start, each with one sync.
    pub syncs: u64,
    /// Records whose waiters were released without the record being durable, since the start.
    pub not_durable: u64,
    /// Records refused since the start: the journal was full, its memory was, or the record was too long.
    pub refused: u64,
    /// The last thing that went wrong with the disk; stays after recovery.
    pub last_failure: Option<Failure>,
    /// What was found broken since the start, at most the first 100.
    pub damage: Vec<Damage>,
    /// Segment files kept aside (`*.damaged`) because something in them could not be read.
    pub kept_aside: usize,
}

/// Something that went wrong with the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When, by the wall clock.
    pub at: Timestamp,
    /// What, in one sentence.
    pub what: String,
}

/// A part of the journal that could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it starts.
    pub at: Position,
    /// How many bytes were passed over.
    pub bytes: u64,
    /// What was wrong.
    pub kind: DamageKind,
}

/// What was wrong with a part of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// Bytes that are no intact record lie where records were durable.
    Checksum,
    /// The segment's header is spoilt; its records are read nonetheless.
    Header,
    /// A segment that the following one continues is not there, or shorter than it was.
    Missing,
    /// The segment belongs to another journal; it is not read.
    Foreign,
    /// The disk does not give the bytes back.
    Unreadable,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, bytes, kind } = self;
        match kind {
            DamageKind::Checksum => {
                write!(f, "{bytes} bytes of journal segment {} at {} are damaged", at.segment, at.offset)
            }
            DamageKind::Header => write!(f, "the header of journal segment {} is damaged", at.segment),
            DamageKind::Missing => {
                write!(f, "journal segment {} is missing or cut off, with records up to {}", at.segment, at.offset)
            }
            DamageKind::Foreign => write!(f, "journal segment {} belongs to another journal", at.segment),
            DamageKind::Unreadable => {
                write!(f, "{bytes} bytes of journal segment {} at {} cannot be read", at.segment, at.offset)
            }
        }
    }
}
