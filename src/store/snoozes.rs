//! Spans in which a budget mails nobody. Its crossings are kept all the same.

use crate::domain::budget::BudgetName;
use crate::domain::time::Timestamp;

use super::statements as sql;
use super::tx::{in_tx, reading};
use super::{Store, StoreError, Tx};

/// A budget that mails nobody for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snooze {
    /// The budget.
    pub budget: BudgetName,
    /// Since when.
    pub since: Timestamp,
    /// The first instant at which it mails again.
    pub until: Timestamp,
}

/// Until when the budget mails nobody at `now`; `None` where it is not snoozed.
pub async fn active(tx: &mut Tx, budget: &BudgetName, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let until: Option<(i64,)> = in_tx!(tx, sql::SNOOZES_ACTIVE, |text, conn| {
        sqlx::query_as(text).bind(budget.as_str()).bind(now.millis()).fetch_optional(conn).await?
    });
    Ok(until.map(|(until,)| Timestamp(until)))
}

/// As [`active`], for who only looks.
pub async fn find(store: &Store, budget: &BudgetName, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let until: Option<(i64,)> = reading!(store, sql::SNOOZES_ACTIVE, |text, conn| {
        sqlx::query_as(text).bind(budget.as_str()).bind(now.millis()).fetch_optional(conn).await?
    });
    Ok(until.map(|(until,)| Timestamp(until)))
}

/// The snoozes that hold at `now`, those that end first first, at most `limit`.
pub async fn list(store: &Store, now: Timestamp, limit: u32) -> Result<Vec<Snooze>, StoreError> {
    let rows: Vec<(String, i64, i64)> = reading!(store, sql::SNOOZES_LIST, |text, conn| {
        sqlx::query_as(text).bind(now.millis()).bind(i64::from(limit)).fetch_all(conn).await?
    });
    rows.into_iter()
        .map(|(budget, since, until)| {
            let budget = budget.parse().map_err(|error| StoreError::unreadable("snoozes", &error))?;
            Ok(Snooze { budget, since: Timestamp(since), until: Timestamp(until) })
        })
        .collect()
}

/// From now on the budget mails nobody until `until`; nothing changes where it is snoozed as long already.
pub async fn begin(tx: &mut Tx, budget: &BudgetName, now: Timestamp, until: Timestamp) -> Result<(), StoreError> {
    if active(tx, budget, now).await?.is_some_and(|known| known >= until) {
        return Ok(());
    }
    in_tx!(tx, sql::SNOOZES_INSERT, |text, conn| {
        sqlx::query(text).bind(budget.as_str()).bind(now.millis()).bind(until.millis()).execute(conn).await?;
    });
    Ok(())
}

/// The budget mails again from now on; whether it was snoozed.
pub async fn end(tx: &mut Tx, budget: &BudgetName, now: Timestamp) -> Result<bool, StoreError> {
    Ok(in_tx!(tx, sql::SNOOZES_END, |text, conn| {
        sqlx::query(text).bind(budget.as_str()).bind(now.millis()).execute(conn).await?.rows_affected() > 0
    }))
}
