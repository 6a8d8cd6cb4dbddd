//! Sums and counters recomputed from the rows, at one snapshot, and compared with what is stored.

use std::time::Duration;

use crate::clock::Clock;
use crate::domain::budget::BudgetName;
use crate::domain::call::Call;
use crate::domain::rollup::{Amounts, BucketKey};
use crate::domain::time::Timestamp;

use super::budgets::SpendDelta;
use super::{Store, StoreError};

/// Most differences named one by one; beyond it they are counted.
pub const MAX_NAMED: usize = 1_000;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// A roll-up bucket holds something else than its rows sum to.
    Bucket {
        /// The bucket.
        key: BucketKey,
        /// What is stored.
        stored: Box<Amounts>,
        /// What the rows sum to.
        rows: Box<Amounts>,
    },
    /// A budget's counter holds something else than the rows it counts sum to.
    Budget {
        /// What is stored.
        stored: SpendDelta,
        /// What the rows sum to.
        rows: SpendDelta,
    },
    /// A row's own derived columns differ from what its facts say.
    Row {
        /// The row.
        call_id: String,
        /// Which column, and how.
        what: String,
    },
}

/// What verifying found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// The first [`MAX_NAMED`] differences.
    pub differences: Vec<Difference>,
    /// All differences.
    pub difference_count: u64,
    /// Rows read.
    pub rows: u64,
    /// Roll-up buckets compared.
    pub buckets: u64,
    /// Budget counters compared.
    pub counters: u64,
    /// How long the snapshot was held.
    pub held: Duration,
}

/// Recomputes every roll-up and every budget counter from the rows at one snapshot.
pub async fn run(store: &Store, clock: &Clock) -> Result<Verification, StoreError> {
    todo!()
}
