//! `[journal]`: how observations reach the disk.

use std::time::Duration;

use super::reader::{Read, Reader};
use crate::domain::budget::OnLedgerFailure;

const MIB: u64 = 1 << 20;

/// The settings of `[journal]`.
#[derive(Clone, Debug)]
pub struct Journal {
    /// A sync that takes longer opens a new segment and lets the reply go.
    pub sync_timeout: Duration,
    /// The largest size of all segments together, in bytes; at least two segments.
    pub limit: u64,
    /// The size at which a segment is closed, in bytes.
    pub segment_size: u64,
    /// What becomes of new calls when the journal cannot take them.
    pub on_ledger_failure: OnLedgerFailure,
}

impl Journal {
    pub(super) fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let journal = Self {
            sync_timeout: reader
                .duration("journal.sync_timeout", Duration::from_millis(100)..=Duration::from_mins(5))?,
            limit: reader.size("journal.limit", 2 * MIB..=MIB * MIB)?,
            segment_size: reader.size("journal.segment_size", MIB..=256 * MIB)?,
            on_ledger_failure: reader.choice(
                "journal.on_ledger_failure",
                &[("forward", OnLedgerFailure::Forward), ("refuse", OnLedgerFailure::Refuse)],
            )?,
        };
        if journal.limit < 2 * journal.segment_size {
            return reader.wrong_together(
                ["journal.limit", "journal.segment_size"],
                "the limit must hold two segments at least: raise journal.limit or lower journal.segment_size",
            );
        }
        Ok(journal)
    }
}
