//! Cells put together: any stretch of time, by any group of series.

use std::collections::HashMap;

use futures_util::TryStreamExt as _;
use serde::Serialize;

use crate::domain::rollup::{Histogram, Piece, Sums, Timing, cover, packed};
use crate::domain::time::Timestamp;
use crate::store::batch::Json;
use crate::store::connect::Pools;
use crate::store::statements::{self as sql, Statement};
use crate::store::{Store, StoreError};

use super::SumsRow;
use super::direct::Columns;

/// What is put together.
pub(super) trait Folded: Default + Send + Sized + 'static {
    /// Which of a cell's values.
    type What: Copy + Send + 'static;
    /// The statement that reads it: the piece, and then the columns that [`Folded::read`] knows.
    const STATEMENT: Statement;
    /// Tells the values of the row's series that are in a group, and the group of each.
    fn read(
        row: &impl Columns,
        what: Self::What,
        of_series: &HashMap<i64, usize>,
        told: impl FnMut(usize, Self),
    ) -> Result<(), StoreError>;
    fn put(&mut self, other: &Self, taken_away: bool);
}

/// Where a row names its series, or its part of them, and where its own columns begin.
const SERIES: usize = 1;
const COLUMNS: usize = 2;

impl Folded for Sums {
    type What = ();
    const STATEMENT: Statement = sql::ROLLUPS_SUMS;

    fn read(
        row: &impl Columns,
        (): (),
        of_series: &HashMap<i64, usize>,
        mut told: impl FnMut(usize, Self),
    ) -> Result<(), StoreError> {
        if let Some(group) = of_series.get(&row.count(SERIES)?) {
            told(*group, SumsRow::of_columns(row, COLUMNS)?.sums());
        }
        Ok(())
    }

    fn put(&mut self, other: &Self, taken_away: bool) {
        if taken_away { self.subtract(other) } else { self.add(other) }
    }
}

impl Folded for Histogram {
    type What = Timing;
    const STATEMENT: Statement = sql::ROLLUPS_TIMINGS;

    fn read(
        row: &impl Columns,
        timing: Timing,
        of_series: &HashMap<i64, usize>,
        mut told: impl FnMut(usize, Self),
    ) -> Result<(), StoreError> {
        let part = row.count(SERIES)?;
        let column = Timing::ALL.iter().position(|other| *other == timing).unwrap_or(0);
        let mut readable = true;
        let read = packed::each(row.bytes(COLUMNS + column)?, |place, bytes| {
            if let Some(group) = of_series.get(&packed::series(part, place)) {
                match Self::from_bytes(bytes) {
                    Some(histogram) => told(*group, histogram),
                    None => readable = false,
                }
            }
        });
        read.filter(|()| readable).ok_or_else(|| StoreError::unreadable("timing_parts", &"a histogram"))
    }

    fn put(&mut self, other: &Self, taken_away: bool) {
        if taken_away { self.subtract(other) } else { self.add(other) }
    }
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
    fn take(&mut self, row: &impl Columns) -> Result<(), StoreError> {
        let piece =
            usize::try_from(row.count(0)?).map_err(|error| StoreError::unreadable("a piece of time", &error))?;
        if piece != self.piece {
            self.turn(piece);
        }
        let here = &mut self.here;
        V::read(row, self.what, &self.of_series, |group, value| here.entry(group).or_default().put(&value, false))
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
        Pools::Sqlite { direct, .. } => {
            let read = move |connection: &rusqlite::Connection| {
                let mut statement = connection.prepare_cached(V::STATEMENT.sqlite)?;
                let mut rows = statement.query((texts.as_str(), whole))?;
                while let Some(row) = rows.next()? {
                    fold.take(row)?;
                }
                Ok(fold)
            };
            fold = direct.read(read).await?;
        }
        Pools::Postgres(pool) => {
            let mut rows = sqlx::query(V::STATEMENT.postgres).bind(texts).bind(whole).fetch(pool);
            while let Some(row) = rows.try_next().await? {
                fold.take(&row)?;
            }
        }
    }
    fold.turn(0);
    Ok(fold.folded)
}
