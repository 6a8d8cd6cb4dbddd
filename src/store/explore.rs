//! What Explore asks: sums by one or two names and step, spreads of timings, and what there is to ask for.
//!
//! Sums and spreads are those of [`rollups`]: from the cells where these know all that is asked
//! ([`TotalsQuery::is_of_cells`]), else from the rows.

use crate::domain::time::{BUCKET_MS, Timestamp};

use super::rollups::{self, TimedRow, TotalsQuery, TotalsRow};
use super::statements as sql;
use super::tx::reading;
use super::{Store, StoreError};

pub use crate::domain::rollup::Timing;

/// Most rows that one question reads; sums that are kept are no rows. Sixty days of ten million calls a year: a month, and the one
/// it is compared with.
pub const MAX_ROWS: i64 = 2_000_000;

/// The last rows that are looked at for the names of tags.
const ROWS_FOR_TAGS: i64 = 2_000;

/// Most names of tags that are offered.
const MAX_TAGS: i64 = 40;

/// Tells each group's sums in each span, in no order; the same group and span may come several times, to be added.
pub async fn sums(store: &Store, query: &TotalsQuery, told: impl FnMut(TotalsRow)) -> Result<(), StoreError> {
    rollups::each(store, query, told).await
}

/// About how many rows a question would read: all of its time, as filters spare none, to the quarter of an hour.
pub async fn rows(store: &Store, since: Timestamp, until: Timestamp) -> Result<i64, StoreError> {
    let spans = vec![(since.bucket(), until.plus_millis(BUCKET_MS - 1).bucket())];
    let totals = rollups::totals(store, &TotalsQuery { spans, ..TotalsQuery::default() }).await?;
    Ok(totals
        .iter()
        .fold(0, |rows, total| rows.saturating_add(total.sums.completions).saturating_add(total.sums.failures)))
}

/// When the first call was made; `None` before there is one.
pub async fn first(store: &Store) -> Result<Option<Timestamp>, StoreError> {
    Ok(rollups::extent(store).await?.map(|(first, _)| first))
}

/// Tells how long the calls of each group took in each span, in no order; the same group and span may come several times, to be
/// put together. Percentiles of what it tells lie within [`crate::domain::rollup::MOST_ERROR_PERCENT`].
pub async fn spreads(
    store: &Store,
    query: &TotalsQuery,
    timing: Timing,
    told: impl FnMut(TimedRow),
) -> Result<(), StoreError> {
    rollups::each_timing(store, query, timing, told).await
}

/// The names of tags that the latest calls have, by name.
pub async fn tag_names(store: &Store) -> Result<Vec<String>, StoreError> {
    Ok(reading!(store, sql::EXPLORE_TAG_NAMES, |text, conn| {
        sqlx::query_scalar(text).bind(ROWS_FOR_TAGS).bind(MAX_TAGS).fetch_all(conn).await?
    }))
}
