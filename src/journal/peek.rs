//! Looks into a journal's folder from outside: owns nothing, changes nothing, may look while a daemon writes.

use std::fs::File;
use std::io;
use std::path::Path;

use super::disk::{SystemDisk, read_chunk};
use super::folder::{read_id, segment_numbers, segment_path};
use super::format::{HEADER_BYTES, SegmentHeader, segment_mask};
use super::position::{JournalId, Position};
use super::scan::read_records;

/// Bytes of records read at once.
const PIECE_BYTES: usize = 8 << 20;

/// What stands in a journal behind a position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undrained {
    /// Records.
    pub records: u64,
    /// Their payloads, in bytes.
    pub bytes: u64,
}

/// The name of the journal in the folder; `None` where there is none.
pub fn id(folder: &Path) -> io::Result<Option<JournalId>> {
    match File::open(folder.join(super::folder::ID_NAME)) {
        Ok(file) => read_id(&file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Counts the records of the journal `id` behind `drained` (`None`: all of them). What a daemon clears away meanwhile
/// has been drained, and is left out.
pub fn undrained(folder: &Path, id: JournalId, drained: Option<Position>) -> io::Result<Undrained> {
    let drained = drained.unwrap_or_default();
    let mut found = Undrained::default();
    for number in segment_numbers(&SystemDisk, folder)?.into_iter().filter(|number| *number >= drained.segment) {
        let from = if number == drained.segment { drained.offset.max(HEADER_BYTES) } else { HEADER_BYTES };
        match File::open(segment_path(folder, number)) {
            Ok(file) => count(&file, id, Position { segment: number, offset: from }, &mut found)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn count(file: &File, id: JournalId, mut at: Position, found: &mut Undrained) -> io::Result<()> {
    let head = read_chunk(file, 0, SegmentHeader::BYTES)?;
    // A file that waits to be used again, or of somebody else, holds nothing of ours; behind a spoilt header may be some.
    if SegmentHeader::decode(&head).is_ok_and(|header| header.journal != id || header.segment != at.segment) {
        return Ok(());
    }
    let (mask, end) = (segment_mask(id, at.segment), file.metadata()?.len());
    while at.offset < end {
        let read = read_records(file, mask, at, end, usize::MAX, PIECE_BYTES)?;
        found.records += read.records.len() as u64;
        found.bytes += read.records.iter().map(|record| record.len() as u64).sum::<u64>();
        at.offset = read.next;
    }
    Ok(())
}
