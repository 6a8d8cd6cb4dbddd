//! Sums of rows and how long their calls took: cells of several widths, changed with the rows, and what reports read of them.

mod cells;
mod direct;
mod rows;
mod write;

use std::collections::{BTreeMap, HashMap};

use crate::domain::rollup::{Histogram, Series, Timing};
use crate::domain::time::{BUCKET_MS, Timestamp};

use super::statements as sql;
use super::tx::reading;
use super::{Store, StoreError};

use self::cells::Folded;
pub(super) use self::direct::DirectReaders;
pub(super) use self::rows::extent;
pub use self::write::add;
pub(super) use self::write::{CellKey, KnownSeries, SumsRow, TimingsRow};

pub use crate::domain::rollup::Sums;

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

/// Dimensions that the cells know.
const OF_CELLS: [Dimension; 6] =
    [Dimension::App, Dimension::Key, Dimension::Model, Dimension::Provider, Dimension::Endpoint, Dimension::Byok];

/// Most time beside whole quarters of an hour, in milliseconds, of a question that is said to be answered from the cells: the two
/// ends of a time that somebody wrote down.
const BESIDE_CELLS_MS: i64 = 2 * BUCKET_MS;

/// Which sums are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TotalsQuery {
    /// Spans, since inclusive and until exclusive; sums are taken in each. What the cells know comes from them: the whole
    /// quarters of an hour ([`Timestamp::bucket`]) of each span, by their own dimensions. All else is read from the rows:
    /// slower, and the same.
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

/// Some of one group's timings in one span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedRow {
    /// Index of the span.
    pub span: usize,
    /// The group's values, as in [`TotalsRow::keys`].
    pub keys: Vec<Option<String>>,
    /// What was measured of calls that are not failed.
    pub histogram: Histogram,
}

/// Sums by span and dimensions, in the order of the spans and then of the highest cost.
///
/// Sums that come from the rows are read day by day: a row that moves to another day meanwhile may be in
/// both or in neither.
pub async fn totals(store: &Store, query: &TotalsQuery) -> Result<Vec<TotalsRow>, StoreError> {
    let mut groups: BTreeMap<(usize, Vec<Option<String>>), Sums> = BTreeMap::new();
    each(store, query, |row| groups.entry((row.span, row.keys)).or_default().add(&row.sums)).await?;
    let mut totals: Vec<TotalsRow> =
        groups.into_iter().map(|((span, keys), sums)| TotalsRow { span, keys, sums }).collect();
    totals.retain(|row| row.sums != Sums::default());
    totals.sort_by(|a, b| (a.span, b.sums.cost, &a.keys).cmp(&(b.span, a.sums.cost, &b.keys)));
    Ok(totals)
}

/// Tells what [`totals`] sums, in no order and without holding it; the same span and group may come several times, to be added.
pub(super) async fn each(
    store: &Store,
    query: &TotalsQuery,
    mut told: impl FnMut(TotalsRow),
) -> Result<(), StoreError> {
    let (of_cells, of_rows) = query.parted();
    in_cells::<Sums>(store, query, &of_cells, (), |span, keys, sums| told(TotalsRow { span, keys, sums })).await?;
    rows::each::<Sums>(store, query, &of_rows, (), |span, keys, sums| told(TotalsRow { span, keys, sums })).await
}

/// Tells how long the calls of each group took in each span, in no order; the same span and group may come several times, to be
/// added.
pub(super) async fn each_timing(
    store: &Store,
    query: &TotalsQuery,
    timing: Timing,
    mut told: impl FnMut(TimedRow),
) -> Result<(), StoreError> {
    let (of_cells, of_rows) = query.parted();
    let mut told = |span, keys, histogram: Histogram| {
        if !histogram.is_empty() {
            told(TimedRow { span, keys, histogram });
        }
    };
    in_cells::<Histogram>(store, query, &of_cells, timing, &mut told).await?;
    rows::each::<Histogram>(store, query, &of_rows, timing, told).await
}

async fn in_cells<V: Folded>(
    store: &Store,
    query: &TotalsQuery,
    spans: &[Numbered],
    what: V::What,
    mut told: impl FnMut(usize, Vec<Option<String>>, V),
) -> Result<(), StoreError> {
    if spans.is_empty() {
        return Ok(());
    }
    let Groups { whole, of_series, keys } = Groups::of(store, &query.by, &query.only).await?;
    let bounds: Vec<_> = spans.iter().map(|(_, bounds)| *bounds).collect();
    for ((place, group), value) in cells::fold::<V>(store, &bounds, whole, of_series, what).await? {
        told(spans[place].0, keys[group].clone(), value);
    }
    Ok(())
}

/// A span and its index.
type Numbered = (usize, (Timestamp, Timestamp));

impl TotalsQuery {
    /// What of its spans the cells answer, and what is left to the rows.
    fn parted(&self) -> (Vec<Numbered>, Vec<Numbered>) {
        let (mut of_cells, mut of_rows) = (Vec::new(), Vec::new());
        let asked = self.by.iter().chain(self.only.iter().map(|(dimension, _)| dimension));
        let known = { asked }.all(|dimension| OF_CELLS.contains(dimension));
        let known = known && self.by_tag.is_none() && self.only_tag.is_none();
        for (number, (since, until)) in self.spans.iter().copied().enumerate().filter(|(_, span)| span.0 < span.1) {
            let first = since.plus_millis(BUCKET_MS - 1).bucket();
            let last = if until.millis() == i64::MAX { until } else { until.bucket() };
            if known && first < last {
                of_cells.push((number, (first, last)));
                let ends = [(since, first), (last, until)].into_iter().filter(|(since, until)| since < until);
                of_rows.extend(ends.map(|end| (number, end)));
            } else {
                of_rows.push((number, (since, until)));
            }
        }
        (of_cells, of_rows)
    }

    /// Whether the cells know all that is asked but for the ends of its time; otherwise the rows are read.
    pub fn is_of_cells(&self) -> bool {
        let (_, of_rows) = self.parted();
        let beside = of_rows
            .iter()
            .fold(0_i64, |sum, (_, (since, until))| sum.saturating_add(until.millis().saturating_sub(since.millis())));
        beside <= BESIDE_CELLS_MS
    }
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

/// All series by their numbers.
async fn series(store: &Store) -> Result<Vec<(i64, Series)>, StoreError> {
    let rows: Vec<KnownSeries> =
        reading!(store, sql::ROLLUPS_SERIES, |text, conn| sqlx::query_as(text).fetch_all(conn).await?);
    Ok(rows.into_iter().map(KnownSeries::into_series).collect())
}
