//! The audit trail of budgets: every change, by whom, from when on. Entries are added and never touched again.

use crate::domain::budget::change::{Action, Actor, Door, Entry};
use crate::domain::budget::{Budget, BudgetName};
use crate::domain::money::Money;
use crate::domain::time::Timestamp;

use super::statements as sql;
use super::tx::{in_tx, reading};
use super::{Store, StoreError, Tx};

/// An entry and its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// Higher for later ones.
    pub seq: i64,
    /// The entry.
    pub entry: Entry,
}

#[derive(sqlx::FromRow)]
struct Row {
    seq: i64,
    at_ms: i64,
    budget: String,
    action: String,
    door: String,
    who: String,
    definition_before: Option<String>,
    definition_after: Option<String>,
    limit_before_picos: Option<i64>,
    limit_after_picos: Option<i64>,
    note: String,
}

impl Row {
    fn into_numbered(self) -> Result<Numbered, StoreError> {
        let row = format!("budget_trail {}", self.seq);
        let unknown = |what: &str, text: &str| StoreError::unreadable(&row, &format!("{what} {text}"));
        let definition = |text: Option<String>| -> Result<Option<Budget>, StoreError> {
            text.map(|text| serde_json::from_str(&text))
                .transpose()
                .map_err(|error| StoreError::unreadable(&row, &error))
        };
        Ok(Numbered {
            seq: self.seq,
            entry: Entry {
                at: Timestamp(self.at_ms),
                budget: self.budget.parse().map_err(|error| StoreError::unreadable(&row, &error))?,
                action: Action::parse(&self.action).ok_or_else(|| unknown("action", &self.action))?,
                by: Actor { door: Door::parse(&self.door).ok_or_else(|| unknown("door", &self.door))?, who: self.who },
                before: definition(self.definition_before)?,
                after: definition(self.definition_after)?,
                limit_before: self.limit_before_picos.map(Money::from_picos),
                limit_after: self.limit_after_picos.map(Money::from_picos),
                note: self.note,
            },
        })
    }
}

/// Adds an entry. With `once`, nothing where one of this budget, action and instant is there already.
pub async fn record(tx: &mut Tx, entry: &Entry, once: bool) -> Result<bool, StoreError> {
    let text = |budget: &Option<Budget>| -> Result<Option<String>, StoreError> {
        budget.as_ref().map(serde_json::to_string).transpose().map_err(StoreError::encoding)
    };
    let (before, after) = (text(&entry.before)?, text(&entry.after)?);
    let added = in_tx!(tx, sql::BUDGET_CHANGES_RECORD, |text, conn| {
        sqlx::query(text)
            .bind(entry.at.millis())
            .bind(entry.budget.as_str())
            .bind(entry.action.as_str())
            .bind(entry.by.door.as_str())
            .bind(&entry.by.who)
            .bind(before)
            .bind(after)
            .bind(entry.limit_before.map(Money::picos))
            .bind(entry.limit_after.map(Money::picos))
            .bind(&entry.note)
            .bind(i64::from(once))
            .execute(conn)
            .await?
            .rows_affected()
    });
    Ok(added > 0)
}

/// Entries with a lower number than `before` (of one budget, if named), the last first, at most `limit`.
pub async fn page(
    store: &Store,
    budget: Option<&BudgetName>,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<Numbered>, StoreError> {
    let rows: Vec<Row> = reading!(store, sql::BUDGET_CHANGES_PAGE, |text, conn| {
        sqlx::query_as(text)
            .bind(before.unwrap_or(i64::MAX))
            .bind(budget.map(BudgetName::as_str))
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await?
    });
    rows.into_iter().map(Row::into_numbered).collect()
}

/// The number of the last entry; 0 where there is none.
pub async fn last(store: &Store) -> Result<i64, StoreError> {
    Ok(reading!(store, sql::BUDGET_CHANGES_LAST, |text, conn| sqlx::query_scalar(text).fetch_one(conn).await?))
}

/// The definition that was in force at `at`, or that was the last before; `None`: the trail does not reach that far.
pub async fn definition_at(tx: &mut Tx, budget: &BudgetName, at: Timestamp) -> Result<Option<Budget>, StoreError> {
    let text: Option<String> = in_tx!(tx, sql::BUDGET_CHANGES_DEFINITION_AT, |text, conn| {
        sqlx::query_scalar(text).bind(budget.as_str()).bind(at.millis()).fetch_optional(conn).await?
    });
    text.map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|error| StoreError::unreadable(&format!("budget_trail of {budget}"), &error))
}

/// Forgets the changes made before then; the last of each budget, and the definition that held last before then, stay.
/// Returns how many are gone.
pub async fn forget(tx: &mut Tx, before: Timestamp) -> Result<u64, StoreError> {
    Ok(in_tx!(tx, sql::BUDGET_CHANGES_FORGET, |text, conn| {
        sqlx::query(text).bind(before.millis()).execute(conn).await?.rows_affected()
    }))
}
