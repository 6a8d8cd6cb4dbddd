//! What the cells do not know, read from the rows: other names, and parts of a quarter of an hour.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::domain::rollup::{Histogram, Timing};
use crate::domain::time::{DAY_MS, Timestamp};

use super::{Dimension, Numbered, SumsRow, TimedRow, TotalsQuery, TotalsRow};
use crate::store::batch::Json;
use crate::store::statements as sql;
use crate::store::tx::reading;
use crate::store::{Store, StoreError};

/// All dimensions, in the order of `by_row.sql` and `timings_by_row.sql`.
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

/// Most spans that go to the database as one parameter with a piece.
const PIECE_SPANS: usize = 500;

/// A question about rows with its parameters, as both texts have them.
macro_rules! asked {
    ($text:ident, $query:ident, $piece:ident) => {{
        let mut asked = sqlx::query_as($text).bind(numbered(&$piece)?);
        for dimension in &OF_ROWS {
            asked = asked.bind($query.by.contains(dimension));
        }
        for dimension in &OF_ROWS {
            asked = asked.bind($query.value_of(*dimension));
        }
        let (name, value) = $query.only_tag.as_ref().map(|(name, value)| (name, value)).unzip();
        asked.bind($query.by_tag.as_ref()).bind(name).bind(value)
    }};
}

/// Tells the sums of each group in each span; the same span and group may come several times.
pub(super) async fn sums(
    store: &Store,
    query: &TotalsQuery,
    spans: &[Numbered],
    mut told: impl FnMut(TotalsRow),
) -> Result<(), StoreError> {
    for piece in cut(store, spans).await? {
        let rows: Vec<SumRow> =
            reading!(store, sql::ROLLUPS_BY_ROW, |text, conn| { asked!(text, query, piece).fetch_all(conn).await? });
        for row in rows {
            let (span, keys) = row.place.read(query)?;
            told(TotalsRow { span, keys, sums: row.sums.sums() });
        }
    }
    Ok(())
}

/// Tells the timings of each group in each span; the same span and group may come several times.
pub(super) async fn timings(
    store: &Store,
    query: &TotalsQuery,
    spans: &[Numbered],
    timing: Timing,
    mut told: impl FnMut(TimedRow),
) -> Result<(), StoreError> {
    for piece in cut(store, spans).await? {
        let rows: Vec<ValueRow> = reading!(store, sql::ROLLUPS_TIMINGS_BY_ROW, |text, conn| {
            asked!(text, query, piece).bind(timing.as_str()).fetch_all(conn).await?
        });
        let mut groups: BTreeMap<(usize, Vec<Option<String>>), Histogram> = BTreeMap::new();
        for row in rows {
            groups.entry(row.place.read(query)?).or_default().count(row.value, row.count);
        }
        for ((span, keys), histogram) in groups {
            told(TimedRow { span, keys, histogram });
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

/// Where a row of sums or timings belongs: its span, and what it names of that which is asked by.
#[derive(sqlx::FromRow)]
struct Place {
    span: i64,
    app: Option<String>,
    key_name: Option<String>,
    model: Option<String>,
    provider: Option<String>,
    endpoint: Option<String>,
    is_byok: Option<String>,
    end_user: Option<String>,
    session: Option<String>,
    requested_model: Option<String>,
    state: Option<String>,
    error_type: Option<String>,
    tag: Option<String>,
}

impl Place {
    /// The span's index, and the group's values as in [`TotalsRow::keys`].
    fn read(mut self, query: &TotalsQuery) -> Result<(usize, Vec<Option<String>>), StoreError> {
        let key = |dimension: &Dimension| match dimension {
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
        };
        let mut keys: Vec<Option<String>> = query.by.iter().map(key).collect();
        if query.by_tag.is_some() {
            keys.push(self.tag.take());
        }
        let span = usize::try_from(self.span).map_err(|error| StoreError::unreadable("span", &error))?;
        // '' is where the rows name nothing.
        Ok((span, keys.into_iter().map(|key| key.filter(|key| !key.is_empty())).collect()))
    }
}

#[derive(sqlx::FromRow)]
struct SumRow {
    #[sqlx(flatten)]
    place: Place,
    #[sqlx(flatten)]
    sums: SumsRow,
}

#[derive(sqlx::FromRow)]
struct ValueRow {
    #[sqlx(flatten)]
    place: Place,
    value: i64,
    count: i64,
}
