//! Reads the records of one segment from its file.

use std::io;

use bytes::Bytes;

use super::disk::{DiskFile, read_chunk};
use super::format::{Frame, frame_at, resync};
use super::health::{Damage, DamageKind};
use super::position::Position;

/// Bytes read from a segment at once, unless a single record is longer.
const READ_CHUNK_BYTES: usize = 256 << 10;

/// Records read, or damage passed over.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) records: Vec<Bytes>,
    /// The offset at which to go on.
    pub(super) next: u64,
    pub(super) damage: Option<Damage>,
}

/// Reads records from `from` up to `end`, which were durable: whatever else stands there is damage. Gives at most
/// `max_records` and few more bytes than `max_bytes`; at least one record, unless there is damage.
pub(super) fn read_records(
    file: &dyn DiskFile,
    mask: u32,
    from: Position,
    end: u64,
    max_records: usize,
    max_bytes: usize,
) -> io::Result<Read> {
    let left = usize::try_from(end.saturating_sub(from.offset)).unwrap_or(usize::MAX);
    let mut bytes = Bytes::from(read_chunk(file, from.offset, left.min(READ_CHUNK_BYTES))?);
    if let Frame::Partial(needed) = frame_at(&bytes, 0, mask)
        && needed > bytes.len()
        && needed <= left
    {
        bytes = Bytes::from(read_chunk(file, from.offset, needed)?);
    }
    let mut records = Vec::new();
    let mut at = 0;
    let mut size = 0;
    while records.len() < max_records.max(1) && size < max_bytes.max(1) {
        let Frame::Record(payload) = frame_at(&bytes, at, mask) else { break };
        at = payload.end;
        size += payload.len();
        records.push(bytes.slice(payload));
    }
    if !records.is_empty() {
        return Ok(Read { records, next: from.offset + at as u64, damage: None });
    }
    let rest = read_chunk(file, from.offset, left)?;
    let skipped = resync(&rest, 1, mask).unwrap_or(left) as u64;
    let damage = Damage { at: from, bytes: skipped, kind: DamageKind::Checksum };
    Ok(Read { records, next: from.offset + skipped, damage: Some(damage) })
}
