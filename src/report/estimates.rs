//! What rows of unknown cost may have cost by the list prices of their time. Shown beside the sums, never in them.

use crate::domain::call::Call;
use crate::domain::catalogue::Catalogue;
use crate::domain::money::Total;
use crate::domain::time::Timestamp;
use crate::report::format;
use crate::store::{Store, StoreError, calls};

/// Rows of unknown cost that are estimated for one answer, the newest; further ones are unknown and no more.
pub const MAX_ESTIMATED: u32 = 10_000;

/// Estimates of many rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimates {
    /// Rows that could be estimated.
    pub rows: i64,
    /// What they may have cost together.
    pub sum: Total,
}

impl Estimates {
    /// The estimates of those of `calls` that can be estimated.
    pub fn of<'a>(catalogue: &Catalogue, calls: impl IntoIterator<Item = &'a Call>) -> Self {
        let mut estimates = Self::default();
        for estimate in calls.into_iter().filter_map(|call| catalogue.estimate(call)) {
            estimates.rows += 1;
            estimates.sum += Total::from(estimate);
        }
        estimates
    }

    /// `, about $0.12` after a count of `unknown` rows; empty where nothing could be estimated.
    pub fn about(&self, unknown: i64) -> String {
        let sum = format::usd(self.sum);
        match self.rows {
            0 => String::new(),
            rows if rows >= unknown => format!(", about {sum}"),
            rows => format!(", about {sum} for {} of them", format::count(rows)),
        }
    }
}

/// The rows of unknown cost created from `since` until before `until`.
pub async fn unknown(store: &Store, since: Timestamp, until: Timestamp) -> Result<Vec<Call>, StoreError> {
    calls::unknown(store, since, until, MAX_ESTIMATED).await
}
