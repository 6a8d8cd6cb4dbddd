//! Daemons that share a database: who may write, and what the others did.
//!
//! Several daemons may count in one PostgreSQL database. Their writers take turns, a transaction each, so that each finds
//! what the others counted before it judges a budget; who changes budgets, or fills their counters, keeps the others from
//! writing what it would miss. SQLite has one daemon: nobody is waited for there.

use super::progress;
use super::statements as sql;
use super::tx::{Inner, in_tx, reading};
use super::{Store, StoreError, Tx};

/// The turn to write.
const WRITE: i32 = 1;

/// The turn to change budgets.
const CHANGE: i32 = 2;

/// What a database that is shared says of what was done in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// The last change of budgets, whoever made it.
    pub changes: i64,
    /// What the other daemons committed: becomes more with each transaction.
    pub transactions: i64,
}

/// Waits until no other daemon writes; none does until the transaction ends.
pub async fn take(tx: &mut Tx) -> Result<(), StoreError> {
    lock(tx, WRITE).await
}

/// Waits until no other daemon changes budgets; none does until what is returned ends. `None` on SQLite. To be taken before
/// the turn to write, never after it: who has that is not to wait for one that waits for it.
pub async fn alone(store: &Store) -> Result<Option<Tx>, StoreError> {
    if !store.is_shared() {
        return Ok(None);
    }
    let mut tx = store.write().await?;
    lock(&mut tx, CHANGE).await?;
    Ok(Some(tx))
}

/// What was done up to now by others than the daemon with this journal.
pub async fn look(store: &Store, journal_id: &str) -> Result<Others, StoreError> {
    let own = progress::transactions(journal_id);
    let (changes, transactions) =
        reading!(store, sql::TURNS_OTHERS, |text, conn| sqlx::query_as(text).bind(own).fetch_one(conn).await?);
    Ok(Others { changes, transactions })
}

/// As [`look`], as this transaction sees it.
pub async fn others(tx: &mut Tx, journal_id: &str) -> Result<Others, StoreError> {
    let own = progress::transactions(journal_id);
    let (changes, transactions) =
        in_tx!(tx, sql::TURNS_OTHERS, |text, conn| sqlx::query_as(text).bind(own).fetch_one(conn).await?);
    Ok(Others { changes, transactions })
}

async fn lock(tx: &mut Tx, turn: i32) -> Result<(), StoreError> {
    if let Inner::Postgres(tx) = &mut tx.0 {
        sqlx::query(sql::TURNS_TAKE.postgres).bind(turn).execute(&mut **tx).await?;
    }
    Ok(())
}
