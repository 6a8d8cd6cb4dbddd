//! Cells read one by one and put together here: any stretch of time, by any group of series.
//!
//! Questions over a year read tens of thousands of cells. SQLite would sort them to group them, and sqlx copies each value;
//! so on SQLite they are read in place, on connections of their own.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{FromRow as _, Row as _};
use tokio::sync::Semaphore;

use super::SumsRow;
use crate::domain::rollup::{Histogram, Piece, Sums, Timing, cover};
use crate::domain::time::Timestamp;
use crate::store::batch::Json;
use crate::store::connect::Pools;
use crate::store::statements::{self as sql, Statement};
use crate::store::{Store, StoreError};

/// Page cache of each connection, in KiB; given back when it is done.
const CACHE_KIB: i64 = 4 * 1024;

/// What is put together.
pub(super) trait Folded: Default + Send + Sized + 'static {
    /// Which of a cell's values.
    type What: Copy + Send + 'static;
    /// The statement that reads it: the piece, the series, and then its columns.
    const STATEMENT: Statement;
    fn of_sqlite(row: &rusqlite::Row<'_>, what: Self::What) -> Result<Self, StoreError>;
    fn of_postgres(row: &PgRow, what: Self::What) -> Result<Self, StoreError>;
    fn put(&mut self, other: &Self, taken_away: bool);
}

/// Where a cell's own columns begin.
const COLUMNS: usize = 2;

impl Folded for Sums {
    type What = ();
    const STATEMENT: Statement = sql::ROLLUPS_SUMS;

    fn of_sqlite(row: &rusqlite::Row<'_>, (): ()) -> Result<Self, StoreError> {
        Ok(SumsRow::of_columns(row, COLUMNS).map_err(|error| failed(&error))?.sums())
    }

    fn of_postgres(row: &PgRow, (): ()) -> Result<Self, StoreError> {
        Ok(SumsRow::from_row(row)?.sums())
    }

    fn put(&mut self, other: &Self, taken_away: bool) {
        if taken_away { self.subtract(other) } else { self.add(other) }
    }
}

impl Folded for Histogram {
    type What = Timing;
    const STATEMENT: Statement = sql::ROLLUPS_TIMINGS;

    fn of_sqlite(row: &rusqlite::Row<'_>, timing: Timing) -> Result<Self, StoreError> {
        let value = row.get_ref(COLUMNS + place(timing)).map_err(|error| failed(&error))?;
        histogram(value.as_blob().unwrap_or_default())
    }

    fn of_postgres(row: &PgRow, timing: Timing) -> Result<Self, StoreError> {
        histogram(row.try_get(COLUMNS + place(timing))?)
    }

    fn put(&mut self, other: &Self, taken_away: bool) {
        if taken_away { self.subtract(other) } else { self.add(other) }
    }
}

fn place(timing: Timing) -> usize {
    Timing::ALL.iter().position(|other| *other == timing).unwrap_or(0)
}

fn histogram(bytes: &[u8]) -> Result<Histogram, StoreError> {
    Histogram::from_bytes(bytes).ok_or_else(|| StoreError::unreadable("timing_cells", &"a histogram"))
}

#[derive(Serialize)]
struct PieceText {
    minutes: i64,
    from: i64,
    until: i64,
}

/// What is put together so far.
struct Fold<V: Folded> {
    pieces: Vec<Piece>,
    of_series: HashMap<i64, usize>,
    what: V::What,
    /// The piece whose cells come, and what they come to by group.
    piece: usize,
    here: HashMap<usize, V>,
    folded: HashMap<(usize, usize), V>,
}

impl<V: Folded> Fold<V> {
    fn take(
        &mut self,
        piece: i64,
        series: i64,
        value: impl FnOnce(V::What) -> Result<V, StoreError>,
    ) -> Result<(), StoreError> {
        let Some(group) = self.of_series.get(&series).copied() else { return Ok(()) };
        let piece = usize::try_from(piece).map_err(|error| StoreError::unreadable("a piece of time", &error))?;
        if piece != self.piece {
            self.turn(piece);
        }
        let value = value(self.what)?;
        self.here.entry(group).or_default().put(&value, false);
        Ok(())
    }

    /// Counts the piece that is read in its spans.
    fn turn(&mut self, next: usize) {
        let read = std::mem::replace(&mut self.piece, next);
        let counts = self.pieces.get(read).map(|piece| piece.counts.as_slice()).unwrap_or_default();
        for (group, value) in self.here.drain() {
            for (span, taken_away) in counts {
                self.folded.entry((*span, group)).or_default().put(&value, *taken_away);
            }
        }
    }
}

/// Puts together what the cells hold of `spans`, by span and by the group of each series; series without a group are left
/// out. `whole` reads the cells of all calls together, which are series 0.
pub(super) async fn fold<V: Folded>(
    store: &Store,
    spans: &[(Timestamp, Timestamp)],
    whole: bool,
    of_series: HashMap<i64, usize>,
    what: V::What,
) -> Result<HashMap<(usize, usize), V>, StoreError> {
    let pieces = cover(spans);
    if pieces.is_empty() || of_series.is_empty() {
        return Ok(HashMap::new());
    }
    let texts = Json::numbered(pieces.iter().map(|piece| PieceText {
        minutes: piece.level.minutes(),
        from: piece.from.millis(),
        until: piece.until.millis(),
    }))?;
    let mut fold = Fold { pieces, of_series, what, piece: 0, here: HashMap::new(), folded: HashMap::new() };
    let whole = i64::from(whole);
    match &store.pools {
        Pools::Sqlite { cells, .. } => {
            let permit = Arc::clone(&cells.room).acquire_owned().await.map_err(|_| StoreError::Busy)?;
            let cells = Arc::clone(cells);
            let read = move || {
                let _permit = permit;
                cells.read(&mut fold, &texts, whole)?;
                Ok::<_, StoreError>(fold)
            };
            let read = tokio::task::spawn_blocking(read).await;
            fold = read.map_err(|error| StoreError::ConnectionLost(error.to_string()))??;
        }
        Pools::Postgres(pool) => {
            let mut rows = sqlx::query(V::STATEMENT.postgres).bind(texts).bind(whole).fetch(pool);
            while let Some(row) = rows.try_next().await? {
                fold.take(row.try_get(0)?, row.try_get(1)?, |what| V::of_postgres(&row, what))?;
            }
        }
    }
    fold.turn(0);
    Ok(fold.folded)
}

/// Connections to a SQLite file that only read cells.
#[derive(Debug)]
pub(in crate::store) struct CellReaders {
    path: PathBuf,
    busy_timeout: Duration,
    /// As many may read at once as there are readers.
    room: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl CellReaders {
    pub(in crate::store) fn new(path: &Path, readers: u32, busy_timeout: Duration) -> Self {
        let room = usize::try_from(readers.max(1)).unwrap_or(1);
        let path = path.to_owned();
        Self { path, busy_timeout, room: Arc::new(Semaphore::new(room)), idle: Mutex::new(Vec::new()) }
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
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

    fn read<V: Folded>(&self, fold: &mut Fold<V>, pieces: &Json, whole: i64) -> Result<(), StoreError> {
        let connection = self.connect().map_err(|error| failed(&error))?;
        {
            let mut statement = connection.prepare_cached(V::STATEMENT.sqlite).map_err(|error| failed(&error))?;
            let mut rows = statement.query((pieces.as_str(), whole)).map_err(|error| failed(&error))?;
            while let Some(row) = rows.next().map_err(|error| failed(&error))? {
                let (piece, series) =
                    row.get(0).and_then(|piece| Ok((piece, row.get(1)?))).map_err(|error| failed(&error))?;
                fold.take(piece, series, |what| V::of_sqlite(row, what))?;
            }
        }
        if connection.release_memory().is_ok() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        Ok(())
    }

    /// Closes those that nobody uses; the others close when they are done.
    pub(in crate::store) fn close(&self) {
        self.room.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn failed(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => StoreError::Busy,
        Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
            StoreError::Damaged(error.to_string())
        }
        _ => StoreError::ConnectionLost(error.to_string()),
    }
}
