//! What can go wrong with the database, told by what the caller can do about it.

use std::path::PathBuf;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL names no engine we know, or can not be read. Never shows the URL, which may hold a password.
    #[error("database_url can not be used: {0}. Write sqlite:/path/to/tallyd.db or postgres://user@host/database")]
    Url(String),
    /// The folder or file of a SQLite database can not be made or opened.
    #[error("{path} can not be opened: {source}. Give tallyd a folder it may write to, or change database_url")]
    Unwritable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database file is not there, and it was only to be read.
    #[error("there is no database at {0}; start `tallyd serve` once, or change database_url")]
    Missing(PathBuf),
    /// The database holds tables and none of ours.
    #[error(
        "the database holds tables that are not tallyd's (such as \"{table}\"); give tallyd a database or schema of its own in database_url"
    )]
    Foreign {
        /// One of them.
        table: String,
    },
    /// A newer tallyd has written the database.
    #[error(
        "the database has version {found}, this tallyd knows up to {known}; run the newer tallyd, or restore a backup made before it"
    )]
    Newer {
        /// Version of the database.
        found: i64,
        /// Newest version known here.
        known: i64,
    },
    /// An older tallyd has written the database, and it was only to be read.
    #[error(
        "the database has version {found}, this tallyd needs {known}; start `tallyd serve` once to bring it up to date"
    )]
    Older {
        /// Version of the database.
        found: i64,
        /// Version needed here.
        known: i64,
    },
    /// The PostgreSQL server can not be reached or lets us not in.
    #[error(
        "PostgreSQL can not be used: {0}. See that the server runs, and that database_url names the right host, user and database"
    )]
    Unreachable(String),
    /// Another connection holds a lock, or none could be had in time; passes by itself.
    #[error("the database is locked, or no connection to it was free in time; tallyd tries again by itself")]
    Busy,
    /// The disk is full, or a quota is reached; passes when there is room.
    #[error("the disk of the database is full; make room")]
    DiskFull,
    /// Two writers met on one row (deadlock, serialization, a unique key); the transaction may be repeated.
    #[error("another writer was faster: {0}; tallyd tries again by itself")]
    Race(String),
    /// The connection to the server broke, or the disk failed; the transaction may be repeated.
    #[error("the connection to the database, or its disk, failed: {0}; tallyd tries again by itself")]
    ConnectionLost(String),
    /// The file is damaged or no database.
    #[error("the database file is damaged or is no SQLite database: {0}. Restore a backup, or change database_url")]
    Damaged(String),
    /// A migration did not go through.
    #[error(
        "the database could not be brought up to date: {0}. It is as it was before; see that the user may create tables and views"
    )]
    Migration(String),
    /// The database was opened to be read only.
    #[error("the database was opened to be read only")]
    ReadOnly,
    /// A row holds what this version does not understand.
    #[error("the row {row} can not be read: {what}; was it changed by hand, or by a newer tallyd?")]
    Unreadable {
        /// The table and the row's key.
        row: String,
        /// The column, and why.
        what: String,
    },
    /// Anything else the database says; to be reported.
    #[error("the database refused: {0}")]
    Database(#[source] sqlx::Error),
}

impl StoreError {
    /// Whether the same transaction, repeated later, may succeed without anybody changing anything here.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Busy | Self::DiskFull | Self::Race(_) | Self::ConnectionLost(_) | Self::Unreachable(_))
    }

    pub(super) fn encoding(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Database(sqlx::Error::Encode(Box::new(error)))
    }

    pub(super) fn unreadable(row: &(impl ToString + ?Sized), what: &(impl ToString + ?Sized)) -> Self {
        Self::Unreadable { row: row.to_string(), what: what.to_string() }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::PoolTimedOut => Self::Busy,
            sqlx::Error::Io(source) if source.kind() == std::io::ErrorKind::StorageFull => Self::DiskFull,
            // The last two: the connection is not in the state that it and the driver think it is; another will be.
            sqlx::Error::Io(_)
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::InvalidSavePointStatement
            | sqlx::Error::BeginFailed => Self::ConnectionLost(error.to_string()),
            sqlx::Error::Database(database) => {
                if let Some(told) = database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
                    of_postgres(told.code(), told.message()).unwrap_or(Self::Database(error))
                } else {
                    let code = database.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or(0);
                    of_sqlite(code, database.message()).unwrap_or(Self::Database(error))
                }
            }
            _ => Self::Database(error),
        }
    }
}

/// By SQLite's (extended) result code, whose low byte is the primary one.
fn of_sqlite(code: i32, message: &str) -> Option<StoreError> {
    // SQLITE_CONSTRAINT_UNIQUE, SQLITE_CONSTRAINT_PRIMARYKEY
    if matches!(code, 2067 | 1555) {
        return Some(StoreError::Race(message.to_owned()));
    }
    match code & 0xff {
        // SQLITE_BUSY, SQLITE_LOCKED
        5 | 6 => Some(StoreError::Busy),
        // SQLITE_FULL
        13 => Some(StoreError::DiskFull),
        // SQLITE_IOERR: a write that failed may succeed once the disk is well again.
        10 => Some(StoreError::ConnectionLost(message.to_owned())),
        // SQLITE_CORRUPT, SQLITE_NOTADB
        11 | 26 => Some(StoreError::Damaged(message.to_owned())),
        _ => None,
    }
}

/// By PostgreSQL's SQLSTATE.
fn of_postgres(code: &str, message: &str) -> Option<StoreError> {
    match code {
        // lock_not_available, too_many_connections
        "55P03" | "53300" => Some(StoreError::Busy),
        // disk_full
        "53100" => Some(StoreError::DiskFull),
        // unique_violation, serialization_failure, deadlock_detected
        "23505" | "40001" | "40P01" => Some(StoreError::Race(message.to_owned())),
        // admin_shutdown, crash_shutdown, cannot_connect_now, and every connection_exception
        "57P01" | "57P02" | "57P03" => Some(StoreError::ConnectionLost(message.to_owned())),
        _ if code.starts_with("08") => Some(StoreError::ConnectionLost(message.to_owned())),
        _ => None,
    }
}
