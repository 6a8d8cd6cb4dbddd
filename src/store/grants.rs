//! Daemons' shares of what is left of blocking budgets, where several share one database.
//!
//! Whoever measures a share has the turn to write ([`super::turns`]), so that no sum moves meanwhile; whoever writes rows
//! makes his own share smaller by what they hold back from then on. SQLite has one daemon: nothing is asked here.

use std::sync::Arc;

use serde::Serialize;

use super::batch::{Json, storable};
use super::statements as sql;
use super::tx::{in_tx, reading};
use super::{Store, StoreError, Tx};
use crate::domain::budget::BudgetName;
use crate::domain::money::{Money, Total};
use crate::domain::time::Timestamp;

/// An account: the budget, and the value whose it is (empty for a whole budget).
pub type AccountKey = (BudgetName, Arc<str>);

/// One daemon's share of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The budget's name.
    pub budget: String,
    /// The value whose account it is; empty for a whole budget.
    pub value: String,
    /// Whose share: the ID of the daemon's journal.
    pub daemon: String,
    /// How much it may have under way in calls that are in no row yet.
    pub granted: Money,
    /// When it lapses, by the database's clock.
    pub expires: Timestamp,
    /// When it was last measured, by the database's clock.
    pub updated: Timestamp,
    /// Since when its daemon waits for what others have to spare; `None`: it does not.
    pub wanted: Option<Timestamp>,
}

/// A share as its daemon writes it.
#[derive(Debug, Serialize)]
pub struct Measured {
    budget: String,
    value: String,
    granted_picos: i64,
    expires_ms: i64,
    updated_ms: i64,
    wanted_ms: Option<i64>,
}

impl Measured {
    /// A share of `granted`, measured at `at`.
    pub fn new(
        (budget, value): &AccountKey,
        granted: Total,
        at: Timestamp,
        expires: Timestamp,
        wanted: Option<Timestamp>,
    ) -> Self {
        Self {
            budget: budget.to_string(),
            value: storable(value).into_owned(),
            granted_picos: i64::try_from(granted.picos()).unwrap_or(i64::MAX),
            expires_ms: expires.millis(),
            updated_ms: at.millis(),
            wanted_ms: wanted.map(Timestamp::millis),
        }
    }
}

fn keys<'a>(accounts: impl IntoIterator<Item = &'a AccountKey>) -> Result<Json, StoreError> {
    // No budget's name has a space in it.
    Json::keys(accounts.into_iter().map(|(budget, value)| format!("{budget} {}", storable(value))))
}

/// The database's clock.
pub async fn clock(tx: &mut Tx) -> Result<Timestamp, StoreError> {
    let millis: i64 = in_tx!(tx, sql::GRANTS_CLOCK, |text, conn| sqlx::query_scalar(text).fetch_one(conn).await?);
    Ok(Timestamp(millis))
}

#[derive(sqlx::FromRow)]
struct ShareRow {
    budget: String,
    value: String,
    daemon: String,
    granted_picos: i64,
    expires_ms: i64,
    updated_ms: i64,
    wanted_ms: Option<i64>,
}

impl ShareRow {
    fn into_share(self) -> Share {
        Share {
            budget: self.budget,
            value: self.value,
            daemon: self.daemon,
            granted: Money::from_picos(self.granted_picos),
            expires: Timestamp(self.expires_ms),
            updated: Timestamp(self.updated_ms),
            wanted: self.wanted_ms.map(Timestamp),
        }
    }
}

/// The shares of these accounts, every daemon's.
pub async fn of(tx: &mut Tx, accounts: &[AccountKey]) -> Result<Vec<Share>, StoreError> {
    let keys = keys(accounts)?;
    let rows: Vec<ShareRow> =
        in_tx!(tx, sql::GRANTS_OF, |text, conn| sqlx::query_as(text).bind(keys).fetch_all(conn).await?);
    Ok(rows.into_iter().map(ShareRow::into_share).collect())
}

/// What stands of these accounts as spent in the windows that their budgets were last turned to; an account of which
/// nothing stands is left out.
pub async fn spent(tx: &mut Tx, accounts: &[AccountKey]) -> Result<Vec<(String, String, Total)>, StoreError> {
    let keys = keys(accounts)?;
    let rows: Vec<(String, String, i64, i64)> =
        in_tx!(tx, sql::GRANTS_SPENT, |text, conn| sqlx::query_as(text).bind(keys).fetch_all(conn).await?);
    Ok(rows.into_iter().map(|(budget, value, usd, picos)| (budget, value, Total::from_parts(usd, picos))).collect())
}

/// Writes the daemon's shares as they were measured.
pub async fn set(tx: &mut Tx, daemon: &str, shares: &[Measured]) -> Result<(), StoreError> {
    if shares.is_empty() {
        return Ok(());
    }
    let rows = Json::numbered(shares)?;
    in_tx!(tx, sql::GRANTS_SET, |text, conn| {
        sqlx::query(text).bind(rows).bind(daemon).execute(conn).await?;
    });
    Ok(())
}

/// Rows hold back from now on what the daemon's share was for.
pub async fn shrink(tx: &mut Tx, daemon: &str, written: &[(AccountKey, Total)]) -> Result<(), StoreError> {
    for ((budget, value), by) in written {
        let by = i64::try_from(by.picos()).unwrap_or(i64::MAX);
        let value = storable(value);
        in_tx!(tx, sql::GRANTS_SHRINK, |text, conn| {
            sqlx::query(text).bind(daemon).bind(budget.as_str()).bind(&*value).bind(by).execute(conn).await?;
        });
    }
    Ok(())
}

/// Gives the daemon's shares of these accounts back.
pub async fn drop(tx: &mut Tx, daemon: &str, accounts: &[AccountKey]) -> Result<(), StoreError> {
    if accounts.is_empty() {
        return Ok(());
    }
    let keys = keys(accounts)?;
    in_tx!(tx, sql::GRANTS_DROP, |text, conn| {
        sqlx::query(text).bind(daemon).bind(keys).execute(conn).await?;
    });
    Ok(())
}

/// Gives all of the daemon's shares back, and clears away what lapsed before `lapsed`.
pub async fn clear(tx: &mut Tx, daemon: &str, lapsed: Timestamp) -> Result<(), StoreError> {
    in_tx!(tx, sql::GRANTS_CLEAR, |text, conn| {
        sqlx::query(text).bind(daemon).bind(lapsed.millis()).execute(conn).await?;
    });
    Ok(())
}

/// The daemon's shares that another one waits for, and that were not measured since: budget and value.
pub async fn asked_back(store: &Store, daemon: &str) -> Result<Vec<(String, String)>, StoreError> {
    Ok(reading!(store, sql::GRANTS_ASKED_BACK, |text, conn| sqlx::query_as(text).bind(daemon).fetch_all(conn).await?))
}
