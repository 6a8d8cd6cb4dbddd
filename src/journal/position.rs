//! Where in the journal something stands, and which journal it is.

use std::fmt;
use std::str::FromStr;

use crate::clock::Entropy;

/// A place between two records: everything before it has been read, the next record starts at it or in a later
/// segment.
///
/// Ordered; never reused, because every start opens a segment with a higher number than any seen before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Number of the segment; the first is 1, 0 stands before everything.
    pub segment: u64,
    /// Bytes from the start of the segment's file.
    pub offset: u64,
}

impl Position {
    /// As two columns of a database: segment, offset. Neither leaves the range of `i64` in practice; one that did is
    /// held at its end.
    pub fn to_i64_pair(self) -> (i64, i64) {
        (i64::try_from(self.segment).unwrap_or(i64::MAX), i64::try_from(self.offset).unwrap_or(i64::MAX))
    }

    /// Back from two columns; `None` if one of them is negative.
    pub fn from_i64_pair(segment: i64, offset: i64) -> Option<Self> {
        Some(Self { segment: u64::try_from(segment).ok()?, offset: u64::try_from(offset).ok()? })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.segment, self.offset)
    }
}

/// The name a journal keeps for life; a database stores positions under it, so that a position of one journal is
/// never applied to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JournalId([u8; 16]);

impl JournalId {
    pub(super) fn random(entropy: &Entropy) -> Self {
        Self(entropy.next_u128().to_be_bytes())
    }

    pub(super) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(super) const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for JournalId {
    /// 32 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// A text that is not 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a journal ID is 32 hexadecimal digits")]
pub struct BadJournalId;

impl FromStr for JournalId {
    type Err = BadJournalId;

    fn from_str(text: &str) -> Result<Self, BadJournalId> {
        if text.len() != 32 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(BadJournalId);
        }
        u128::from_str_radix(text, 16).map(|number| Self(number.to_be_bytes())).map_err(|_| BadJournalId)
    }
}
