//! `[sql]`: what people's own queries may take.

use std::time::Duration;

use secrecy::SecretString;

use super::reader::{Read, Reader};

/// The settings of `[sql]`.
#[derive(Clone, Debug)]
pub struct Sql {
    /// Longest time one query may run.
    pub time_limit: Duration,
    /// Most rows of one answer.
    pub rows: usize,
    /// Most bytes of one answer.
    pub bytes: usize,
    /// Most memory one query may take, in bytes.
    pub memory: u64,
    /// Queries that run at once.
    pub concurrency: usize,
    /// PostgreSQL as a user who may read the views alone; `None`: as our own user, in the role that a migration makes.
    pub reader_url: Option<SecretString>,
}

impl Sql {
    pub(super) fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let bytes = reader.size("sql.bytes", 1024..=1 << 30)?;
        Ok(Self {
            time_limit: reader.duration("sql.time_limit", Duration::from_millis(100)..=Duration::from_mins(5))?,
            rows: reader.count("sql.rows", 1..=10_000_000)?,
            bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            memory: reader.size("sql.memory", 16 << 20..=64 << 30)?,
            concurrency: reader.count("sql.concurrency", 1..=64)?,
            reader_url: reader.secret("sql.reader_url")?,
        })
    }
}
