//! Opening a database: files, pragmas, pools.

use std::time::Duration;

use sqlx::{PgPool, SqlitePool};

use super::{StoreError, Tx};

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// One file on this machine.
    Sqlite,
    /// A server.
    Postgres,
}

/// How to open a database.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// `sqlite:/path/to/file` or `postgres://…`.
    pub url: String,
    /// Most connections that read at once.
    pub readers: u32,
    /// How long to wait for a lock or a free connection.
    pub busy_timeout: Duration,
}

impl StoreOptions {
    /// The usual options for `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), readers: 4, busy_timeout: Duration::from_secs(10) }
    }
}

/// An open database; cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) pools: Pools,
}

#[derive(Clone, Debug)]
pub(super) enum Pools {
    Sqlite { write: SqlitePool, read: SqlitePool },
    Postgres(PgPool),
}

impl Store {
    /// Opens the database, made and brought up to date first if need be.
    pub async fn open(options: &StoreOptions) -> Result<Self, StoreError> {
        todo!()
    }

    /// Opens the database to be read only; it must be there and of this version.
    pub async fn open_read_only(options: &StoreOptions) -> Result<Self, StoreError> {
        todo!()
    }

    /// Which engine it is.
    pub fn engine(&self) -> Engine {
        match self.pools {
            Pools::Sqlite { .. } => Engine::Sqlite,
            Pools::Postgres(_) => Engine::Postgres,
        }
    }

    /// Begins a write transaction: alone on SQLite (`BEGIN IMMEDIATE`), one of many on PostgreSQL.
    pub async fn write(&self) -> Result<Tx, StoreError> {
        todo!()
    }

    /// Closes every connection; SQLite moves its write-ahead log into the file.
    pub async fn close(&self) {
        todo!()
    }
}
