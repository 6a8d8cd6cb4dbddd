//! What Explore asks: sums by one or two names and step, spreads of timings, and what there is to ask for.
//!
//! Sums are those of [`rollups`]. Spreads are read from the rows, day by day; whoever keeps histograms in sums answers
//! [`spreads`] from them, where [`TotalsQuery::is_of_buckets`] says that sums know all that is asked.

use std::collections::BTreeMap;

use crate::domain::spread::Spread;
use crate::domain::time::Timestamp;

use super::rollups::{self, OF_ROWS, Place, TotalsQuery, TotalsRow};
use super::statements as sql;
use super::tx::reading;
use super::{Store, StoreError};

/// Most rows that one question reads; sums that are kept are no rows.
pub const MAX_ROWS: i64 = 1_000_000;

/// The last rows that are looked at for the names of tags.
const ROWS_FOR_TAGS: i64 = 2_000;

/// Most names of tags that are offered.
const MAX_TAGS: i64 = 40;

/// A value that each call has, in milliseconds or in thousandths of tokens a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timing {
    /// `latency_ms`.
    Latency,
    /// `first_byte_ms`.
    FirstByte,
    /// `native_tokens_completion` over `generation_time_ms`.
    Speed,
}

impl Timing {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::FirstByte => "first_byte",
            Self::Speed => "speed",
        }
    }
}

/// Tells each group's sums in each span, in no order; the same group and span may come several times, to be added.
pub async fn sums(store: &Store, query: &TotalsQuery, told: impl FnMut(TotalsRow)) -> Result<(), StoreError> {
    rollups::each(store, query, told).await
}

/// About how many rows a question would read, up to one more than [`MAX_ROWS`]: all of its time, as filters spare none.
pub async fn rows(store: &Store, since: Timestamp, until: Timestamp) -> Result<i64, StoreError> {
    Ok(reading!(store, sql::EXPLORE_ROWS, |text, conn| {
        sqlx::query_scalar(text).bind(since.millis()).bind(until.millis()).bind(MAX_ROWS + 1).fetch_one(conn).await?
    }))
}

/// When the first call was made; `None` before there is one.
pub async fn first(store: &Store) -> Result<Option<Timestamp>, StoreError> {
    Ok(rollups::extent(store).await?.map(|(first, _)| first))
}

/// A part of one group's timings in one span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpreadRow {
    /// Index of the span.
    pub span: usize,
    /// The group's values, as in [`TotalsRow::keys`].
    pub keys: Vec<Option<String>>,
    /// The values, of calls that are not failed.
    pub spread: Spread,
}

/// Tells the spread of each group's timings in each span, in no order; the same group and span may come several times, to be
/// put together. Percentiles of what it tells lie within [`crate::domain::spread::MOST_ERROR_PERCENT`].
pub async fn spreads(
    store: &Store,
    query: &TotalsQuery,
    timing: Timing,
    mut told: impl FnMut(SpreadRow),
) -> Result<(), StoreError> {
    let Some((first, last)) = rollups::extent(store).await? else { return Ok(()) };
    let (tag, tag_value) = query.only_tag.as_ref().map_or((None, None), |(name, value)| (Some(name), Some(value)));
    for piece in rollups::pieces(&query.spans, first, last) {
        let spans = rollups::numbered(&piece)?;
        let rows: Vec<ValueRow> = reading!(store, sql::EXPLORE_SPREADS, |text, conn| {
            let mut asked = sqlx::query_as(text).bind(spans);
            for dimension in &OF_ROWS {
                asked = asked.bind(query.by.contains(dimension));
            }
            for dimension in &OF_ROWS {
                asked = asked.bind(query.value_of(*dimension));
            }
            asked.bind(query.by_tag.as_ref()).bind(tag).bind(tag_value).bind(timing.as_str()).fetch_all(conn).await?
        });
        let mut groups: BTreeMap<(usize, Vec<Option<String>>), Spread> = BTreeMap::new();
        for row in rows {
            groups.entry(row.place.read(query)?).or_default().add(row.near, row.count);
        }
        for ((span, keys), spread) in groups {
            told(SpreadRow { span, keys, spread });
        }
    }
    Ok(())
}

#[derive(sqlx::FromRow)]
struct ValueRow {
    #[sqlx(flatten)]
    place: Place,
    near: i64,
    count: i64,
}

/// The names of tags that the latest calls have, by name.
pub async fn tag_names(store: &Store) -> Result<Vec<String>, StoreError> {
    Ok(reading!(store, sql::EXPLORE_TAG_NAMES, |text, conn| {
        sqlx::query_scalar(text).bind(ROWS_FOR_TAGS).bind(MAX_TAGS).fetch_all(conn).await?
    }))
}
