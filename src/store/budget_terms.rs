//! What holds of budgets beside their definitions: pauses, overrides, top-ups, what rolled over; and the definitions of
//! our own budgets, whether a budget of the file stands before them or not.

use crate::domain::budget::terms::Override;
use crate::domain::budget::{Budget, BudgetName};
use crate::domain::money::{Money, Total};
use crate::domain::time::Timestamp;
use crate::domain::window::Window;

use super::statements as sql;
use super::tx::{in_tx, reading};
use super::{Store, StoreError, Tx};

/// Pauses the budget since `at`, or resumes it.
pub async fn set_paused(tx: &mut Tx, budget: &BudgetName, at: Option<Timestamp>) -> Result<(), StoreError> {
    in_tx!(tx, sql::BUDGET_TERMS_PAUSE, |text, conn| {
        sqlx::query(text).bind(budget.as_str()).bind(at.map(Timestamp::millis)).execute(conn).await?;
    });
    Ok(())
}

/// Puts an override in the place of the one before.
pub async fn set_override(tx: &mut Tx, budget: &BudgetName, one: &Override) -> Result<(), StoreError> {
    in_tx!(tx, sql::BUDGET_TERMS_OVERRIDE, |text, conn| {
        sqlx::query(text)
            .bind(budget.as_str())
            .bind(one.limit.picos())
            .bind(one.since.millis())
            .bind(one.until.millis())
            .bind(&one.reason)
            .execute(conn)
            .await?;
    });
    Ok(())
}

/// Notes that `amount` was added at `at`; `false`: the top-up of this ID was made before, and nothing is added.
pub async fn top_up(
    tx: &mut Tx,
    id: &str,
    budget: &BudgetName,
    at: Timestamp,
    amount: Money,
) -> Result<bool, StoreError> {
    let added = in_tx!(tx, sql::BUDGET_TERMS_TOP_UP, |text, conn| {
        sqlx::query(text)
            .bind(id)
            .bind(budget.as_str())
            .bind(at.millis())
            .bind(amount.picos())
            .execute(conn)
            .await?
            .rows_affected()
    });
    Ok(added > 0)
}

/// What was added to the limit of `window`: all top-ups made while it lasted.
pub async fn topped_up(tx: &mut Tx, budget: &BudgetName, window: &Window) -> Result<Money, StoreError> {
    let until = window.end.map_or(i64::MAX, Timestamp::millis);
    let (usd, picos): (i64, i64) = in_tx!(tx, sql::BUDGET_TERMS_TOPPED_UP, |text, conn| {
        sqlx::query_as(text).bind(budget.as_str()).bind(window.start.millis()).bind(until).fetch_one(conn).await?
    });
    let total = Total::from_parts(usd, picos).picos();
    // A limit is held below what 64 bits hold; so is what is added to it.
    Ok(Money::from_picos(i64::try_from(total).unwrap_or(if total < 0 { i64::MIN } else { i64::MAX })))
}

/// What the window that begins at `start` took over; `None`: that is still to be found out.
pub async fn rolled_over(tx: &mut Tx, budget: &BudgetName, start: Timestamp) -> Result<Option<Money>, StoreError> {
    let picos: Option<i64> = in_tx!(tx, sql::BUDGET_TERMS_ROLLED_OVER, |text, conn| {
        sqlx::query_scalar(text).bind(budget.as_str()).bind(start.millis()).fetch_optional(conn).await?
    });
    Ok(picos.map(Money::from_picos))
}

/// Keeps what the window that begins at `start` took over; what was kept before stays.
pub async fn roll_over(tx: &mut Tx, budget: &BudgetName, start: Timestamp, amount: Money) -> Result<(), StoreError> {
    in_tx!(tx, sql::BUDGET_TERMS_ROLL_OVER, |text, conn| {
        sqlx::query(text).bind(budget.as_str()).bind(start.millis()).bind(amount.picos()).execute(conn).await?;
    });
    Ok(())
}

/// Forgets what windows took over that began before `before`; `None`: all of them.
pub async fn forget_rollovers(tx: &mut Tx, budget: &BudgetName, before: Option<Timestamp>) -> Result<(), StoreError> {
    let before = before.map_or(i64::MAX, Timestamp::millis);
    in_tx!(tx, sql::BUDGET_TERMS_TRIM_ROLLOVERS, |text, conn| {
        sqlx::query(text).bind(budget.as_str()).bind(before).execute(conn).await?;
    });
    Ok(())
}

/// Forgets what rolled over into windows that begin after `at`: they were turned to by a clock that was ahead.
pub async fn unroll(tx: &mut Tx, budget: &BudgetName, at: Timestamp) -> Result<(), StoreError> {
    in_tx!(tx, sql::BUDGET_TERMS_UNROLL, |text, conn| {
        sqlx::query(text).bind(budget.as_str()).bind(at.millis()).execute(conn).await?;
    });
    Ok(())
}

fn read(texts: Vec<String>) -> Result<Vec<Budget>, StoreError> {
    let read =
        |text: String| serde_json::from_str(&text).map_err(|error| StoreError::unreadable("own_budgets", &error));
    texts.into_iter().map(read).collect()
}

/// Our own budgets by name, as this transaction sees them, in force or not.
pub async fn own(tx: &mut Tx) -> Result<Vec<Budget>, StoreError> {
    read(in_tx!(tx, sql::BUDGET_TERMS_OWN, |text, conn| sqlx::query_scalar(text).fetch_all(conn).await?))
}

/// Our own budgets by name, in force or not.
pub async fn read_own(store: &Store) -> Result<Vec<Budget>, StoreError> {
    read(reading!(store, sql::BUDGET_TERMS_OWN, |text, conn| sqlx::query_scalar(text).fetch_all(conn).await?))
}

/// Keeps a budget of our own, in the place of one of the same name.
pub async fn save_own(tx: &mut Tx, budget: &Budget) -> Result<(), StoreError> {
    let definition = serde_json::to_string(budget).map_err(StoreError::encoding)?;
    in_tx!(tx, sql::BUDGET_TERMS_SAVE_OWN, |text, conn| {
        sqlx::query(text).bind(budget.name.as_str()).bind(definition).execute(conn).await?;
    });
    Ok(())
}

/// Deletes a budget of our own; `false`: there is none of this name.
pub async fn delete_own(tx: &mut Tx, budget: &BudgetName) -> Result<bool, StoreError> {
    let deleted = in_tx!(tx, sql::BUDGET_TERMS_DELETE_OWN, |text, conn| {
        sqlx::query(text).bind(budget.as_str()).execute(conn).await?.rows_affected()
    });
    Ok(deleted > 0)
}
