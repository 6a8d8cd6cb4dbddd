//! Views of Explore that people keep under a name.

use crate::domain::time::Timestamp;

use super::batch::storable;
use super::statements as sql;
use super::tx::{in_tx, reading};
use super::{Store, StoreError, Tx};

/// A view that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Its name.
    pub name: String,
    /// The query of its URL.
    pub query: String,
    /// When it was saved last.
    pub saved_at: Timestamp,
}

/// Those that are kept, by name, at most `limit`.
pub async fn list(store: &Store, limit: u32) -> Result<Vec<View>, StoreError> {
    let rows: Vec<(String, String, i64)> = reading!(store, sql::VIEWS_LIST, |text, conn| {
        sqlx::query_as(text).bind(i64::from(limit)).fetch_all(conn).await?
    });
    let view = |(name, query, saved_ms)| View { name, query, saved_at: Timestamp(saved_ms) };
    Ok(rows.into_iter().map(view).collect())
}

/// How many are kept beside the one of this name.
pub async fn others(tx: &mut Tx, name: &str) -> Result<i64, StoreError> {
    Ok(in_tx!(tx, sql::VIEWS_OTHERS, |text, conn| {
        sqlx::query_scalar(text).bind(storable(name)).fetch_one(conn).await?
    }))
}

/// Keeps a view, in place of any other of this name.
pub async fn save(tx: &mut Tx, view: &View) -> Result<(), StoreError> {
    in_tx!(tx, sql::VIEWS_SAVE, |text, conn| {
        sqlx::query(text)
            .bind(storable(&view.name))
            .bind(storable(&view.query))
            .bind(view.saved_at.millis())
            .execute(conn)
            .await?;
    });
    Ok(())
}

/// Gives a view another name; false when there is no such view, or one of the new name.
pub async fn rename(tx: &mut Tx, from: &str, to: &str) -> Result<bool, StoreError> {
    Ok(in_tx!(tx, sql::VIEWS_RENAME, |text, conn| {
        sqlx::query(text).bind(storable(from)).bind(storable(to)).execute(conn).await?.rows_affected() > 0
    }))
}

/// Forgets a view; nothing changes where there is none.
pub async fn remove(tx: &mut Tx, name: &str) -> Result<(), StoreError> {
    in_tx!(tx, sql::VIEWS_REMOVE, |text, conn| {
        sqlx::query(text).bind(storable(name)).execute(conn).await?;
    });
    Ok(())
}
