//! Sums and histograms on their way into the database: series get numbers, cells of every width change with the rows.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use serde::Serialize;

use crate::domain::money::Total;
use crate::domain::rollup::{Cell, Deltas, Histogram, Level, Series, Sums, Timing, Timings, packed, summed};
use crate::domain::time::Timestamp;

use crate::store::batch::{Json, SqliteQuery, SqliteRow, storable};
use crate::store::statements as sql;
use crate::store::tx::{in_tx, write_rows};
use crate::store::{Engine, StoreError, Tx};

use super::direct::Columns;

/// Most cells that go to the database as one parameter.
const CHUNK: usize = 2_000;

/// A series as it is named in the database, and as it is written.
#[derive(Serialize)]
struct SeriesRow<'a> {
    identity: &'a str,
    app: Cow<'a, str>,
    key_name: Cow<'a, str>,
    model: Cow<'a, str>,
    provider: Cow<'a, str>,
    endpoint: Cow<'a, str>,
    is_byok: bool,
}

impl SqliteRow for SeriesRow<'_> {
    fn bind(self, query: SqliteQuery<'_>) -> SqliteQuery<'_> {
        query
            .bind(self.identity.to_owned())
            .bind(self.app.into_owned())
            .bind(self.key_name.into_owned())
            .bind(self.model.into_owned())
            .bind(self.provider.into_owned())
            .bind(self.endpoint.into_owned())
            .bind(self.is_byok)
    }
}

/// What tells a series from all others: its values as one text.
fn identity(series: &Series) -> Result<String, StoreError> {
    let Series { app, key_name, model, provider, endpoint, is_byok } = series;
    let values = (storable(app), storable(key_name), storable(model), storable(provider), storable(endpoint), is_byok);
    serde_json::to_string(&values).map_err(StoreError::encoding)
}

/// The numbers of `series`, in their order; those that are new get one.
async fn number(tx: &mut Tx, series: &[&Series]) -> Result<Vec<i64>, StoreError> {
    let identities: Vec<String> = series.iter().map(|series| identity(series)).collect::<Result<_, _>>()?;
    let mut numbers: HashMap<String, i64> = find(tx, identities.iter()).await?;
    let missing: BTreeMap<&str, &Series> = identities
        .iter()
        .zip(series)
        .filter(|(identity, _)| !numbers.contains_key(*identity))
        .map(|(identity, series)| (identity.as_str(), *series))
        .collect();
    if !missing.is_empty() {
        let rows = missing.iter().map(|(identity, series)| SeriesRow {
            identity,
            app: storable(&series.app),
            key_name: storable(&series.key_name),
            model: storable(&series.model),
            provider: storable(&series.provider),
            endpoint: storable(&series.endpoint),
            is_byok: series.is_byok,
        });
        write_rows!(tx, sql::ROLLUPS_ADD_SERIES, rows);
        numbers.extend(find(tx, missing.keys()).await?);
    }
    let number = |identity: &String| {
        let number = numbers.get(identity).copied();
        number.ok_or_else(|| StoreError::unreadable("spend_series", &format!("{identity} has no number")))
    };
    identities.iter().map(number).collect()
}

async fn find(
    tx: &mut Tx,
    identities: impl IntoIterator<Item = impl std::fmt::Display>,
) -> Result<HashMap<String, i64>, StoreError> {
    let identities = Json::keys(identities)?;
    let found: Vec<(String, i64)> = in_tx!(tx, sql::ROLLUPS_FIND_SERIES, |text, conn| {
        sqlx::query_as(text).bind(identities).fetch_all(conn).await?
    });
    Ok(found.into_iter().collect())
}

/// Which cell; in the order in which every writer locks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, sqlx::FromRow)]
pub(in crate::store) struct CellKey {
    /// 1: of all calls together; 0: of a series.
    pub(in crate::store) whole: i64,
    pub(in crate::store) minutes: i64,
    pub(in crate::store) start_ms: i64,
    /// The series' number; 0 for all calls together.
    pub(in crate::store) series: i64,
}

impl CellKey {
    fn bind(self, query: SqliteQuery<'_>) -> SqliteQuery<'_> {
        query.bind(self.whole).bind(self.minutes).bind(self.start_ms).bind(self.series)
    }
}

/// A cell's sums, to be written and to be read: each in the column of its name.
macro_rules! sums_row {
    (
        counts { $($(#[$count_doc:meta])* $count:ident: $column:ident,)* }
        amounts { $($(#[$amount_doc:meta])* $amount:ident: $usd:ident $picos:ident,)* }
    ) => {
        #[derive(Serialize)]
        struct SumsDelta {
            #[serde(flatten)]
            key: CellKey,
            $($column: i64,)*
            $($usd: i64, $picos: i64,)*
        }

        impl SumsDelta {
            fn of(key: CellKey, sums: &Sums) -> Self {
                $(let ($usd, $picos) = sums.$amount.to_parts();)*
                Self { key, $($column: sums.$count,)* $($usd, $picos,)* }
            }
        }

        impl SqliteRow for &SumsDelta {
            fn bind(self, query: SqliteQuery<'_>) -> SqliteQuery<'_> {
                self.key.bind(query) $(.bind(self.$column))* $(.bind(self.$usd).bind(self.$picos))*
            }
        }

        /// Sums as they are stored.
        #[derive(sqlx::FromRow)]
        pub(in crate::store) struct SumsRow {
            $($column: i64,)*
            $($usd: i64, $picos: i64,)*
        }

        impl SumsRow {
            pub(in crate::store) fn sums(&self) -> Sums {
                Sums {
                    $($count: self.$column,)*
                    $($amount: Total::from_parts(self.$usd, self.$picos),)*
                }
            }

            /// The columns from `at` on, in the order of `rollups/sums.sql`.
            pub(super) fn of_columns(row: &impl Columns, at: usize) -> Result<Self, StoreError> {
                let mut columns = at..;
                let mut next = || columns.next().map_or(Ok(0), |column| row.count(column));
                $(let $column = next()?;)*
                $(let ($usd, $picos) = (next()?, next()?);)*
                Ok(Self { $($column,)* $($usd, $picos,)* })
            }
        }
    };
}

summed!(sums_row);

/// Which histograms are stored together: those of the cells of [`packed::SERIES_IN_PART`] series that begin together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, sqlx::FromRow)]
struct PartKey {
    whole: i64,
    minutes: i64,
    start_ms: i64,
    part: i64,
}

impl PartKey {
    /// The part of a cell, and its place there.
    fn of(cell: CellKey) -> (Self, u8) {
        let CellKey { whole, minutes, start_ms, series } = cell;
        let (part, place) = packed::place(series);
        (Self { whole, minutes, start_ms, part }, place)
    }

    fn cell(self, place: u8) -> CellKey {
        let Self { whole, minutes, start_ms, part } = self;
        CellKey { whole, minutes, start_ms, series: packed::series(part, place) }
    }
}

/// A part's histograms as they are stored, see [`packed`].
#[derive(Clone, Debug, sqlx::FromRow)]
pub(in crate::store) struct TimingsRow {
    #[sqlx(flatten)]
    key: PartKey,
    latency: Vec<u8>,
    first_byte: Vec<u8>,
    speed: Vec<u8>,
}

impl TimingsRow {
    fn empty(key: PartKey) -> Self {
        Self { key, latency: Vec::new(), first_byte: Vec::new(), speed: Vec::new() }
    }

    fn columns(&mut self) -> [(Timing, &mut Vec<u8>); 3] {
        [
            (Timing::Latency, &mut self.latency),
            (Timing::FirstByte, &mut self.first_byte),
            (Timing::Speed, &mut self.speed),
        ]
    }

    /// Adds `changes`, in the order of their places.
    fn add(&mut self, changes: &[(u8, &Timings)]) -> Result<(), StoreError> {
        let key = self.key;
        for (timing, bytes) in self.columns() {
            let changes = changes.iter().map(|(place, timings)| (*place, timings.of(timing)));
            *bytes = packed::add(bytes, changes).ok_or_else(|| unreadable(key))?;
        }
        Ok(())
    }

    /// The timings of each cell that has any.
    pub(in crate::store) fn timings(mut self) -> Result<BTreeMap<CellKey, Timings>, StoreError> {
        let key = self.key;
        let mut found: BTreeMap<CellKey, Timings> = BTreeMap::new();
        for (timing, bytes) in self.columns() {
            let mut readable = true;
            let read = packed::each(bytes, |place, bytes| match Histogram::from_bytes(bytes) {
                Some(histogram) => found.entry(key.cell(place)).or_default().add_to(timing, &histogram),
                None => readable = false,
            });
            read.filter(|()| readable).ok_or_else(|| unreadable(key))?;
        }
        Ok(found)
    }
}

fn unreadable(key: PartKey) -> StoreError {
    StoreError::unreadable(&format!("timing_parts {key:?}"), &"a histogram")
}

impl SqliteRow for TimingsRow {
    fn bind(self, query: SqliteQuery<'_>) -> SqliteQuery<'_> {
        let PartKey { whole, minutes, start_ms, part } = self.key;
        let query = query.bind(whole).bind(minutes).bind(start_ms).bind(part);
        query.bind(self.latency).bind(self.first_byte).bind(self.speed)
    }
}

/// [`TimingsRow`] as PostgreSQL is given it.
#[derive(Serialize)]
struct Hex {
    #[serde(flatten)]
    key: PartKey,
    latency: String,
    first_byte: String,
    speed: String,
}

impl Serialize for TimingsRow {
    /// Bytes as PostgreSQL reads them in a text.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let hex = |bytes: &[u8]| {
            let mut text = String::with_capacity(2 + bytes.len() * 2);
            text.push_str("\\x");
            for byte in bytes {
                let _ = write!(text, "{byte:02x}");
            }
            text
        };
        Hex { key: self.key, latency: hex(&self.latency), first_byte: hex(&self.first_byte), speed: hex(&self.speed) }
            .serialize(serializer)
    }
}

/// Adds the changes to the cells of every width.
pub async fn add(tx: &mut Tx, deltas: &Deltas) -> Result<(), StoreError> {
    let spread = deltas.spread();
    if spread.cells.is_empty() {
        return Ok(());
    }
    let numbers = number(tx, &spread.series).await?;
    let key = |(level, start, place): &(Level, Timestamp, Option<usize>)| {
        let series = place.and_then(|place| numbers.get(place).copied());
        CellKey {
            whole: i64::from(place.is_none()),
            minutes: level.minutes(),
            start_ms: start.millis(),
            series: series.unwrap_or(0),
        }
    };
    let mut cells: Vec<(CellKey, &Cell)> = spread.cells.iter().map(|(place, cell)| (key(place), cell)).collect();
    cells.sort_unstable_by_key(|(key, _)| *key);
    for chunk in cells.chunks(CHUNK) {
        let timed: Vec<(CellKey, &Timings)> = chunk
            .iter()
            .map(|(key, cell)| (*key, &cell.timings))
            .filter(|(_, timings)| !timings.is_nothing())
            .collect();
        add_timings(tx, &timed).await?;
        let changed = chunk.iter().filter(|(_, cell)| !cell.sums.is_nothing());
        let rows: Vec<SumsDelta> = changed.map(|(key, cell)| SumsDelta::of(*key, &cell.sums)).collect();
        write_rows!(tx, sql::ROLLUPS_ADD, &rows);
    }
    Ok(())
}

/// Histograms are read, changed here, and written: neither engine can add them. `changed` is in the order of its keys.
async fn add_timings(tx: &mut Tx, changed: &[(CellKey, &Timings)]) -> Result<(), StoreError> {
    let mut parts: Vec<(PartKey, Vec<(u8, &Timings)>)> = Vec::new();
    for (cell, timings) in changed {
        let (key, place) = PartKey::of(*cell);
        match parts.last_mut().filter(|(last, _)| *last == key) {
            Some((_, places)) => places.push((place, timings)),
            None => parts.push((key, vec![(place, timings)])),
        }
    }
    if parts.is_empty() {
        return Ok(());
    }
    let mut held = stored_timings(tx, parts.iter().map(|(key, _)| *key)).await?;
    if tx.engine() == Engine::Postgres {
        // Of two writers that find nothing both would write their own counts alone: who comes second waits here, and
        // then finds what the first one wrote.
        let missing: Vec<PartKey> = parts.iter().map(|(key, _)| *key).filter(|key| !held.contains_key(key)).collect();
        if !missing.is_empty() {
            write_rows!(tx, sql::ROLLUPS_RESERVE_TIMINGS, missing.iter().copied().map(TimingsRow::empty));
            held.extend(stored_timings(tx, missing).await?);
        }
    }
    let mut rows = Vec::with_capacity(parts.len());
    for (key, places) in parts {
        let mut row = held.remove(&key).unwrap_or_else(|| TimingsRow::empty(key));
        row.add(&places)?;
        rows.push(row);
    }
    write_rows!(tx, sql::ROLLUPS_SAVE_TIMINGS, rows);
    Ok(())
}

async fn stored_timings(
    tx: &mut Tx,
    keys: impl IntoIterator<Item = PartKey>,
) -> Result<HashMap<PartKey, TimingsRow>, StoreError> {
    let keys = Json::numbered(keys)?;
    let rows: Vec<TimingsRow> =
        in_tx!(tx, sql::ROLLUPS_FIND_TIMINGS, |text, conn| sqlx::query_as(text).bind(keys).fetch_all(conn).await?);
    Ok(rows.into_iter().map(|row| (row.key, row)).collect())
}

/// A series as it is stored.
#[derive(sqlx::FromRow)]
pub(in crate::store) struct KnownSeries {
    series: i64,
    app: String,
    key_name: String,
    model: String,
    provider: String,
    endpoint: String,
    is_byok: bool,
}

impl KnownSeries {
    pub(in crate::store) fn into_series(self) -> (i64, Series) {
        let Self { series, app, key_name, model, provider, endpoint, is_byok } = self;
        (series, Series { app, key_name, model, provider, endpoint, is_byok })
    }
}
