//! Budgets as they were last seen in force, what was spent in each, and where each stands.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;

use crate::domain::alert::{Arm, BudgetState};
use crate::domain::budget::change::Difference;
use crate::domain::budget::terms::{Override, Terms, WindowLimit};
use crate::domain::budget::{Budget, BudgetName, Each};
use crate::domain::money::{Money, Total};
use crate::domain::time::Timestamp;
use crate::domain::window::Window;

use super::batch::{Json, SqliteQuery, SqliteRow, storable};
use super::budget_terms as store_terms;
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
    /// Since when it counts these calls in these windows, whatever its limit.
    pub shaped_at: Timestamp,
    /// What holds beside the definition.
    pub terms: Terms,
}

/// What is added to one budget's counter of one 15-minute bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpendDelta {
    /// The budget.
    pub budget: BudgetName,
    /// The value whose account it is; empty for a budget that is one account.
    pub value: Arc<str>,
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

/// A budget's current window, as the daemon last turned it. Of a budget of each value, what it shows is its dearest value's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetStatus {
    /// The window.
    pub window: Window,
    /// Its limit.
    pub limit: WindowLimit,
    /// What was spent in it.
    pub spent: Spent,
    /// Held back for calls under way.
    pub reserved: Total,
    /// How it stands.
    pub state: BudgetState,
    /// When this was true.
    pub as_of: Timestamp,
    /// The dearest value of a budget of each value; `None` for any other, and before there is one.
    pub top: Option<Arc<str>>,
    /// The values that spent something in the window, or have something held back; 0 for a budget that is one account.
    pub values: i64,
}

/// Where one value of a budget stands in its current window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountStatus {
    /// The value.
    pub value: Arc<str>,
    /// What was spent.
    pub spent: Spent,
    /// Held back for calls whose cost is not known yet.
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
    shaped_ms: Option<i64>,
    paused_ms: Option<i64>,
    override_picos: Option<i64>,
    override_since_ms: Option<i64>,
    override_until_ms: Option<i64>,
    override_reason: Option<String>,
    limit_picos: i64,
    own_limit_picos: Option<i64>,
    rolled_over_picos: Option<i64>,
    topped_up_picos: Option<i64>,
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
    top_value: Option<String>,
    value_count: Option<i64>,
}

impl BudgetRow {
    fn stored(&self) -> Result<StoredBudget, StoreError> {
        let budget = serde_json::from_str(&self.definition)
            .map_err(|error| StoreError::unreadable(&format!("budgets {}", self.name), &error))?;
        Ok(StoredBudget {
            budget,
            counted_from: self.counted_from_ms.map(Timestamp),
            defined_at: Timestamp(self.defined_ms),
            shaped_at: Timestamp(self.shaped_ms.unwrap_or(self.defined_ms)),
            terms: Terms { paused_at: self.paused_ms.map(Timestamp), overridden: self.overridden() },
        })
    }

    /// The last override; `None`: there never was one.
    fn overridden(&self) -> Option<Override> {
        Some(Override {
            limit: Money::from_picos(self.override_picos?),
            since: Timestamp(self.override_since_ms?),
            until: Timestamp(self.override_until_ms?),
            reason: self.override_reason.clone().unwrap_or_default(),
        })
    }

    /// The limit of the window it was last turned to.
    fn limit(&self, as_of: Timestamp) -> WindowLimit {
        let amount = |picos: Option<i64>| Money::from_picos(picos.unwrap_or_default());
        WindowLimit {
            own: Money::from_picos(self.own_limit_picos.unwrap_or(self.limit_picos)),
            rolled_over: amount(self.rolled_over_picos),
            topped_up: amount(self.topped_up_picos),
            overridden: self.overridden().filter(|one| one.since <= as_of && as_of < one.until).map(|one| one.limit),
        }
    }

    /// `None` until the budget is first turned.
    fn status(&self) -> Option<BudgetStatus> {
        let total = |usd: Option<i64>, picos: Option<i64>| Some(Total::from_parts(usd?, picos?));
        Some(BudgetStatus {
            window: Window { start: Timestamp(self.window_start_ms?), end: self.window_end_ms.map(Timestamp) },
            limit: self.limit(Timestamp(self.as_of_ms?)),
            spent: Spent {
                cost: total(self.spent_usd, self.spent_picos)?,
                inline: total(self.inline_usd, self.inline_picos)?,
                unknown: self.unknown_count?,
            },
            reserved: total(self.reserved_usd, self.reserved_picos)?,
            state: BudgetState::parse(self.state.as_deref()?)?,
            as_of: Timestamp(self.as_of_ms?),
            top: self.top_value.as_deref().map(Arc::from),
            values: self.value_count.unwrap_or(0),
        })
    }
}

async fn rows(tx: &mut Tx, absent_too: bool) -> Result<Vec<BudgetRow>, StoreError> {
    Ok(in_tx!(tx, sql::BUDGETS_LIST, |text, conn| sqlx::query_as(text).bind(absent_too).fetch_all(conn).await?))
}

/// Makes `budgets` the ones in force: new ones are added, changed ones changed, those missing are marked
/// absent and keep their history. The counters of a new one, of one whose scope changed and of one that
/// returns are emptied; [`load`] shows them as to be filled. Returns what is another than before, by name.
pub async fn sync(tx: &mut Tx, budgets: &[Budget], now: Timestamp) -> Result<Vec<Difference>, StoreError> {
    let mut known = BTreeMap::new();
    let mut differences = Vec::new();
    for row in rows(tx, true).await? {
        known.insert(row.name.clone(), (row.present, row.stored()?));
    }
    let names = Json::keys(budgets.iter().map(|budget| &budget.name))?;
    in_tx!(tx, sql::BUDGETS_ABSENT, |text, conn| {
        sqlx::query(text).bind(names).execute(conn).await?;
    });
    for (name, (present, stored)) in &known {
        if *present && !budgets.iter().any(|budget| budget.name.as_str() == name) {
            let before = stored.budget.clone();
            differences.push(Difference { name: before.name.clone(), before: Some(before), after: None });
        }
    }
    for budget in budgets {
        let before = known.get(budget.name.as_str()).filter(|(present, _)| *present).map(|(_, stored)| stored);
        let counts_alike =
            |stored: &&StoredBudget| stored.budget.scope == budget.scope && stored.budget.each == budget.each;
        let counted_from = before.filter(counts_alike).and_then(|stored| stored.counted_from);
        if counted_from.is_none() {
            in_tx!(tx, sql::BUDGETS_CLEAR_SPEND, |text, conn| {
                sqlx::query(text).bind(budget.name.as_str()).execute(conn).await?;
            });
        }
        if before.is_some_and(|stored| stored.budget == *budget) {
            continue;
        }
        differences.push(Difference {
            name: budget.name.clone(),
            before: before.map(|stored| stored.budget.clone()),
            after: Some(budget.clone()),
        });
        let shaped = before.filter(|stored| stored.budget.counts_as(budget));
        let shaped_at = shaped.map_or(now, |stored| stored.shaped_at);
        let defined_at = shaped.filter(|s| s.budget.limit == budget.limit).map_or(now, |stored| stored.defined_at);
        if defined_at == now {
            in_tx!(tx, sql::BUDGETS_CLEAR_ARMS, |text, conn| {
                sqlx::query(text).bind(budget.name.as_str()).execute(conn).await?;
            });
            super::forecasts::clear(tx, &budget.name).await?;
        }
        if shaped.is_none() {
            store_terms::forget_rollovers(tx, &budget.name, None).await?;
        }
        let terms = Terms::default();
        save(tx, &StoredBudget { budget: budget.clone(), counted_from, defined_at, shaped_at, terms }).await?;
    }
    differences.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(differences)
}

/// Writes the definition, and since when it is so; what holds beside it stays as it is.
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
            .bind(stored.shaped_at.millis())
            .bind(stored.counted_from.map(Timestamp::millis))
            .bind(budget.each.as_ref().map(Each::to_string))
            .execute(conn)
            .await?;
    });
    Ok(())
}

/// The budgets in force, by name.
pub async fn load(tx: &mut Tx) -> Result<Vec<StoredBudget>, StoreError> {
    rows(tx, false).await?.iter().map(BudgetRow::stored).collect()
}

/// The budget of this name, if it is in force.
pub async fn in_force(tx: &mut Tx, name: &BudgetName) -> Result<Option<StoredBudget>, StoreError> {
    let rows = rows(tx, false).await?;
    rows.iter().find(|row| row.name == name.as_str()).map(BudgetRow::stored).transpose()
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
    value: Cow<'a, str>,
    bucket_ms: i64,
    cost_picos: i64,
    inline_picos: i64,
    unknown_count: i64,
}

impl SqliteRow for CounterRow<'_> {
    fn bind(self, query: SqliteQuery<'_>) -> SqliteQuery<'_> {
        query
            .bind(self.budget.to_owned())
            .bind(self.value.into_owned())
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
    sorted.sort_unstable_by(|a, b| (&a.budget, &a.value, a.bucket).cmp(&(&b.budget, &b.value, b.bucket)));
    for chunk in sorted.chunks(CHUNK) {
        let rows = chunk.iter().map(|delta| CounterRow {
            budget: delta.budget.as_str(),
            value: storable(&delta.value),
            bucket_ms: delta.bucket.millis(),
            cost_picos: delta.cost_picos,
            inline_picos: delta.inline_picos,
            unknown_count: delta.unknown,
        });
        write_rows!(tx, sql::BUDGETS_ADD_SPEND, rows);
    }
    Ok(())
}

type SpentRow = (i64, i64, i64, i64, i64);

impl Spent {
    fn of_row((usd, picos, inline_usd, inline_picos, unknown): SpentRow) -> Self {
        Self { cost: Total::from_parts(usd, picos), inline: Total::from_parts(inline_usd, inline_picos), unknown }
    }
}

/// What was spent under one value in the buckets that start in `from..until`, as this transaction sees it.
pub async fn spent_of(
    tx: &mut Tx,
    budget: &BudgetName,
    value: &str,
    from: Timestamp,
    until: Option<Timestamp>,
) -> Result<Spent, StoreError> {
    let until = until.map_or(i64::MAX, Timestamp::millis);
    let row: SpentRow = in_tx!(tx, sql::BUDGETS_SPENT_OF, |text, conn| {
        let query = sqlx::query_as(text).bind(budget.as_str()).bind(value);
        query.bind(from.millis()).bind(until).fetch_one(conn).await?
    });
    Ok(Spent::of_row(row))
}

/// What was spent under each value in the buckets that start in `from..until`, as this transaction sees it.
pub async fn spent_by_value(
    tx: &mut Tx,
    budget: &BudgetName,
    from: Timestamp,
    until: Option<Timestamp>,
) -> Result<Vec<(Arc<str>, Spent)>, StoreError> {
    let until = until.map_or(i64::MAX, Timestamp::millis);
    let rows: Vec<(String, i64, i64, i64, i64, i64)> = in_tx!(tx, sql::BUDGETS_SPENT_BY_VALUE, |text, conn| {
        sqlx::query_as(text).bind(budget.as_str()).bind(from.millis()).bind(until).fetch_all(conn).await?
    });
    Ok(rows
        .into_iter()
        .map(|(value, usd, picos, inline_usd, inline_picos, unknown)| {
            (value.into(), Spent::of_row((usd, picos, inline_usd, inline_picos, unknown)))
        })
        .collect())
}

/// What was spent in the buckets that start in `from..until`, under all values, as this transaction sees it.
pub async fn spent(
    tx: &mut Tx,
    budget: &BudgetName,
    from: Timestamp,
    until: Option<Timestamp>,
) -> Result<Spent, StoreError> {
    let until = until.map_or(i64::MAX, Timestamp::millis);
    let row: SpentRow = in_tx!(tx, sql::BUDGETS_SPENT, |text, conn| {
        sqlx::query_as(text).bind(budget.as_str()).bind(from.millis()).bind(until).fetch_one(conn).await?
    });
    Ok(Spent::of_row(row))
}

#[derive(sqlx::FromRow)]
pub(super) struct Counter {
    value: String,
    bucket_ms: i64,
    cost_picos: i64,
    inline_picos: i64,
    unknown_count: i64,
}

impl Counter {
    pub(super) fn into_delta(self, budget: &BudgetName) -> SpendDelta {
        SpendDelta {
            budget: budget.clone(),
            value: self.value.into(),
            bucket: Timestamp(self.bucket_ms),
            cost_picos: self.cost_picos,
            inline_picos: self.inline_picos,
            unknown: self.unknown_count,
        }
    }
}

/// What each bucket that starts in `from..until` counted under one value, or under all of them (`None`), oldest first: for
/// a budget's course over its window.
pub async fn course(
    store: &Store,
    budget: &BudgetName,
    value: Option<&str>,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<SpendDelta>, StoreError> {
    let (from, until) = (from.millis(), until.millis());
    let rows: Vec<Counter> = match value {
        Some(value) => reading!(store, sql::BUDGETS_COURSE_OF, |text, conn| {
            sqlx::query_as(text).bind(budget.as_str()).bind(value).bind(from).bind(until).fetch_all(conn).await?
        }),
        None => reading!(store, sql::BUDGETS_COURSE, |text, conn| {
            sqlx::query_as(text).bind(budget.as_str()).bind(from).bind(until).fetch_all(conn).await?
        }),
    };
    Ok(rows.into_iter().map(|row| row.into_delta(budget)).collect())
}

/// What each bucket that starts in `from..until` counted under one value, oldest first, as this transaction sees it.
pub async fn counters_of(
    tx: &mut Tx,
    budget: &BudgetName,
    value: &str,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<SpendDelta>, StoreError> {
    let rows: Vec<Counter> = in_tx!(tx, sql::BUDGETS_COURSE_OF, |text, conn| {
        let query = sqlx::query_as(text).bind(budget.as_str()).bind(value);
        query.bind(from.millis()).bind(until.millis()).fetch_all(conn).await?
    });
    Ok(rows.into_iter().map(|row| row.into_delta(budget)).collect())
}

/// Every counter of the buckets that start in `from..until`, oldest first, as this transaction sees it.
pub async fn counters(
    tx: &mut Tx,
    budget: &BudgetName,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<SpendDelta>, StoreError> {
    let rows: Vec<Counter> = in_tx!(tx, sql::BUDGETS_COUNTERS, |text, conn| {
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
            .bind(status.limit.limit().picos())
            .bind(status.limit.own.picos())
            .bind(status.limit.rolled_over.picos())
            .bind(status.limit.topped_up.picos())
            .bind(status.top.as_ref().map(|value| storable(value).into_owned()))
            .bind(status.values)
            .execute(conn)
            .await?;
    });
    Ok(())
}

#[derive(Serialize, sqlx::FromRow)]
struct AccountRow {
    #[sqlx(default)]
    budget: String,
    value: String,
    spent_usd: i64,
    spent_picos: i64,
    inline_usd: i64,
    inline_picos: i64,
    reserved_usd: i64,
    reserved_picos: i64,
    unknown_count: i64,
    state: String,
    as_of_ms: i64,
}

impl SqliteRow for AccountRow {
    fn bind(self, query: SqliteQuery<'_>) -> SqliteQuery<'_> {
        query
            .bind(self.budget)
            .bind(self.value)
            .bind(self.spent_usd)
            .bind(self.spent_picos)
            .bind(self.inline_usd)
            .bind(self.inline_picos)
            .bind(self.reserved_usd)
            .bind(self.reserved_picos)
            .bind(self.unknown_count)
            .bind(self.state)
            .bind(self.as_of_ms)
    }
}

impl AccountRow {
    fn into_status(self) -> Result<AccountStatus, StoreError> {
        Ok(AccountStatus {
            spent: Spent::of_row((
                self.spent_usd,
                self.spent_picos,
                self.inline_usd,
                self.inline_picos,
                self.unknown_count,
            )),
            reserved: Total::from_parts(self.reserved_usd, self.reserved_picos),
            state: BudgetState::parse(&self.state)
                .ok_or_else(|| StoreError::unreadable("budget_accounts", &format!("state {}", self.state)))?,
            as_of: Timestamp(self.as_of_ms),
            value: self.value.into(),
        })
    }
}

/// Writes where values of the budget stand, for pages and `budget_values`; none may stand in `accounts` twice.
pub async fn save_accounts(tx: &mut Tx, budget: &BudgetName, accounts: &[AccountStatus]) -> Result<(), StoreError> {
    for chunk in accounts.chunks(CHUNK) {
        let rows = chunk.iter().map(|account| {
            let (spent_usd, spent_picos) = account.spent.cost.to_parts();
            let (inline_usd, inline_picos) = account.spent.inline.to_parts();
            let (reserved_usd, reserved_picos) = account.reserved.to_parts();
            AccountRow {
                budget: budget.to_string(),
                value: storable(&account.value).into_owned(),
                spent_usd,
                spent_picos,
                inline_usd,
                inline_picos,
                reserved_usd,
                reserved_picos,
                unknown_count: account.spent.unknown,
                state: account.state.as_str().to_owned(),
                as_of_ms: account.as_of.millis(),
            }
        });
        write_rows!(tx, sql::BUDGETS_SAVE_ACCOUNTS, rows);
    }
    Ok(())
}

/// Where a budget stood after the last transaction that counted it, whichever daemon's it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stood {
    /// When its window began.
    pub window_start: Timestamp,
    /// What was spent in it; of a budget of each value, by its dearest.
    pub spent: Spent,
    /// The limit of its window.
    pub limit: Money,
    /// When that was so.
    pub as_of: Timestamp,
}

#[derive(sqlx::FromRow)]
struct StoodRow {
    name: String,
    window_start_ms: i64,
    spent_usd: i64,
    spent_picos: i64,
    inline_usd: i64,
    inline_picos: i64,
    unknown_count: i64,
    limit_picos: i64,
    as_of_ms: i64,
}

/// Where the budgets in force stood, by name; those that were never turned are left out.
pub async fn stood(tx: &mut Tx) -> Result<BTreeMap<String, Stood>, StoreError> {
    let rows: Vec<StoodRow> = in_tx!(tx, sql::BUDGETS_STOOD, |text, conn| sqlx::query_as(text).fetch_all(conn).await?);
    let stood = rows.into_iter().map(|row| {
        let spent = (row.spent_usd, row.spent_picos, row.inline_usd, row.inline_picos, row.unknown_count);
        let (window_start, as_of) = (Timestamp(row.window_start_ms), Timestamp(row.as_of_ms));
        (
            row.name,
            Stood { window_start, spent: Spent::of_row(spent), limit: Money::from_picos(row.limit_picos), as_of },
        )
    });
    Ok(stood.collect())
}

/// Removes where these values stood: their window is over, or nothing is spent in it any more.
pub async fn drop_accounts(tx: &mut Tx, budget: &BudgetName, values: &[Arc<str>]) -> Result<(), StoreError> {
    if values.is_empty() {
        return Ok(());
    }
    let values = Json::keys(values.iter().map(|value| &**value))?;
    in_tx!(tx, sql::BUDGETS_DROP_ACCOUNTS, |text, conn| {
        sqlx::query(text).bind(budget.as_str()).bind(values).execute(conn).await?;
    });
    Ok(())
}

/// Removes where all values stood.
pub async fn clear_accounts(tx: &mut Tx, budget: &BudgetName) -> Result<(), StoreError> {
    in_tx!(tx, sql::BUDGETS_CLEAR_ACCOUNTS, |text, conn| {
        sqlx::query(text).bind(budget.as_str()).execute(conn).await?;
    });
    Ok(())
}

/// Where the values of a budget stand, dearest first, at most `limit` after the one that spent and is called so.
pub async fn accounts(
    store: &Store,
    budget: &BudgetName,
    after: Option<(Total, &str)>,
    limit: u32,
) -> Result<Vec<AccountStatus>, StoreError> {
    let ((usd, picos), value) = after.map_or(((i64::MAX, i64::MAX), ""), |(spent, value)| (spent.to_parts(), value));
    let rows: Vec<AccountRow> = reading!(store, sql::BUDGETS_ACCOUNTS, |text, conn| {
        let query = sqlx::query_as(text).bind(budget.as_str()).bind(usd).bind(picos).bind(value);
        query.bind(i64::from(limit)).fetch_all(conn).await?
    });
    rows.into_iter().map(AccountRow::into_status).collect()
}

/// Where all values of a budget stand, dearest first, as this transaction sees it.
pub async fn all_accounts(tx: &mut Tx, budget: &BudgetName) -> Result<Vec<AccountStatus>, StoreError> {
    let rows: Vec<AccountRow> = in_tx!(tx, sql::BUDGETS_ACCOUNTS, |text, conn| {
        let query = sqlx::query_as(text).bind(budget.as_str()).bind(i64::MAX).bind(i64::MAX).bind("");
        query.bind(i64::MAX).fetch_all(conn).await?
    });
    rows.into_iter().map(AccountRow::into_status).collect()
}

/// Thresholds of one account of a rolling budget that were armed again since the budget stands as it does, for `limit`:
/// that of its window, under whichever limit it was that spend fell.
pub async fn arms(tx: &mut Tx, budget: &Budget, value: &str, limit: Money) -> Result<Vec<Arm>, StoreError> {
    let rows: Vec<(String, i64)> = in_tx!(tx, sql::BUDGETS_ARMS, |text, conn| {
        sqlx::query_as(text).bind(budget.name.as_str()).bind(value).fetch_all(conn).await?
    });
    rows.into_iter()
        .map(|(threshold, armed)| {
            let threshold = threshold
                .parse()
                .map_err(|error| StoreError::unreadable(&format!("budget_arms {}", budget.name), &error))?;
            Ok(Arm { threshold, limit, armed_at: Timestamp(armed) })
        })
        .collect()
}

/// As [`arms`], of every account, by its value.
pub async fn arms_all(tx: &mut Tx, budget: &Budget, limit: Money) -> Result<HashMap<Arc<str>, Vec<Arm>>, StoreError> {
    let rows: Vec<(String, String, i64)> = in_tx!(tx, sql::BUDGETS_ARMS_ALL, |text, conn| {
        sqlx::query_as(text).bind(budget.name.as_str()).fetch_all(conn).await?
    });
    let mut arms: HashMap<Arc<str>, Vec<Arm>> = HashMap::new();
    for (value, threshold, armed) in rows {
        let threshold = threshold
            .parse()
            .map_err(|error| StoreError::unreadable(&format!("budget_arms {}", budget.name), &error))?;
        arms.entry(value.into()).or_default().push(Arm { threshold, limit, armed_at: Timestamp(armed) });
    }
    Ok(arms)
}

/// Arms a threshold again.
pub async fn set_arm(tx: &mut Tx, budget: &BudgetName, value: &str, arm: &Arm) -> Result<(), StoreError> {
    in_tx!(tx, sql::BUDGETS_SET_ARM, |text, conn| {
        sqlx::query(text)
            .bind(budget.as_str())
            .bind(&*storable(value))
            .bind(arm.threshold.to_string())
            .bind(arm.armed_at.millis())
            .execute(conn)
            .await?;
    });
    Ok(())
}
