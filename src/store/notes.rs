//! What a database notes of itself: a name, a text.

use super::statements as sql;
use super::tx::{in_tx, reading};
use super::{Store, StoreError, Tx};

/// The note of this name.
pub async fn get(store: &Store, name: &str) -> Result<Option<String>, StoreError> {
    Ok(reading!(store, sql::NOTES_GET, |text, conn| {
        sqlx::query_scalar(text).bind(name).fetch_optional(conn).await?
    }))
}

/// The same, and nobody else changes it until the transaction has ended.
pub async fn hold(tx: &mut Tx, name: &str) -> Result<Option<String>, StoreError> {
    Ok(in_tx!(tx, sql::NOTES_HOLD, |text, conn| sqlx::query_scalar(text).bind(name).fetch_optional(conn).await?))
}

/// Notes `value` in place of what was noted before.
pub async fn set(tx: &mut Tx, name: &str, value: &str) -> Result<(), StoreError> {
    in_tx!(tx, sql::NOTES_SET, |text, conn| {
        sqlx::query(text).bind(name).bind(value).execute(conn).await?;
    });
    Ok(())
}

/// Removes the note.
pub async fn remove(tx: &mut Tx, name: &str) -> Result<(), StoreError> {
    in_tx!(tx, sql::NOTES_REMOVE, |text, conn| {
        sqlx::query(text).bind(name).execute(conn).await?;
    });
    Ok(())
}
