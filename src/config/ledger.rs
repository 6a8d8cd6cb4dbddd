//! `[ledger]`: how the journal's records reach the database.

use std::time::Duration;

use super::reader::{Read, Reader};

/// The settings of `[ledger]`.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// The most journal records written in one transaction.
    pub batch_rows: usize,
    /// How long the writer gathers records before it writes fewer.
    pub batch_wait: Duration,
    /// Connections for reading.
    pub read_connections: u32,
}

impl Ledger {
    pub(super) fn read(reader: &mut Reader<'_>) -> Read<Self> {
        Ok(Self {
            batch_rows: reader.count("ledger.batch_rows", 1..=100_000)?,
            batch_wait: reader.duration("ledger.batch_wait", Duration::from_millis(1)..=Duration::from_secs(10))?,
            read_connections: reader.count("ledger.read_connections", 1..=64)?,
        })
    }
}
