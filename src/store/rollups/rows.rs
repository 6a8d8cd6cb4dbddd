//! What the cells do not know, read from the rows: other names, and parts of a quarter of an hour.

use std::collections::{BTreeMap, HashMap};

use futures_util::TryStreamExt as _;
use serde::Serialize;

use crate::domain::money::Total;
use crate::domain::rollup::{Histogram, Sums, Timing};
use crate::domain::time::{DAY_MS, Timestamp};
use crate::store::batch::Json;
use crate::store::connect::Pools;
use crate::store::statements as sql;
use crate::store::tx::reading;
use crate::store::{Store, StoreError};

use super::direct::Columns;
use super::{Dimension, Numbered, TotalsQuery};

/// Most time whose rows are read in one transaction, in milliseconds. A long one would keep SQLite's
/// write-ahead log growing; a busy day of rows is read in well under a second.
const PIECE_MS: i64 = DAY_MS;

/// Most spans that go to the database as one parameter with a piece.
const PIECE_SPANS: usize = 500;

/// Most different sets of tags whose values are remembered.
const MAX_TAGS: usize = 10_000;

/// Columns of `rollups/rows.sql`: the span, the dimensions, and these.
const TAGS: usize = 12;
const COST: usize = 13;
const CHARGED: usize = 14;
const CACHE_DISCOUNT: usize = 15;
const TOKENS_PROMPT: usize = 16;
const TOKENS_COMPLETION: usize = 17;
const NATIVE_TOKENS_PROMPT: usize = 18;
const NATIVE_TOKENS_COMPLETION: usize = 19;
const NATIVE_TOKENS_REASONING: usize = 20;
const NATIVE_TOKENS_CACHED: usize = 21;
const LATENCY: usize = 22;
const FIRST_BYTE: usize = 23;
const GENERATION_TIME: usize = 24;

/// A dimension's column.
const fn column(dimension: Dimension) -> usize {
    match dimension {
        Dimension::App => 1,
        Dimension::Key => 2,
        Dimension::Model => 3,
        Dimension::Provider => 4,
        Dimension::Endpoint => 5,
        Dimension::Byok => 6,
        Dimension::User => 7,
        Dimension::Session => 8,
        Dimension::RequestedModel => 9,
        Dimension::State => 10,
        Dimension::ErrorType => 11,
    }
}

/// What rows are put together to.
pub(super) trait Measured: Default + Send + 'static {
    /// Which of a row's values.
    type What: Copy + Send + 'static;
    /// Counts a row in.
    fn measure(&mut self, row: &impl Columns, what: Self::What) -> Result<(), StoreError>;
}

impl Measured for Sums {
    type What = ();

    /// As [`crate::domain::rollup::contribution`] does.
    fn measure(&mut self, row: &impl Columns, (): ()) -> Result<(), StoreError> {
        let state = row.text(column(Dimension::State))?;
        if state == "failed" {
            self.add(&Self { failures: 1, ..Self::default() });
            return Ok(());
        }
        let total = |picos: Option<i64>| Total::from_picos(picos.unwrap_or(0).into());
        let cost = row.number(COST)?;
        let inline = cost.filter(|_| state == "pending");
        self.add(&Self {
            completions: 1,
            failures: 0,
            unknown: i64::from(cost.is_none()),
            inline: i64::from(inline.is_some()),
            tokens_prompt: row.count(TOKENS_PROMPT)?,
            tokens_completion: row.count(TOKENS_COMPLETION)?,
            native_tokens_prompt: row.count(NATIVE_TOKENS_PROMPT)?,
            native_tokens_completion: row.count(NATIVE_TOKENS_COMPLETION)?,
            native_tokens_reasoning: row.count(NATIVE_TOKENS_REASONING)?,
            native_tokens_cached: row.count(NATIVE_TOKENS_CACHED)?,
            cost: total(cost),
            inline_cost: total(inline),
            charged: total(row.number(CHARGED)?),
            cache_discount: total(row.number(CACHE_DISCOUNT)?),
        });
        Ok(())
    }
}

impl Measured for Histogram {
    type What = Timing;

    fn measure(&mut self, row: &impl Columns, timing: Timing) -> Result<(), StoreError> {
        if row.text(column(Dimension::State))? == "failed" {
            return Ok(());
        }
        let value = match timing {
            Timing::Latency => row.number(LATENCY)?,
            Timing::FirstByte => row.number(FIRST_BYTE)?,
            Timing::Speed => Timing::speed(row.number(NATIVE_TOKENS_COMPLETION)?, row.number(GENERATION_TIME)?),
        };
        if let Some(value) = value.filter(|value| *value >= 0) {
            self.count(value, 1);
        }
        Ok(())
    }
}

/// Tells what each group's rows come to in each span; the same span and group may come several times.
pub(super) async fn each<V: Measured>(
    store: &Store,
    query: &TotalsQuery,
    spans: &[Numbered],
    what: V::What,
    mut told: impl FnMut(usize, Vec<Option<String>>, V),
) -> Result<(), StoreError> {
    for piece in cut(store, spans).await? {
        let spans = numbered(&piece)?;
        let mut gathered = Gathered::<V>::of(query, what);
        match &store.pools {
            Pools::Sqlite { direct, .. } => {
                let read = move |connection: &rusqlite::Connection| {
                    let mut statement = connection.prepare_cached(sql::ROLLUPS_ROWS.sqlite)?;
                    let mut rows = statement.query([spans.as_str()])?;
                    while let Some(row) = rows.next()? {
                        gathered.take(row)?;
                    }
                    Ok(gathered)
                };
                gathered = direct.read(read).await?;
            }
            Pools::Postgres(pool) => {
                let mut rows = sqlx::query(sql::ROLLUPS_ROWS.postgres).bind(spans).fetch(pool);
                while let Some(row) = rows.try_next().await? {
                    gathered.take(&row)?;
                }
            }
        }
        for group in gathered.groups.into_values() {
            told(group.span, group.keys, group.value);
        }
    }
    Ok(())
}

/// When the first and the last call were made; `None` before there is one.
pub(in crate::store) async fn extent(store: &Store) -> Result<Option<(Timestamp, Timestamp)>, StoreError> {
    let (first, last): (Option<i64>, Option<i64>) =
        reading!(store, sql::ROLLUPS_EXTENT, |text, conn| sqlx::query_as(text).fetch_one(conn).await?);
    Ok(first.map(Timestamp).zip(last.map(Timestamp)))
}

/// The spans, cut to the time in which there are calls, in pieces of at most [`PIECE_MS`] altogether.
async fn cut(store: &Store, spans: &[Numbered]) -> Result<Vec<Vec<Numbered>>, StoreError> {
    if spans.is_empty() {
        return Ok(Vec::new());
    }
    let Some((first, last)) = extent(store).await? else { return Ok(Vec::new()) };
    let mut pieces: Vec<Vec<Numbered>> = Vec::new();
    let mut room_ms = 0;
    for (number, (since, until)) in spans {
        let until = (*until).min(last.plus_millis(1));
        let mut at = (*since).max(first);
        while at < until {
            if room_ms == 0 || pieces.last().is_none_or(|piece| piece.len() == PIECE_SPANS) {
                pieces.push(Vec::new());
                room_ms = PIECE_MS;
            }
            let end = at.plus_millis(room_ms).min(until);
            room_ms -= end.millis() - at.millis();
            if let Some(piece) = pieces.last_mut() {
                piece.push((*number, (at, end)));
            }
            at = end;
        }
    }
    Ok(pieces)
}

#[derive(Serialize)]
struct Span {
    since: i64,
    until: i64,
}

/// Spans under their own numbers; of one number there may be two, its beginning and its end.
fn numbered(spans: &[Numbered]) -> Result<Json, StoreError> {
    struct Spans<'a>(&'a [Numbered]);
    impl Serialize for Spans<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let span = |(since, until): (Timestamp, Timestamp)| Span { since: since.millis(), until: until.millis() };
            serializer.collect_map(self.0.iter().map(|(number, bounds)| (number, span(*bounds))))
        }
    }
    Json::object(&Spans(spans))
}

/// Rows put together by what a question groups by.
struct Gathered<V: Measured> {
    by: Vec<usize>,
    by_tag: bool,
    only: Vec<(usize, String)>,
    tags: Tags,
    what: V::What,
    /// The group of the row that is looked at: its span and its texts, each with an end that no text has.
    key: Vec<u8>,
    groups: HashMap<Vec<u8>, Group<V>>,
}

struct Group<V> {
    span: usize,
    keys: Vec<Option<String>>,
    value: V,
}

impl<V: Measured> Gathered<V> {
    fn of(query: &TotalsQuery, what: V::What) -> Self {
        Self {
            by: query.by.iter().copied().map(column).collect(),
            by_tag: query.by_tag.is_some(),
            only: query.only.iter().map(|(dimension, value)| (column(*dimension), value.clone())).collect(),
            tags: Tags { by: query.by_tag.clone(), only: query.only_tag.clone(), known: HashMap::new() },
            what,
            key: Vec::new(),
            groups: HashMap::new(),
        }
    }

    fn take(&mut self, row: &impl Columns) -> Result<(), StoreError> {
        for (column, value) in &self.only {
            if row.text(*column)? != value {
                return Ok(());
            }
        }
        let Some(tag) = self.tags.of(row)? else { return Ok(()) };
        let span = row.count(0)?;
        self.key.clear();
        self.key.extend_from_slice(&span.to_le_bytes());
        let mut name = |text: &str| {
            self.key.extend_from_slice(text.as_bytes());
            self.key.push(0);
        };
        for column in &self.by {
            name(row.text(*column)?);
        }
        name(tag);
        if let Some(group) = self.groups.get_mut(&self.key) {
            return group.value.measure(row, self.what);
        }
        // '' is where the rows name nothing.
        let named = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let mut keys =
            self.by.iter().map(|column| Ok(named(row.text(*column)?))).collect::<Result<Vec<_>, StoreError>>()?;
        if self.by_tag {
            keys.push(named(tag));
        }
        let span = usize::try_from(span).map_err(|error| StoreError::unreadable("span", &error))?;
        let mut value = V::default();
        value.measure(row, self.what)?;
        self.groups.insert(self.key.clone(), Group { span, keys, value });
        Ok(())
    }
}

/// What a question asks of tags, and what is known of those that were seen.
struct Tags {
    by: Option<String>,
    only: Option<(String, String)>,
    /// By the tags' text: the value that is grouped by, or that the row is not asked for.
    known: HashMap<String, Option<String>>,
}

impl Tags {
    /// The value that the row is grouped by, empty where it has none; `None`: it is not asked for.
    fn of(&mut self, row: &impl Columns) -> Result<Option<&str>, StoreError> {
        if self.by.is_none() && self.only.is_none() {
            return Ok(Some(""));
        }
        let text = row.text(TAGS)?;
        if !self.known.contains_key(text) {
            if self.known.len() == MAX_TAGS {
                self.known.clear();
            }
            let value = self.read(text)?;
            self.known.insert(text.to_owned(), value);
        }
        Ok(self.known.get(text).and_then(Option::as_deref))
    }

    fn read(&self, text: &str) -> Result<Option<String>, StoreError> {
        let tags: BTreeMap<String, String> = match text {
            "" => BTreeMap::new(),
            text => serde_json::from_str(text).map_err(|error| StoreError::unreadable("calls.tags", &error))?,
        };
        if self.only.as_ref().is_some_and(|(name, value)| tags.get(name) != Some(value)) {
            return Ok(None);
        }
        Ok(Some(self.by.as_ref().and_then(|name| tags.get(name)).cloned().unwrap_or_default()))
    }
}
