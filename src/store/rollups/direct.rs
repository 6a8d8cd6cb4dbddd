//! Connections to a SQLite file whose rows are read in place.
//!
//! Questions over long times read a great many cells or rows. SQLite would sort them to group them, and sqlx copies each value
//! and sends it from thread to thread; so they are put together here, value by value, as SQLite comes upon them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::types::FromSqlError;
use rusqlite::{Connection, OpenFlags};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use tokio::sync::Semaphore;

use crate::store::StoreError;

/// Page cache of each connection, in KiB; given back when it is done.
const CACHE_KIB: i64 = 4 * 1024;

/// Such connections; they only read.
#[derive(Debug)]
pub(in crate::store) struct DirectReaders {
    path: PathBuf,
    busy_timeout: Duration,
    /// As many may read at once as there are readers.
    room: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl DirectReaders {
    pub(in crate::store) fn new(path: &Path, readers: u32, busy_timeout: Duration) -> Self {
        let room = usize::try_from(readers.max(1)).unwrap_or(1);
        let path = path.to_owned();
        Self { path, busy_timeout, room: Arc::new(Semaphore::new(room)), idle: Mutex::new(Vec::new()) }
    }

    /// Reads on a thread that may wait for the disk.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.room).acquire_owned().await.map_err(|_| StoreError::Busy)?;
        let readers = Arc::clone(self);
        let reading = move || {
            let _permit = permit;
            let connection = readers.connect()?;
            let found = read(&connection)?;
            connection.release_memory()?;
            readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            Ok(found)
        };
        tokio::task::spawn_blocking(reading).await.map_err(|error| StoreError::ConnectionLost(error.to_string()))?
    }

    fn connect(&self) -> Result<Connection, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(connection) = idle {
            return Ok(connection);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(self.busy_timeout)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        Ok(connection)
    }

    /// Closes those that nobody uses; the others close when they are done.
    pub(in crate::store) fn close(&self) {
        self.room.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => Self::Busy,
            Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
                Self::Damaged(error.to_string())
            }
            _ => Self::ConnectionLost(error.to_string()),
        }
    }
}

/// A row of either engine, whose values are looked at where they are.
pub(super) trait Columns {
    /// A text; empty where it is NULL.
    fn text(&self, at: usize) -> Result<&str, StoreError>;
    /// A number; `None` where it is NULL.
    fn number(&self, at: usize) -> Result<Option<i64>, StoreError>;
    /// Bytes; none where it is NULL.
    fn bytes(&self, at: usize) -> Result<&[u8], StoreError>;

    /// A number that is never NULL.
    fn count(&self, at: usize) -> Result<i64, StoreError> {
        Ok(self.number(at)?.unwrap_or(0))
    }
}

fn unreadable(at: usize, error: &FromSqlError) -> StoreError {
    StoreError::unreadable(&format!("column {at}"), error)
}

impl Columns for rusqlite::Row<'_> {
    fn text(&self, at: usize) -> Result<&str, StoreError> {
        Ok(self.get_ref(at)?.as_str_or_null().map_err(|error| unreadable(at, &error))?.unwrap_or_default())
    }

    fn number(&self, at: usize) -> Result<Option<i64>, StoreError> {
        self.get_ref(at)?.as_i64_or_null().map_err(|error| unreadable(at, &error))
    }

    fn bytes(&self, at: usize) -> Result<&[u8], StoreError> {
        Ok(self.get_ref(at)?.as_blob_or_null().map_err(|error| unreadable(at, &error))?.unwrap_or_default())
    }
}

impl Columns for PgRow {
    fn text(&self, at: usize) -> Result<&str, StoreError> {
        Ok(self.try_get::<Option<&str>, _>(at)?.unwrap_or_default())
    }

    fn number(&self, at: usize) -> Result<Option<i64>, StoreError> {
        Ok(self.try_get(at)?)
    }

    fn bytes(&self, at: usize) -> Result<&[u8], StoreError> {
        Ok(self.try_get::<Option<&[u8]>, _>(at)?.unwrap_or_default())
    }
}
