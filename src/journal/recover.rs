//! What an earlier life left in the folder, and where reading and writing go on.
//!
//! No segment of an earlier life is written again: a start begins a segment with a higher number than any seen, so
//! that a position once committed never names another record. Each segment's header says up to where the log was
//! durable when it was begun; up to there its predecessor must be intact. Behind that point, and in the last segment,
//! whatever is intact is taken and the rest is a torn tail, dropped.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;

use super::JournalError;
use super::disk::{Disk, read_chunk};
use super::folder::{damaged_count, segment_numbers, segment_path, spare_path};
use super::format::{HEADER_BYTES, HeaderFault, SegmentHeader, last_end, run_end, segment_mask};
use super::health::{Damage, DamageKind};
use super::outgoing::{Range, Source};
use super::position::{JournalId, Position};
use super::state::{Keep, Removal, Segment, State};

/// The state to start from, and what is to be told about it.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) state: State,
    /// Where a record was cut short by the end of the earlier life.
    pub(super) torn_tail: Option<Position>,
}

/// A segment as found.
struct Found {
    number: u64,
    bytes: u64,
    /// `None`: the header is spoilt.
    continues: Option<Position>,
}

/// Looks through the folder. `start_after` is the position last committed in the database; `None` reads everything
/// that is there.
pub(super) fn recover(
    disk: &dyn Disk,
    folder: &Path,
    id: JournalId,
    start_after: Option<Position>,
) -> Result<Recovered, JournalError> {
    let fault = |error| JournalError::Folder { folder: folder.to_owned(), error };
    let committed = start_after.unwrap_or_default();
    let mut state = State::starting_at(committed);
    let mut found = Vec::new();
    let mut next_number = committed.segment;
    for number in segment_numbers(disk, folder).map_err(fault)? {
        next_number = next_number.max(number);
        match look_at(disk, folder, id, number) {
            Ok(Look::Segment(segment)) => {
                if segment.continues.is_none() && number >= committed.segment {
                    let at = Position { segment: number, offset: 0 };
                    state.damage.push(Damage { at, bytes: HEADER_BYTES, kind: DamageKind::Header });
                }
                found.push(segment);
            }
            Ok(Look::Unused) => state.removals.push_back(Removal::Remove(number)),
            Ok(Look::Foreign(bytes)) => {
                let at = Position { segment: number, offset: 0 };
                state.damage.push(Damage { at, bytes, kind: DamageKind::Foreign });
                state.removals.push_back(Removal::KeepAside(number));
            }
            Ok(Look::Newer(version)) => {
                return Err(JournalError::Newer { path: segment_path(folder, number), version });
            }
            Err(error) => return Err(fault(error)),
        }
    }
    state.next_number = next_number;
    state.spare = disk.open(&spare_path(folder)).is_ok();
    state.kept_aside = damaged_count(disk, folder).map_err(fault)?;
    let torn_tail = lay_out(disk, folder, id, &found, start_after, &mut state).map_err(fault)?;
    state.undrained_bytes = state.segments.iter().map(|segment| segment.undrained(committed)).sum();
    Ok(Recovered { state, torn_tail })
}

enum Look {
    Segment(Found),
    /// Its creation was cut short, or it is an older file that was about to be used again: nothing is in it.
    Unused,
    Foreign(u64),
    Newer(u32),
}

fn look_at(disk: &dyn Disk, folder: &Path, id: JournalId, number: u64) -> io::Result<Look> {
    let file = disk.open(&segment_path(folder, number))?;
    let bytes = file.size()?;
    let head = read_chunk(&*file, 0, SegmentHeader::BYTES)?;
    Ok(match SegmentHeader::decode(&head) {
        Err(HeaderFault::Short) => Look::Unused,
        Err(HeaderFault::Bad) => Look::Segment(Found { number, bytes, continues: None }),
        Err(HeaderFault::Newer(version)) => Look::Newer(version),
        Ok(header) if header.journal != id => Look::Foreign(bytes),
        // A drained file was renamed, and its new header not yet written.
        Ok(header) if header.segment != number => Look::Unused,
        Ok(header) => Look::Segment(Found { number, bytes, continues: Some(header.continues) }),
    })
}

/// Finds out where each segment ends, and puts segments and ranges into the state.
fn lay_out(
    disk: &dyn Disk,
    folder: &Path,
    id: JournalId,
    found: &[Found],
    start_after: Option<Position>,
    state: &mut State,
) -> io::Result<Option<Position>> {
    let committed = start_after.unwrap_or_default();
    let durable_ends = durable_ends(found);
    let mut torn_tail = None;
    let mut segments = VecDeque::new();
    for segment in found {
        let number = segment.number;
        let durable_end = durable_ends.get(&number).copied();
        let ends = ends_of(disk, folder, id, segment, durable_end, number <= committed.segment)?;
        let keep = if segment.continues.is_none() || ends.broken { Keep::Damaged } else { Keep::Reusable };
        let from = match number.cmp(&committed.segment) {
            Ordering::Less => ends.last,
            Ordering::Equal => committed.offset.max(HEADER_BYTES),
            Ordering::Greater => HEADER_BYTES,
        };
        let end = ends.last.max(from);
        if ends.torn && number >= committed.segment {
            torn_tail = Some(Position { segment: number, offset: end });
        }
        if end > from {
            state.durable_end = Position { segment: number, offset: end };
            state.outgoing.push_range(Range { segment: number, start: from, end, source: Source::File });
        }
        segments.push_back(Segment { number, start: from, end, keep });
    }
    for (&number, &offset) in &durable_ends {
        let at = Position { segment: number, offset };
        let there = found.iter().any(|segment| segment.number == number);
        // Without a committed position nobody knows what may be missing.
        if !there && start_after.is_some_and(|committed| at > committed) {
            state.damage.push(Damage { at, bytes: offset.saturating_sub(HEADER_BYTES), kind: DamageKind::Missing });
        }
    }
    state.segments = segments;
    Ok(torn_tail)
}

/// Up to where each segment was durable, as the headers of later ones tell.
fn durable_ends(found: &[Found]) -> BTreeMap<u64, u64> {
    let mut ends = BTreeMap::new();
    for continues in found.iter().filter_map(|segment| segment.continues) {
        if continues.segment > 0 {
            let end = ends.entry(continues.segment).or_insert(continues.offset);
            *end = continues.offset.max(*end);
        }
    }
    ends
}

/// Where a segment's records end.
struct Ends {
    last: u64,
    /// A record is cut short behind the last.
    torn: bool,
    /// Something that is not a record lies before the last, or the file is shorter than it was.
    broken: bool,
}

/// Looks for the end of a segment. Where a later header tells it, only what lies behind is looked at, unless `whole`:
/// what is committed already is not read again, and if it holds damage the file must be kept all the same.
fn ends_of(
    disk: &dyn Disk,
    folder: &Path,
    id: JournalId,
    segment: &Found,
    durable_end: Option<u64>,
    whole: bool,
) -> io::Result<Ends> {
    let mask = segment_mask(id, segment.number);
    let file = disk.open(&segment_path(folder, segment.number))?;
    let tail_of = |from: u64| {
        let length = usize::try_from(segment.bytes.saturating_sub(from)).unwrap_or(usize::MAX);
        read_chunk(&*file, from, length)
    };
    let intact_to = |bytes: &[u8]| HEADER_BYTES + run_end(bytes, 0, mask) as u64;
    let Some(durable_end) = durable_end else {
        let bytes = tail_of(HEADER_BYTES)?;
        let (last, torn) = last_end(&bytes, 0, mask);
        let last = HEADER_BYTES + last as u64;
        return Ok(Ends { last, torn, broken: intact_to(&bytes) < last });
    };
    let broken = segment.bytes < durable_end || (whole && intact_to(&tail_of(HEADER_BYTES)?) < durable_end);
    let last = durable_end + run_end(&tail_of(durable_end)?, 0, mask) as u64;
    Ok(Ends { last, torn: false, broken })
}
