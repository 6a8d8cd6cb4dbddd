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
    /// Another writer wrote a row of the same unique key; the transaction, repeated, finds that row.
    #[error("another writer was faster: {0}; tallyd tries again by itself")]
    Race(String),
    /// Two writers stood in each other's way (deadlock, serialization); the transaction may be repeated.
    #[error("another writer was in the way: {0}; tallyd tries again by itself")]
    Contended(String),
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
    /// What was to be written can not be: a value of the wrong kind, too long, or against a rule of the table. Another
    /// try with the same values ends the same way.
    #[error("the database refuses what it was given: {0}")]
    Data(#[source] sqlx::Error),
    /// Anything else the database says: it blames no row, so it is the database that has to change.
    #[error(
        "the database refused: {0}. See that its server takes writes, and that the user may write to tallyd's tables"
    )]
    Database(#[source] sqlx::Error),
}

impl StoreError {
    /// Whether what was to be written, or the row it concerns, is at fault: only then is there no use in trying it
    /// again. A database that is read-only, away, out of memory or wrongly configured blames no row, whatever it says.
    pub fn blames_data(&self) -> bool {
        matches!(self, Self::Data(_) | Self::Unreadable { .. })
    }

    /// Whether a row of the same unique key is there. Where no other writer wrote it, this never passes.
    pub fn is_race(&self) -> bool {
        matches!(self, Self::Race(_))
    }

    pub(super) fn encoding(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Data(sqlx::Error::Encode(Box::new(error)))
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
            sqlx::Error::Encode(_) | sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => Self::Data(error),
            sqlx::Error::Database(database) => {
                let kind = if let Some(told) = database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
                    of_postgres(told.code())
                } else {
                    of_sqlite(database.code().and_then(|code| code.parse().ok()).unwrap_or(0))
                };
                let message = database.message().to_owned();
                match kind {
                    Kind::Busy => Self::Busy,
                    Kind::DiskFull => Self::DiskFull,
                    Kind::Race => Self::Race(message),
                    Kind::Contended => Self::Contended(message),
                    Kind::ConnectionLost => Self::ConnectionLost(message),
                    Kind::Damaged => Self::Damaged(message),
                    Kind::Data => Self::Data(error),
                    Kind::Other => Self::Database(error),
                }
            }
            _ => Self::Database(error),
        }
    }
}

/// What an engine's code means for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Busy,
    DiskFull,
    Race,
    Contended,
    ConnectionLost,
    Damaged,
    Data,
    Other,
}

/// By SQLite's (extended) result code, whose low byte is the primary one.
fn of_sqlite(code: i32) -> Kind {
    match (code, code & 0xff) {
        // SQLITE_CONSTRAINT_UNIQUE, SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_ROWID
        (2067 | 1555 | 2579, _) => Kind::Race,
        // SQLITE_BUSY, SQLITE_LOCKED
        (_, 5 | 6) => Kind::Busy,
        // SQLITE_FULL
        (_, 13) => Kind::DiskFull,
        // SQLITE_IOERR: a write that failed may succeed once the disk is well again.
        (_, 10) => Kind::ConnectionLost,
        // SQLITE_CORRUPT, SQLITE_NOTADB
        (_, 11 | 26) => Kind::Damaged,
        // SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH, SQLITE_RANGE
        (_, 18 | 19 | 20 | 25) => Kind::Data,
        _ => Kind::Other,
    }
}

/// By PostgreSQL's SQLSTATE.
fn of_postgres(code: &str) -> Kind {
    match code {
        // lock_not_available, too_many_connections
        "55P03" | "53300" => Kind::Busy,
        // disk_full
        "53100" => Kind::DiskFull,
        // unique_violation
        "23505" => Kind::Race,
        // serialization_failure, deadlock_detected
        "40001" | "40P01" => Kind::Contended,
        // admin_shutdown, crash_shutdown, cannot_connect_now
        "57P01" | "57P02" | "57P03" => Kind::ConnectionLost,
        _ => match code.get(..2) {
            // connection_exception
            Some("08") => Kind::ConnectionLost,
            // data_exception, integrity_constraint_violation, program_limit_exceeded
            Some("22" | "23" | "54") => Kind::Data,
            _ => Kind::Other,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_names_the_data_blames_it() {
        for code in ["22P05", "22003", "22021", "23514", "23502", "54000"] {
            assert_eq!(of_postgres(code), Kind::Data, "{code}");
        }
        // Read-only, no password, no such database, no right, out of memory, cancelled, a broken disk, a defect.
        for code in
            ["25006", "28P01", "28000", "3D000", "42501", "53200", "53400", "57014", "58030", "25P02", "XX000", ""]
        {
            assert_eq!(of_postgres(code), Kind::Other, "{code}");
        }
        assert_eq!((of_postgres("23505"), of_postgres("08006")), (Kind::Race, Kind::ConnectionLost));
        // CHECK and NOT NULL; a value too long, of the wrong kind, out of range.
        for code in [275, 1299, 18, 20, 25] {
            assert_eq!(of_sqlite(code), Kind::Data, "{code}");
        }
        // ERROR, PERM, NOMEM, READONLY (and after a move), CANTOPEN, AUTH.
        for code in [1, 3, 7, 8, 1032, 14, 23, 0] {
            assert_eq!(of_sqlite(code), Kind::Other, "{code}");
        }
        assert_eq!((of_sqlite(2067), of_sqlite(1555), of_sqlite(11)), (Kind::Race, Kind::Race, Kind::Damaged));
        let encoding = StoreError::encoding(std::fmt::Error);
        assert!(encoding.blames_data() && !StoreError::from(sqlx::Error::RowNotFound).blames_data());
    }
}
