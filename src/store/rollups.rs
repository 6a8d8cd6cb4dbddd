//! Sums of rows and how long their calls took: cells of several widths, changed with the rows, and what reports read of them.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use serde::Serialize;

use crate::domain::money::Total;
use crate::domain::rollup::{Cell, Deltas, Histogram, Level, Series, Timing, Timings, summed};
use crate::domain::time::{DAY_MS, Timestamp};

use super::batch::{Json, SqliteQuery, SqliteRow, storable};
use super::statements as sql;
use super::tx::{in_tx, reading, write_rows};
use super::{Engine, Store, StoreError, Tx, cells};

pub use crate::domain::rollup::Sums;

/// Most cells that go to the database as one parameter.
const CHUNK: usize = 2_000;

/// What sums can be taken by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// The application.
    App,
    /// The key's name.
    Key,
    /// The model, as `usage.model` shows it.
    Model,
    /// The provider.
    Provider,
    /// The endpoint.
    Endpoint,
    /// `true` or `false`.
    Byok,
    /// The end user; read from the rows, as are all below.
    User,
    /// The session.
    Session,
    /// The model asked for.
    RequestedModel,
    /// The state.
    State,
    /// The error's type.
    ErrorType,
}

impl Dimension {
    /// Its name in reports and URLs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Key => "key",
            Self::Model => "model",
            Self::Provider => "provider",
            Self::Endpoint => "endpoint",
            Self::Byok => "byok",
            Self::User => "user",
            Self::Session => "session",
            Self::RequestedModel => "requested_model",
            Self::State => "state",
            Self::ErrorType => "error_type",
        }
    }

    /// The value that a series has; `None` for what series do not tell apart.
    fn of_series(self, series: &Series) -> Option<&str> {
        Some(match self {
            Self::App => &series.app,
            Self::Key => &series.key_name,
            Self::Model => &series.model,
            Self::Provider => &series.provider,
            Self::Endpoint => &series.endpoint,
            Self::Byok if series.is_byok => "true",
            Self::Byok => "false",
            Self::User | Self::Session | Self::RequestedModel | Self::State | Self::ErrorType => return None,
        })
    }
}

/// Which sums are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TotalsQuery {
    /// Spans, since inclusive and until exclusive; sums are taken in each. Where all ends lie on quarters of
    /// an hour ([`Timestamp::bucket`]) and the cells know all that is asked, sums come from the cells,
    /// else from the rows: slower, and the same.
    pub spans: Vec<(Timestamp, Timestamp)>,
    /// What to group by.
    pub by: Vec<Dimension>,
    /// Also group by the value of this tag.
    pub by_tag: Option<String>,
    /// Values a dimension must have, exactly; an empty text stands for "none named".
    pub only: Vec<(Dimension, String)>,
    /// A tag's name and the value it must have.
    pub only_tag: Option<(String, String)>,
}

/// The sums of one group in one span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TotalsRow {
    /// Index of the span.
    pub span: usize,
    /// The group's values, in the order of [`TotalsQuery::by`] and then the tag; `None` where the rows name none.
    pub keys: Vec<Option<String>>,
    /// The sums.
    pub sums: Sums,
}

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
pub(super) struct CellKey {
    /// 1: of all calls together; 0: of a series.
    pub(super) whole: i64,
    pub(super) minutes: i64,
    pub(super) start_ms: i64,
    /// The series' number; 0 for all calls together.
    pub(super) series: i64,
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
        pub(super) struct SumsRow {
            $($column: i64,)*
            $($usd: i64, $picos: i64,)*
        }

        impl SumsRow {
            pub(super) fn sums(&self) -> Sums {
                Sums {
                    $($count: self.$column,)*
                    $($amount: Total::from_parts(self.$usd, self.$picos),)*
                }
            }

            /// The columns from `at` on, in the order of `rollups/sums.sql`.
            pub(super) fn of_columns(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Self> {
                let mut columns = at..;
                let mut next = || columns.next().map_or(Ok(0), |column| row.get(column));
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
pub(super) struct TimingsRow {
    #[sqlx(flatten)]
    pub(super) key: CellKey,
    latency: Vec<u8>,
    first_byte: Vec<u8>,
    generation: Vec<u8>,
    speed: Vec<u8>,
}

impl TimingsRow {
    fn of(key: CellKey, timings: &Timings) -> Self {
        let [latency, first_byte, generation, speed] = Timing::ALL.map(|timing| timings.of(timing).to_bytes());
        Self { key, latency, first_byte, generation, speed }
    }

    pub(super) fn timings(&self) -> Result<Timings, StoreError> {
        let read = |bytes: &[u8]| {
            let key = &self.key;
            Histogram::from_bytes(bytes)
                .ok_or_else(|| StoreError::unreadable(&format!("timing_cells {key:?}"), &"a histogram"))
        };
        Ok(Timings::new([read(&self.latency)?, read(&self.first_byte)?, read(&self.generation)?, read(&self.speed)?]))
    }
}

impl SqliteRow for &TimingsRow {
    fn bind(self, query: SqliteQuery<'_>) -> SqliteQuery<'_> {
        let query = self.key.bind(query);
        query
            .bind(self.latency.clone())
            .bind(self.first_byte.clone())
            .bind(self.generation.clone())
            .bind(self.speed.clone())
    }
}

/// [`TimingsRow`] as PostgreSQL is given it.
#[derive(Serialize)]
struct Hex {
    #[serde(flatten)]
    key: CellKey,
    latency: String,
    first_byte: String,
    generation: String,
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
        Hex {
            key: self.key,
            latency: hex(&self.latency),
            first_byte: hex(&self.first_byte),
            generation: hex(&self.generation),
            speed: hex(&self.speed),
        }
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

/// All series by their numbers.
pub(super) async fn series(store: &Store) -> Result<Vec<(i64, Series)>, StoreError> {
    let rows: Vec<KnownSeries> =
        reading!(store, sql::ROLLUPS_SERIES, |text, conn| sqlx::query_as(text).fetch_all(conn).await?);
    Ok(rows.into_iter().map(KnownSeries::into_series).collect())
}

#[derive(sqlx::FromRow)]
pub(super) struct KnownSeries {
    series: i64,
    app: String,
    key_name: String,
    model: String,
    provider: String,
    endpoint: String,
    is_byok: bool,
}

impl KnownSeries {
    pub(super) fn into_series(self) -> (i64, Series) {
        let Self { series, app, key_name, model, provider, endpoint, is_byok } = self;
        (series, Series { app, key_name, model, provider, endpoint, is_byok })
    }
}

#[derive(Serialize)]
struct Span {
    since: i64,
    until: i64,
}

/// Dimensions that the cells know.
const OF_CELLS: [Dimension; 6] =
    [Dimension::App, Dimension::Key, Dimension::Model, Dimension::Provider, Dimension::Endpoint, Dimension::Byok];

/// All dimensions, in the order of `by_row.sql`.
const OF_ROWS: [Dimension; 11] = [
    Dimension::App,
    Dimension::Key,
    Dimension::Model,
    Dimension::Provider,
    Dimension::Endpoint,
    Dimension::Byok,
    Dimension::User,
    Dimension::Session,
    Dimension::RequestedModel,
    Dimension::State,
    Dimension::ErrorType,
];

/// Most time whose rows are read in one transaction, in milliseconds. A long one would keep SQLite's
/// write-ahead log growing; a busy day of rows is summed in well under a second.
const PIECE_MS: i64 = DAY_MS;

/// Sums by span and dimensions, in the order of the spans and then of the highest cost.
///
/// Sums that come from the rows are read day by day: a row that moves to another day meanwhile may be in
/// both or in neither.
pub async fn totals(store: &Store, query: &TotalsQuery) -> Result<Vec<TotalsRow>, StoreError> {
    if query.spans.is_empty() {
        return Ok(Vec::new());
    }
    let mut totals =
        if query.is_of_buckets() { of_buckets(store, query).await? } else { of_rows(store, query).await? };
    totals.retain(|row| row.sums != Sums::default());
    totals.sort_by(|a, b| (a.span, b.sums.cost, &a.keys).cmp(&(b.span, a.sums.cost, &b.keys)));
    Ok(totals)
}

/// Which series a question is about, and into which group each falls.
struct Groups {
    /// Whether it is about all calls together, of which there are sums by themselves.
    whole: bool,
    of_series: HashMap<i64, usize>,
    keys: Vec<Vec<Option<String>>>,
}

impl Groups {
    async fn of(store: &Store, by: &[Dimension], only: &[(Dimension, String)]) -> Result<Self, StoreError> {
        if by.is_empty() && only.is_empty() {
            return Ok(Self { whole: true, of_series: HashMap::from([(0, 0)]), keys: vec![Vec::new()] });
        }
        let mut places: HashMap<Vec<Option<String>>, usize> = HashMap::new();
        let mut of_series = HashMap::new();
        for (number, series) in series(store).await? {
            if only.iter().all(|(dimension, value)| dimension.of_series(&series) == Some(value)) {
                // '' is where the rows name nothing.
                let named = |value: &str| (!value.is_empty()).then(|| value.to_owned());
                let key = by.iter().map(|dimension| dimension.of_series(&series).and_then(named)).collect();
                let next = places.len();
                of_series.insert(number, *places.entry(key).or_insert(next));
            }
        }
        let mut keys = vec![Vec::new(); places.len()];
        for (key, place) in places {
            keys[place] = key;
        }
        Ok(Self { whole: false, of_series, keys })
    }
}

async fn of_buckets(store: &Store, query: &TotalsQuery) -> Result<Vec<TotalsRow>, StoreError> {
    let Groups { whole, of_series, keys } = Groups::of(store, &query.by, &query.only).await?;
    let folded = cells::fold::<Sums>(store, &query.spans, whole, of_series, ()).await?;
    let row = |((span, group), sums): ((usize, usize), Sums)| TotalsRow { span, keys: keys[group].clone(), sums };
    Ok(folded.into_iter().map(row).collect())
}

/// Which percentiles are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimingsQuery {
    /// What is measured.
    pub timing: Timing,
    /// Spans, since inclusive and until exclusive, whose ends lie on quarters of an hour ([`Timestamp::bucket`]).
    pub spans: Vec<(Timestamp, Timestamp)>,
    /// What to group by: App, Key, Model, Provider, Endpoint or Byok.
    pub by: Vec<Dimension>,
    /// Values that those dimensions must have, exactly; an empty text stands for "none named".
    pub only: Vec<(Dimension, String)>,
}

/// How long the calls of one group took in one span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedRow {
    /// Index of the span.
    pub span: usize,
    /// The group's values, in the order of [`TimingsQuery::by`].
    pub keys: Vec<Option<String>>,
    /// What was measured; never empty.
    pub histogram: Histogram,
}

/// Histograms by span and dimensions, in the order of the spans and then of the keys.
///
/// `None`: the cells do not know what is asked (another dimension, or an end that is on no quarter of an hour), and the
/// rows are to be read.
pub async fn timings(store: &Store, query: &TimingsQuery) -> Result<Option<Vec<TimedRow>>, StoreError> {
    let asked = query.by.iter().chain(query.only.iter().map(|(dimension, _)| dimension));
    if !known_to_cells(asked, &query.spans) {
        return Ok(None);
    }
    let Groups { whole, of_series, keys } = Groups::of(store, &query.by, &query.only).await?;
    let folded = cells::fold::<Histogram>(store, &query.spans, whole, of_series, query.timing).await?;
    let mut rows: Vec<TimedRow> = folded
        .into_iter()
        .filter(|(_, histogram)| !histogram.is_empty())
        .map(|((span, group), histogram)| TimedRow { span, keys: keys[group].clone(), histogram })
        .collect();
    rows.sort_by(|a, b| (a.span, &a.keys).cmp(&(b.span, &b.keys)));
    Ok(Some(rows))
}

/// Whether cells have these dimensions, and begin and end where the spans do.
fn known_to_cells<'a>(mut dimensions: impl Iterator<Item = &'a Dimension>, spans: &[(Timestamp, Timestamp)]) -> bool {
    let whole = |at: Timestamp| at.bucket() == at || at.millis() == i64::MAX;
    dimensions.all(|dimension| OF_CELLS.contains(dimension))
        && spans.iter().all(|(since, until)| whole(*since) && whole(*until))
}

async fn of_rows(store: &Store, query: &TotalsQuery) -> Result<Vec<TotalsRow>, StoreError> {
    let Some((first, last)) = extent(store).await? else { return Ok(Vec::new()) };
    let mut totals: BTreeMap<(usize, Vec<Option<String>>), Sums> = BTreeMap::new();
    for (span, (since, until)) in query.spans.iter().enumerate() {
        let until = (*until).min(last.plus_millis(1));
        let mut at = (*since).max(first);
        while at < until {
            let end = at.plus_millis(PIECE_MS).min(until);
            for row in piece(store, query, (at, end)).await? {
                let row = row.into_totals(query)?;
                totals.entry((span, row.keys)).or_default().add(&row.sums);
            }
            at = end;
        }
    }
    Ok(totals.into_iter().map(|((span, keys), sums)| TotalsRow { span, keys, sums }).collect())
}

/// When the first and the last of all rows were made; `None` before there is one.
pub(super) async fn extent(store: &Store) -> Result<Option<(Timestamp, Timestamp)>, StoreError> {
    let (first, last): (Option<i64>, Option<i64>) =
        reading!(store, sql::ROLLUPS_EXTENT, |text, conn| sqlx::query_as(text).fetch_one(conn).await?);
    Ok(first.zip(last).map(|(first, last)| (Timestamp(first), Timestamp(last))))
}

async fn piece(store: &Store, query: &TotalsQuery, span: (Timestamp, Timestamp)) -> Result<Vec<SumRow>, StoreError> {
    let span = spans(&[span])?;
    let (name, value) = query.only_tag.as_ref().map_or((None, None), |(name, value)| (Some(name), Some(value)));
    Ok(reading!(store, sql::ROLLUPS_BY_ROW, |text, conn| {
        let mut asked = sqlx::query_as(text).bind(span);
        for dimension in &OF_ROWS {
            asked = asked.bind(query.by.contains(dimension));
        }
        for dimension in &OF_ROWS {
            asked = asked.bind(query.value_of(*dimension));
        }
        asked.bind(query.by_tag.as_ref()).bind(name).bind(value).fetch_all(conn).await?
    }))
}

fn spans(spans: &[(Timestamp, Timestamp)]) -> Result<Json, StoreError> {
    Json::numbered(spans.iter().map(|(since, until)| Span { since: since.millis(), until: until.millis() }))
}

impl TotalsQuery {
    /// The value that a dimension must have; `None` for any.
    fn value_of(&self, dimension: Dimension) -> Option<&str> {
        self.only.iter().find(|(restricted, _)| *restricted == dimension).map(|(_, value)| value.as_str())
    }

    /// Whether the cells know all that is asked; otherwise the rows are read.
    fn is_of_buckets(&self) -> bool {
        let asked = self.by.iter().chain(self.only.iter().map(|(dimension, _)| dimension));
        known_to_cells(asked, &self.spans) && self.by_tag.is_none() && self.only_tag.is_none()
    }
}

#[derive(sqlx::FromRow)]
struct SumRow {
    span: i64,
    app: Option<String>,
    key_name: Option<String>,
    model: Option<String>,
    provider: Option<String>,
    endpoint: Option<String>,
    is_byok: Option<String>,
    #[sqlx(default)]
    end_user: Option<String>,
    #[sqlx(default)]
    session: Option<String>,
    #[sqlx(default)]
    requested_model: Option<String>,
    #[sqlx(default)]
    state: Option<String>,
    #[sqlx(default)]
    error_type: Option<String>,
    #[sqlx(default)]
    tag: Option<String>,
    #[sqlx(flatten)]
    sums: SumsRow,
}

impl SumRow {
    fn into_totals(mut self, query: &TotalsQuery) -> Result<TotalsRow, StoreError> {
        let mut keys = Vec::with_capacity(query.by.len() + 1);
        for dimension in &query.by {
            keys.push(match dimension {
                Dimension::App => self.app.take(),
                Dimension::Key => self.key_name.take(),
                Dimension::Model => self.model.take(),
                Dimension::Provider => self.provider.take(),
                Dimension::Endpoint => self.endpoint.take(),
                Dimension::Byok => self.is_byok.take(),
                Dimension::User => self.end_user.take(),
                Dimension::Session => self.session.take(),
                Dimension::RequestedModel => self.requested_model.take(),
                Dimension::State => self.state.take(),
                Dimension::ErrorType => self.error_type.take(),
            });
        }
        if query.by_tag.is_some() {
            keys.push(self.tag.take());
        }
        // The key columns of sums hold '' where the rows name nothing.
        let keys = keys.into_iter().map(|key| key.filter(|key| !key.is_empty())).collect();
        let span = usize::try_from(self.span).map_err(|error| StoreError::unreadable("span", &error))?;
        Ok(TotalsRow { span, keys, sums: self.sums.sums() })
    }
}
