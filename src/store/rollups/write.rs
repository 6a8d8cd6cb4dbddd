//! Sums and histograms on their way into the database: series get numbers, cells of every width change with the rows.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use serde::Serialize;

use crate::domain::money::Total;
use crate::domain::rollup::{Cell, Deltas, Histogram, Level, Series, Sums, Timing, Timings, summed};
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

/// A cell's histograms as they are stored.
#[derive(sqlx::FromRow)]
pub(in crate::store) struct TimingsRow {
    #[sqlx(flatten)]
    pub(in crate::store) key: CellKey,
    latency: Vec<u8>,
    first_byte: Vec<u8>,
    speed: Vec<u8>,
}

impl TimingsRow {
    fn of(key: CellKey, timings: &Timings) -> Self {
        let [latency, first_byte, speed] = Timing::ALL.map(|timing| timings.of(timing).to_bytes());
        Self { key, latency, first_byte, speed }
    }

    pub(in crate::store) fn timings(&self) -> Result<Timings, StoreError> {
        let read = |bytes: &[u8]| {
            let key = &self.key;
            Histogram::from_bytes(bytes)
                .ok_or_else(|| StoreError::unreadable(&format!("timing_cells {key:?}"), &"a histogram"))
        };
        Ok(Timings::new([read(&self.latency)?, read(&self.first_byte)?, read(&self.speed)?]))
    }
}

impl SqliteRow for &TimingsRow {
    fn bind(self, query: SqliteQuery<'_>) -> SqliteQuery<'_> {
        let query = self.key.bind(query);
        query.bind(self.latency.clone()).bind(self.first_byte.clone()).bind(self.speed.clone())
    }
}

/// [`TimingsRow`] as PostgreSQL is given it.
#[derive(Serialize)]
struct Hex {
    #[serde(flatten)]
    key: CellKey,
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

/// Histograms are read, changed here, and written: neither engine can add them.
async fn add_timings(tx: &mut Tx, changed: &[(CellKey, &Timings)]) -> Result<(), StoreError> {
    if changed.is_empty() {
        return Ok(());
    }
    let mut held = stored_timings(tx, changed.iter().map(|(key, _)| *key)).await?;
    if tx.engine() == Engine::Postgres {
        // Of two writers that find nothing both would write their own counts alone: who comes second waits here, and
        // then finds what the first one wrote.
        let missing: Vec<CellKey> = changed.iter().map(|(key, _)| *key).filter(|key| !held.contains_key(key)).collect();
        if !missing.is_empty() {
            let rows: Vec<TimingsRow> = missing.iter().map(|key| TimingsRow::of(*key, &Timings::default())).collect();
            write_rows!(tx, sql::ROLLUPS_RESERVE_TIMINGS, &rows);
            held.extend(stored_timings(tx, missing).await?);
        }
    }
    let changed = changed.iter().map(|(key, timings)| {
        let mut sum = held.remove(key).unwrap_or_default();
        sum.add(timings);
        TimingsRow::of(*key, &sum)
    });
    let rows: Vec<TimingsRow> = changed.collect();
    write_rows!(tx, sql::ROLLUPS_SAVE_TIMINGS, &rows);
    Ok(())
}

async fn stored_timings(
    tx: &mut Tx,
    keys: impl IntoIterator<Item = CellKey>,
) -> Result<HashMap<CellKey, Timings>, StoreError> {
    let keys = Json::numbered(keys)?;
    let rows: Vec<TimingsRow> =
        in_tx!(tx, sql::ROLLUPS_FIND_TIMINGS, |text, conn| sqlx::query_as(text).bind(keys).fetch_all(conn).await?);
    rows.into_iter().map(|row| Ok((row.key, row.timings()?))).collect()
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
