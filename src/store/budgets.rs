//! Budgets as they were last seen in force, what was spent in each, and where each stands.

use crate::domain::budget::{Budget, BudgetName, Threshold};
use crate::domain::money::{Money, Total};
use crate::domain::time::Timestamp;
use crate::domain::window::Window;

use super::{Store, StoreError, Tx};

/// A budget in force and what its counters hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBudget {
    /// The budget.
    pub budget: Budget,
    /// The first bucket its counters hold; `None`: they are to be filled from the rows.
    pub counted_from: Option<Timestamp>,
    /// Since when this limit holds; crossings before it were told together.
    pub limit_since: Timestamp,
}

/// What is added to one budget's counter of one 15-minute bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpendDelta {
    /// The budget.
    pub budget: BudgetName,
    /// Start of the bucket.
    pub bucket: Timestamp,
    /// Cost, in pico-dollars; may be negative.
    pub cost_picos: i64,
    /// The part of it that is not yet settled, in pico-dollars.
    pub inline_picos: i64,
    /// Completions whose cost is unknown.
    pub unknown: i64,
}

/// What was spent in a span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Cost, unknown ones left out.
    pub cost: Total,
    /// The part of it that is not yet settled.
    pub inline: Total,
    /// Completions whose cost is unknown.
    pub unknown: i64,
}

/// How a budget stands (`budget_status.state`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BudgetState {
    /// Below every threshold.
    Ok,
    /// A threshold is reached, the limit is not.
    Alerting,
    /// The limit is reached.
    Exceeded,
    /// Not counted for the time being.
    Paused,
}

/// A budget's current window, as the daemon last turned it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetStatus {
    /// The window.
    pub window: Window,
    /// What was spent in it.
    pub spent: Spent,
    /// Held back for calls under way.
    pub reserved: Total,
    /// How it stands.
    pub state: BudgetState,
    /// When this was true.
    pub as_of: Timestamp,
}

/// Makes `budgets` the ones in force: new ones are added, changed ones changed, those missing are marked
/// absent and keep their history. The counters of a new one, of one whose scope changed and of one that
/// returns are emptied; [`load`] shows them as to be filled.
pub async fn sync(tx: &mut Tx, budgets: &[Budget], now: Timestamp) -> Result<(), StoreError> {
    todo!()
}

/// The budgets in force, by name.
pub async fn load(tx: &mut Tx) -> Result<Vec<StoredBudget>, StoreError> {
    todo!()
}

/// The budgets in force with their last status (`None`: never turned yet), by name.
pub async fn list(store: &Store) -> Result<Vec<(StoredBudget, Option<BudgetStatus>)>, StoreError> {
    todo!()
}

/// Notes that the budget's counters hold every row from `from` (a bucket's start) on.
pub async fn set_counted_from(tx: &mut Tx, budget: &BudgetName, from: Timestamp) -> Result<(), StoreError> {
    todo!()
}

/// Adds to counters.
pub async fn add_spend(tx: &mut Tx, deltas: &[SpendDelta]) -> Result<(), StoreError> {
    todo!()
}

/// What was spent in the buckets that start in `from..until`, as this transaction sees it.
pub async fn spent(
    tx: &mut Tx,
    budget: &BudgetName,
    from: Timestamp,
    until: Option<Timestamp>,
) -> Result<Spent, StoreError> {
    todo!()
}

/// The counters of the buckets that start in `from..until`, oldest first: for a budget's course over its window.
pub async fn course(
    store: &Store,
    budget: &BudgetName,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<SpendDelta>, StoreError> {
    todo!()
}

/// Writes where the budget stands, for pages and `budget_status`.
pub async fn set_status(tx: &mut Tx, budget: &BudgetName, status: &BudgetStatus) -> Result<(), StoreError> {
    todo!()
}

/// When each threshold of a rolling budget was last armed.
pub async fn arms(tx: &mut Tx, budget: &BudgetName) -> Result<Vec<(Threshold, Timestamp)>, StoreError> {
    todo!()
}

/// Arms a threshold at `at`.
pub async fn set_arm(tx: &mut Tx, budget: &BudgetName, threshold: Threshold, at: Timestamp) -> Result<(), StoreError> {
    todo!()
}
