//! `[settle]`: how hard OpenRouter is asked for generation records.

use std::time::Duration;

use super::reader::{Read, Reader};

/// The settings of `[settle]`.
#[derive(Clone, Debug)]
pub struct Settle {
    /// Records read at once.
    pub concurrency: usize,
    /// Records read in a second at most.
    pub rate_per_second: u32,
    /// How long after the call a record that never came is given up.
    pub give_up_after: Duration,
    /// How long one reading may take.
    pub timeout: Duration,
}

impl Settle {
    pub(super) fn read(reader: &mut Reader<'_>) -> Read<Self> {
        Ok(Self {
            concurrency: reader.count("settle.concurrency", 1..=256)?,
            rate_per_second: reader.count("settle.rate_per_second", 1..=1000)?,
            give_up_after: reader
                .duration("settle.give_up_after", Duration::from_mins(1)..=Duration::from_hours(24 * 30))?,
            timeout: reader.duration("settle.timeout", Duration::from_secs(1)..=Duration::from_mins(5))?,
        })
    }
}
