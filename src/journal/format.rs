//! The bytes of a segment: a header, then records one behind the other, then an end mark.
//!
//! Header (64 bytes, little endian): magic, version, journal ID, number of the segment, the position which the
//! segment continues, 8 bytes of zero, CRC-32 of all that. Record: length (4 bytes, never 0), CRC-32 of length and
//! payload (4 bytes), payload. On disk a mask is laid over the checksum, made of journal ID and segment number: a
//! file is used again for a later segment, and what is left in it of the earlier one must not pass for a record. End
//! mark: 8 bytes of zero, overwritten by the next group.
//!
//! Pure functions over bytes: no I/O here.

use std::ops::Range;

use super::position::{JournalId, Position};

/// Longest payload of one record, in bytes.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

/// Where the first record of a segment stands, in bytes.
pub(super) const HEADER_BYTES: u64 = SegmentHeader::BYTES as u64;

/// Bytes before a record's payload: length and checksum.
pub(super) const RECORD_HEAD_BYTES: usize = 8;

/// What stands behind the last record: a length of zero.
pub(super) const END_MARK: [u8; 8] = [0; 8];

/// How many bytes a search for the next intact record may hash before it gives up the rest of the segment: it looks
/// at every byte, and hostile payloads could make each of them look like the start of a long record.
const RESYNC_HASH_BYTES: usize = 256 << 20;

const MAGIC: [u8; 8] = *b"tallyjnl";
const VERSION: u32 = 1;

/// What the first 64 bytes of a segment say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) journal: JournalId,
    pub(super) segment: u64,
    /// End of the last record known durable when the segment was begun: up to there, its predecessor must be intact.
    pub(super) continues: Position,
}

/// Why 64 bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderFault {
    /// Fewer bytes than a header: creation was cut short.
    Short,
    /// Magic or checksum is wrong.
    Bad,
    /// Written by a later version of the program.
    Newer(u32),
}

impl SegmentHeader {
    /// Length in bytes.
    pub(super) const BYTES: usize = 64;

    pub(super) fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..28].copy_from_slice(self.journal.as_bytes());
        bytes[28..36].copy_from_slice(&self.segment.to_le_bytes());
        bytes[36..44].copy_from_slice(&self.continues.segment.to_le_bytes());
        bytes[44..52].copy_from_slice(&self.continues.offset.to_le_bytes());
        let sum = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let bytes = bytes.first_chunk::<{ Self::BYTES }>().ok_or(HeaderFault::Short)?;
        if bytes[..8] != MAGIC || u32_at(bytes, 60) != crc32fast::hash(&bytes[..60]) {
            return Err(HeaderFault::Bad);
        }
        match u32_at(bytes, 8) {
            VERSION => {}
            newer if newer > VERSION => return Err(HeaderFault::Newer(newer)),
            _ => return Err(HeaderFault::Bad),
        }
        let mut journal = [0; 16];
        journal.copy_from_slice(&bytes[12..28]);
        Ok(Self {
            journal: JournalId::from_bytes(journal),
            segment: u64_at(bytes, 28),
            continues: Position { segment: u64_at(bytes, 36), offset: u64_at(bytes, 44) },
        })
    }
}

/// The checksum of a record as it stands in memory, not yet masked for a segment.
pub(super) fn checksum(length: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// What lies over a segment's checksums (XOR).
pub(super) fn segment_mask(journal: JournalId, segment: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(journal.as_bytes());
    hasher.update(&segment.to_le_bytes());
    hasher.finalize()
}

/// Adds a record to a group in memory (mask 0).
pub(super) fn push_record(group: &mut Vec<u8>, length: u32, checksum: u32, payload: &[u8]) {
    group.extend_from_slice(&length.to_le_bytes());
    group.extend_from_slice(&checksum.to_le_bytes());
    group.extend_from_slice(payload);
}

/// Puts a group of records from memory into `out` as it stands in the segment with this mask, end mark included.
pub(super) fn write_masked(group: &[u8], mask: u32, out: &mut Vec<u8>) {
    out.clear();
    out.reserve(group.len() + END_MARK.len());
    out.extend_from_slice(group);
    let mut at = 0;
    while at + RECORD_HEAD_BYTES <= out.len() {
        let length = u32_at(out, at);
        let masked = u32_at(out, at + 4) ^ mask;
        out[at + 4..at + 8].copy_from_slice(&masked.to_le_bytes());
        at += RECORD_HEAD_BYTES + length as usize;
    }
    out.extend_from_slice(&END_MARK);
}

/// What stands at one place of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// An intact record: where its payload lies in the bytes looked at.
    Record(Range<usize>),
    /// A length of zero: nothing was written behind here.
    End,
    /// More bytes are needed, this many from the start of the record, to tell.
    Partial(usize),
    /// Not a record of this segment.
    Bad,
}

/// Looks at the record that starts at `at`.
pub(super) fn frame_at(bytes: &[u8], at: usize, mask: u32) -> Frame {
    let Some(head) = bytes.get(at..at + RECORD_HEAD_BYTES) else {
        return Frame::Partial(RECORD_HEAD_BYTES);
    };
    let length = u32_at(head, 0);
    if length == 0 {
        return Frame::End;
    }
    if length as usize > MAX_RECORD_BYTES {
        return Frame::Bad;
    }
    let payload = at + RECORD_HEAD_BYTES..at + RECORD_HEAD_BYTES + length as usize;
    match bytes.get(payload.clone()) {
        None => Frame::Partial(RECORD_HEAD_BYTES + length as usize),
        Some(body) if checksum(length, body) == u32_at(head, 4) ^ mask => Frame::Record(payload),
        Some(_) => Frame::Bad,
    }
}

/// Where the payload of the first record of a group in memory lies. The group is ours, whole and not empty; its
/// checksums are for the disk.
pub(super) fn first_in_memory(group: &[u8]) -> Range<usize> {
    RECORD_HEAD_BYTES..RECORD_HEAD_BYTES + u32_at(group, 0) as usize
}

/// The start of the first intact record at or behind `from`.
pub(super) fn resync(bytes: &[u8], from: usize, mask: u32) -> Option<usize> {
    let mut may_hash = RESYNC_HASH_BYTES;
    for at in from..bytes.len().saturating_sub(RECORD_HEAD_BYTES) {
        let length = u32_at(bytes, at) as usize;
        if length == 0 || length > MAX_RECORD_BYTES || at + RECORD_HEAD_BYTES + length > bytes.len() {
            continue;
        }
        may_hash = may_hash.checked_sub(length)?;
        if matches!(frame_at(bytes, at, mask), Frame::Record(_)) {
            return Some(at);
        }
    }
    None
}

/// The end of the unbroken run of intact records that starts at `from`.
pub(super) fn run_end(bytes: &[u8], from: usize, mask: u32) -> usize {
    let mut at = from;
    while let Frame::Record(payload) = frame_at(bytes, at, mask) {
        at = payload.end;
    }
    at
}

/// The end of the last intact record at or behind `from`, however much broken matter lies before it; and whether what
/// follows is something else than nothing, that is a record cut short.
pub(super) fn last_end(bytes: &[u8], from: usize, mask: u32) -> (usize, bool) {
    let mut end = run_end(bytes, from, mask);
    while let Some(found) = resync(bytes, end + 1, mask) {
        end = run_end(bytes, found, mask);
    }
    let torn = end < bytes.len() && frame_at(bytes, end, mask) != Frame::End;
    (end, torn)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: JournalId = JournalId::from_bytes(*b"0123456789abcdef");

    fn group(payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for payload in payloads {
            let length = u32::try_from(payload.len()).unwrap();
            push_record(&mut bytes, length, checksum(length, payload), payload);
        }
        bytes
    }

    fn read_all(bytes: &[u8], mask: u32) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        let mut at = 0;
        while let Frame::Record(payload) = frame_at(bytes, at, mask) {
            at = payload.end;
            records.push(bytes[payload].to_vec());
        }
        records
    }

    #[test]
    fn header_survives_the_round_trip_and_tells_faults() {
        let header = SegmentHeader { journal: ID, segment: 7, continues: Position { segment: 6, offset: 4711 } };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
        assert_eq!(SegmentHeader::decode(&bytes[..63]), Err(HeaderFault::Short));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&flipped), Err(HeaderFault::Bad), "bit {bit}");
        }
        let mut newer = bytes;
        newer[8] = 2;
        let sum = crc32fast::hash(&newer[..60]);
        newer[60..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&newer), Err(HeaderFault::Newer(2)));
    }

    #[test]
    fn records_of_another_segment_do_not_pass() {
        let raw = group(&[b"one".to_vec(), b"two".to_vec()]);
        let mut disk = Vec::new();
        write_masked(&raw, segment_mask(ID, 3), &mut disk);
        assert_eq!(read_all(&disk, segment_mask(ID, 3)).len(), 2);
        assert_eq!(frame_at(&disk, 0, segment_mask(ID, 4)), Frame::Bad);
        assert_eq!(resync(&disk, 0, segment_mask(ID, 4)), None);
        assert_eq!(last_end(&disk, 0, segment_mask(ID, 3)), (raw.len(), false));
    }

    proptest! {
        #[test]
        fn every_cut_leaves_exactly_the_whole_records(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 1..12),
            segment in any::<u64>(),
        ) {
            let mask = segment_mask(ID, segment);
            let mut disk = Vec::new();
            write_masked(&group(&payloads), mask, &mut disk);
            for cut in 0..=disk.len() {
                let mut end = 0;
                let whole = payloads.iter().take_while(|payload| {
                    end += RECORD_HEAD_BYTES + payload.len();
                    end <= cut
                }).count();
                prop_assert_eq!(read_all(&disk[..cut], mask), &payloads[..whole]);
            }
        }

        #[test]
        fn a_flipped_bit_costs_one_record(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 3..12),
            victim in any::<prop::sample::Index>(),
            bit in any::<prop::sample::Index>(),
        ) {
            let mask = segment_mask(ID, 1);
            let mut disk = Vec::new();
            write_masked(&group(&payloads), mask, &mut disk);
            let victim = victim.index(payloads.len() - 1);
            let start: usize = payloads[..victim].iter().map(|p| RECORD_HEAD_BYTES + p.len()).sum();
            let length = RECORD_HEAD_BYTES + payloads[victim].len();
            let bit = bit.index(length * 8);
            disk[start + bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(run_end(&disk, 0, mask), start);
            prop_assert_eq!(resync(&disk, start + 1, mask), Some(start + length));
        }
    }
}
