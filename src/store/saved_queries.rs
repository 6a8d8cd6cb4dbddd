//! Queries that people keep under a name, with the values of their parameters. Everybody who sees the pages sees all of them.

use std::collections::BTreeMap;

use crate::domain::time::Timestamp;

use super::batch::storable;
use super::statements as sql;
use super::tx::{in_tx, reading};
use super::{Store, StoreError, Tx};

/// Most saved queries.
pub const MAX_SAVED: u32 = 500;

/// Longest name, in characters.
pub const MAX_NAME: usize = 80;

/// A query that was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedQuery {
    /// Its name, at most [`MAX_NAME`] characters; none is empty.
    pub name: String,
    /// Its text.
    pub query: String,
    /// Values of its parameters, as they were typed.
    pub parameters: BTreeMap<String, String>,
    /// When.
    pub saved_at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct Row {
    name: String,
    query: String,
    parameters: String,
    saved_ms: i64,
}

impl Row {
    fn into_query(self) -> Result<SavedQuery, StoreError> {
        let parameters = serde_json::from_str(&self.parameters)
            .map_err(|error| StoreError::unreadable(&format!("saved_queries {}", self.name), &error))?;
        Ok(SavedQuery { name: self.name, query: self.query, parameters, saved_at: Timestamp(self.saved_ms) })
    }
}

/// All of them, by name.
pub async fn list(store: &Store) -> Result<Vec<SavedQuery>, StoreError> {
    let rows: Vec<Row> = reading!(store, sql::SAVED_QUERIES_LIST, |text, conn| {
        sqlx::query_as(text).bind(i64::from(MAX_SAVED)).fetch_all(conn).await?
    });
    rows.into_iter().map(Row::into_query).collect()
}

/// The one of this name.
pub async fn find(store: &Store, name: &str) -> Result<Option<SavedQuery>, StoreError> {
    let row: Option<Row> = reading!(store, sql::SAVED_QUERIES_FIND, |text, conn| {
        sqlx::query_as(text).bind(storable(name)).fetch_optional(conn).await?
    });
    row.map(Row::into_query).transpose()
}

/// Saves a query, in place of the one of its name; false where there are as many as there may be.
pub async fn save(tx: &mut Tx, saved: &SavedQuery) -> Result<bool, StoreError> {
    let parameters = serde_json::to_string(&saved.parameters).map_err(StoreError::encoding)?;
    let rows = in_tx!(tx, sql::SAVED_QUERIES_SAVE, |text, conn| {
        sqlx::query(text)
            .bind(storable(&saved.name))
            .bind(storable(&saved.query))
            .bind(storable(&parameters))
            .bind(saved.saved_at.millis())
            .bind(i64::from(MAX_SAVED))
            .execute(conn)
            .await?
            .rows_affected()
    });
    Ok(rows > 0)
}

/// Forgets the one of this name; one that is not there is no error.
pub async fn remove(tx: &mut Tx, name: &str) -> Result<(), StoreError> {
    in_tx!(tx, sql::SAVED_QUERIES_REMOVE, |text, conn| {
        sqlx::query(text).bind(storable(name)).execute(conn).await?;
    });
    Ok(())
}
