//! Budgets as they were last seen in force, what was spent in each, and where each stands.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::domain::alert::{Arm, BudgetState};
use crate::domain::budget::{Budget, BudgetName};
use crate::domain::money::Total;
use crate::domain::time::Timestamp;
use crate::domain::window::Window;

use super::batch::{Json, SqliteQuery, SqliteRow};
use super::statements as sql;
use super::tx::{in_tx, reading, write_rows};
use super::{Store, StoreError, Tx};

/// A budget in force and what its counters hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBudget {
    /// The budget.
    pub budget: Budget,
    /// The first bucket its counters hold; `None`: they are to be filled from the rows.
    pub counted_from: Option<Timestamp>,
    /// Since when its limit, scope, window and zone are as they are; what it found passed then was told together.
    pub defined_at: Timestamp,
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

#[derive(sqlx::FromRow)]
struct BudgetRow {
    name: String,
    definition: String,
    present: bool,
    counted_from_ms: Option<i64>,
    defined_ms: i64,
    window_start_ms: Option<i64>,
    window_end_ms: Option<i64>,
    spent_usd: Option<i64>,
    spent_picos: Option<i64>,
    inline_usd: Option<i64>,
    inline_picos: Option<i64>,
    reserved_usd: Option<i64>,
    reserved_picos: Option<i64>,
    unknown_count: Option<i64>,
    state: Option<String>,
    as_of_ms: Option<i64>,
}

impl BudgetRow {
    fn stored(&self) -> Result<StoredBudget, StoreError> {
        let budget = serde_json::from_str(&self.definition)
            .map_err(|error| StoreError::unreadable(&format!("budgets {}", self.name), &error))?;
        Ok(StoredBudget {
            budget,
            counted_from: self.counted_from_ms.map(Timestamp),
            defined_at: Timestamp(self.defined_ms),
        })
    }

    /// `None` until the budget is first turned.
    fn status(&self) -> Option<BudgetStatus> {
        let total = |usd: Option<i64>, picos: Option<i64>| Some(Total::from_parts(usd?, picos?));
        Some(BudgetStatus {
            window: Window { start: Timestamp(self.window_start_ms?), end: self.window_end_ms.map(Timestamp) },
            spent: Spent {
                cost: total(self.spent_usd, self.spent_picos)?,
                inline: total(self.inline_usd, self.inline_picos)?,
                unknown: self.unknown_count?,
            },
            reserved: total(self.reserved_usd, self.reserved_picos)?,
            state: BudgetState::parse(self.state.as_deref()?)?,
            as_of: Timestamp(self.as_of_ms?),
        })
    }
}

async fn rows(tx: &mut Tx, absent_too: bool) -> Result<Vec<BudgetRow>, StoreError> {
    Ok(in_tx!(tx, sql::BUDGETS_LIST, |text, conn| sqlx::query_as(text).bind(absent_too).fetch_all(conn).await?))
}

/// Makes `budgets` the ones in force: new ones are added, changed ones changed, those missing are marked
/// absent and keep their history. The counters of a new one, of one whose scope changed and of one that
/// returns are emptied; [`load`] shows them as to be filled.
pub async fn sync(tx: &mut Tx, budgets: &[Budget], now: Timestamp) -> Result<(), StoreError> {
    let mut known = BTreeMap::new();
    for row in rows(tx, true).await? {
        known.insert(row.name.clone(), (row.present, row.stored()?));
    }
    let names = Json::keys(budgets.iter().map(|budget| &budget.name))?;
    in_tx!(tx, sql::BUDGETS_ABSENT, |text, conn| {
        sqlx::query(text).bind(names).execute(conn).await?;
    });
    for budget in budgets {
        let before = known.get(budget.name.as_str()).filter(|(present, _)| *present).map(|(_, stored)| stored);
        let counted_from = before.filter(|stored| stored.budget.scope == budget.scope).and_then(|s| s.counted_from);
        let same = |stored: &&StoredBudget| {
            let old = &stored.budget;
            (old.limit, old.window, old.zone) == (budget.limit, budget.window, budget.zone) && old.scope == budget.scope
        };
        let defined_at = before.filter(same).map_or(now, |stored| stored.defined_at);
        if counted_from.is_none() {
            in_tx!(tx, sql::BUDGETS_CLEAR_SPEND, |text, conn| {
                sqlx::query(text).bind(budget.name.as_str()).execute(conn).await?;
            });
        }
        if defined_at == now {
            in_tx!(tx, sql::BUDGETS_CLEAR_ARMS, |text, conn| {
                sqlx::query(text).bind(budget.name.as_str()).execute(conn).await?;
            });
        }
        save(tx, &StoredBudget { budget: budget.clone(), counted_from, defined_at }).await?;
    }
    Ok(())
}

async fn save(tx: &mut Tx, stored: &StoredBudget) -> Result<(), StoreError> {
    let budget = &stored.budget;
    let definition = serde_json::to_string(budget).map_err(StoreError::encoding)?;
    let scope = serde_json::to_string(&budget.scope).map_err(StoreError::encoding)?;
    in_tx!(tx, sql::BUDGETS_SAVE, |text, conn| {
        sqlx::query(text)
            .bind(budget.name.as_str())
            .bind(budget.origin.as_str())
            .bind(definition)
            .bind(scope)
            .bind(budget.window.as_str())
            .bind(budget.zone.name())
            .bind(budget.limit.picos())
            .bind(budget.when_exceeded.as_str())
            .bind(stored.defined_at.millis())
            .bind(stored.counted_from.map(Timestamp::millis))
            .execute(conn)
            .await?;
    });
    Ok(())
}

/// The budgets in force, by name.
pub async fn load(tx: &mut Tx) -> Result<Vec<StoredBudget>, StoreError> {
    rows(tx, false).await?.iter().map(BudgetRow::stored).collect()
}

/// The budget as it last stood, whether it is still in force or not; `None` if there never was one of this name.
pub async fn find(tx: &mut Tx, name: &BudgetName) -> Result<Option<Budget>, StoreError> {
    let rows = rows(tx, true).await?;
    rows.iter().find(|row| row.name == name.as_str()).map(|row| Ok(row.stored()?.budget)).transpose()
}

/// The budgets in force with their last status (`None`: never turned yet), by name.
pub async fn list(store: &Store) -> Result<Vec<(StoredBudget, Option<BudgetStatus>)>, StoreError> {
    let rows: Vec<BudgetRow> =
        reading!(store, sql::BUDGETS_LIST, |text, conn| sqlx::query_as(text).bind(false).fetch_all(conn).await?);
    rows.iter().map(|row| Ok((row.stored()?, row.status()))).collect()
}

/// The budgets in force with their last status (`None`: never turned yet), by name, as this transaction sees them.
pub(super) async fn statuses(tx: &mut Tx) -> Result<Vec<(StoredBudget, Option<BudgetStatus>)>, StoreError> {
    rows(tx, false).await?.iter().map(|row| Ok((row.stored()?, row.status()))).collect()
}

/// Notes that the budget's counters hold every row from `from` (a bucket's start) on.
pub async fn set_counted_from(tx: &mut Tx, budget: &BudgetName, from: Timestamp) -> Result<(), StoreError> {
    in_tx!(tx, sql::BUDGETS_SET_COUNTED_FROM, |text, conn| {
        sqlx::query(text).bind(budget.as_str()).bind(from.millis()).execute(conn).await?;
    });
    Ok(())
}

#[derive(Serialize)]
struct CounterRow<'a> {
    budget: &'a str,
    bucket_ms: i64,
    cost_picos: i64,
    inline_picos: i64,
    unknown_count: i64,
}

impl SqliteRow for CounterRow<'_> {
    fn bind(self, query: SqliteQuery<'_>) -> SqliteQuery<'_> {
        query
            .bind(self.budget.to_owned())
            .bind(self.bucket_ms)
            .bind(self.cost_picos)
            .bind(self.inline_picos)
            .bind(self.unknown_count)
    }
}

/// Most counters that go to the database as one parameter.
const CHUNK: usize = 5_000;

/// Adds to counters; no counter may stand in `deltas` twice. In one order for all writers, so that they
/// can not wait for each other.
pub async fn add_spend(tx: &mut Tx, deltas: &[SpendDelta]) -> Result<(), StoreError> {
    let mut sorted: Vec<&SpendDelta> = deltas.iter().collect();
    sorted.sort_unstable_by(|a, b| (&a.budget, a.bucket).cmp(&(&b.budget, b.bucket)));
    for chunk in sorted.chunks(CHUNK) {
        let rows = chunk.iter().map(|delta| CounterRow {
            budget: delta.budget.as_str(),
            bucket_ms: delta.bucket.millis(),
            cost_picos: delta.cost_picos,
            inline_picos: delta.inline_picos,
            unknown_count: delta.unknown,
        });
        write_rows!(tx, sql::BUDGETS_ADD_SPEND, rows);
    }
    Ok(())
}

/// What was spent in the buckets that start in `from..until`, as this transaction sees it.
pub async fn spent(
    tx: &mut Tx,
    budget: &BudgetName,
    from: Timestamp,
    until: Option<Timestamp>,
) -> Result<Spent, StoreError> {
    let until = until.map_or(i64::MAX, Timestamp::millis);
    let (usd, picos, inline_usd, inline_picos, unknown): (i64, i64, i64, i64, i64) =
        in_tx!(tx, sql::BUDGETS_SPENT, |text, conn| {
            sqlx::query_as(text).bind(budget.as_str()).bind(from.millis()).bind(until).fetch_one(conn).await?
        });
    Ok(Spent { cost: Total::from_parts(usd, picos), inline: Total::from_parts(inline_usd, inline_picos), unknown })
}

#[derive(sqlx::FromRow)]
pub(super) struct Counter {
    bucket_ms: i64,
    cost_picos: i64,
    inline_picos: i64,
    unknown_count: i64,
}

impl Counter {
    pub(super) fn into_delta(self, budget: &BudgetName) -> SpendDelta {
        SpendDelta {
            budget: budget.clone(),
            bucket: Timestamp(self.bucket_ms),
            cost_picos: self.cost_picos,
            inline_picos: self.inline_picos,
            unknown: self.unknown_count,
        }
    }
}

/// The counters of the buckets that start in `from..until`, oldest first: for a budget's course over its window.
pub async fn course(
    store: &Store,
    budget: &BudgetName,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<SpendDelta>, StoreError> {
    let rows: Vec<Counter> = reading!(store, sql::BUDGETS_COURSE, |text, conn| {
        sqlx::query_as(text).bind(budget.as_str()).bind(from.millis()).bind(until.millis()).fetch_all(conn).await?
    });
    Ok(rows.into_iter().map(|row| row.into_delta(budget)).collect())
}

/// [`course`] as this transaction sees it.
pub async fn counters(
    tx: &mut Tx,
    budget: &BudgetName,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<SpendDelta>, StoreError> {
    let rows: Vec<Counter> = in_tx!(tx, sql::BUDGETS_COURSE, |text, conn| {
        sqlx::query_as(text).bind(budget.as_str()).bind(from.millis()).bind(until.millis()).fetch_all(conn).await?
    });
    Ok(rows.into_iter().map(|row| row.into_delta(budget)).collect())
}

/// Writes where the budget stands, for pages and `budget_status`.
pub async fn set_status(tx: &mut Tx, budget: &BudgetName, status: &BudgetStatus) -> Result<(), StoreError> {
    let (spent_usd, spent_picos) = status.spent.cost.to_parts();
    let (inline_usd, inline_picos) = status.spent.inline.to_parts();
    let (reserved_usd, reserved_picos) = status.reserved.to_parts();
    in_tx!(tx, sql::BUDGETS_SET_STATUS, |text, conn| {
        sqlx::query(text)
            .bind(budget.as_str())
            .bind(status.window.start.millis())
            .bind(status.window.end.map(Timestamp::millis))
            .bind(spent_usd)
            .bind(spent_picos)
            .bind(inline_usd)
            .bind(inline_picos)
            .bind(reserved_usd)
            .bind(reserved_picos)
            .bind(status.spent.unknown)
            .bind(status.state.as_str())
            .bind(status.as_of.millis())
            .execute(conn)
            .await?;
    });
    Ok(())
}

/// Thresholds of a rolling budget that were armed again since the budget stands as it does.
pub async fn arms(tx: &mut Tx, budget: &Budget) -> Result<Vec<Arm>, StoreError> {
    let rows: Vec<(String, i64)> = in_tx!(tx, sql::BUDGETS_ARMS, |text, conn| {
        sqlx::query_as(text).bind(budget.name.as_str()).fetch_all(conn).await?
    });
    rows.into_iter()
        .map(|(threshold, armed)| {
            let threshold = threshold
                .parse()
                .map_err(|error| StoreError::unreadable(&format!("budget_arms {}", budget.name), &error))?;
            Ok(Arm { threshold, limit: budget.limit, armed_at: Timestamp(armed) })
        })
        .collect()
}

/// Arms a threshold again.
pub async fn set_arm(tx: &mut Tx, budget: &BudgetName, arm: &Arm) -> Result<(), StoreError> {
    in_tx!(tx, sql::BUDGETS_SET_ARM, |text, conn| {
        sqlx::query(text)
            .bind(budget.as_str())
            .bind(arm.threshold.to_string())
            .bind(arm.armed_at.millis())
            .execute(conn)
            .await?;
    });
    Ok(())
}
