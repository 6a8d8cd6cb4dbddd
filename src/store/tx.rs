//! Transactions, and the macros that run one SQL text on whichever engine it is.

use sqlx::{Postgres, Sqlite, Transaction};

use super::connect::Engine;
use super::error::StoreError;

/// A transaction; dropped without [`Tx::commit`], it is rolled back.
#[derive(Debug)]
pub struct Tx(pub(super) Inner);

#[derive(Debug)]
pub(super) enum Inner {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Tx {
    /// On which engine.
    pub(super) fn engine(&self) -> Engine {
        match self.0 {
            Inner::Sqlite(_) => Engine::Sqlite,
            Inner::Postgres(_) => Engine::Postgres,
        }
    }

    /// Makes everything written in it durable: SQLite syncs its write-ahead log, PostgreSQL its own.
    pub async fn commit(self) -> Result<(), StoreError> {
        match self.0 {
            Inner::Sqlite(tx) => tx.commit().await?,
            Inner::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }

    /// Undoes everything and gives the connection back, before dropping it would.
    pub async fn rollback(self) -> Result<(), StoreError> {
        match self.0 {
            Inner::Sqlite(tx) => tx.rollback().await?,
            Inner::Postgres(tx) => tx.rollback().await?,
        }
        Ok(())
    }
}

/// Runs `$body` on a connection of the transaction: `$sql` is the statement's text for its engine.
/// `$body` is compiled once for each engine.
macro_rules! in_tx {
    ($tx:expr, $statement:expr, |$sql:ident, $conn:ident| $body:expr) => {
        match &mut $tx.0 {
            $crate::store::tx::Inner::Sqlite(tx) => {
                let ($sql, $conn) = ($statement.sqlite, &mut **tx);
                $body
            }
            $crate::store::tx::Inner::Postgres(tx) => {
                let ($sql, $conn) = ($statement.postgres, &mut **tx);
                $body
            }
        }
    };
}

/// Writes rows: on SQLite row by row of parameters, on PostgreSQL as one JSON parameter.
macro_rules! write_rows {
    ($tx:expr, $statement:expr, $rows:expr) => {
        match &mut $tx.0 {
            $crate::store::tx::Inner::Sqlite(tx) => {
                $crate::store::batch::insert_rows(&mut **tx, $statement.sqlite, $rows).await?;
            }
            $crate::store::tx::Inner::Postgres(tx) => {
                let rows = $crate::store::batch::Json::rows($rows)?;
                sqlx::query($statement.postgres).bind(rows).execute(&mut **tx).await?;
            }
        }
    };
}

/// Runs `$body` on the store's readers: `$sql` is the statement's text for its engine.
macro_rules! reading {
    ($store:expr, $statement:expr, |$sql:ident, $conn:ident| $body:expr) => {
        match &$store.pools {
            $crate::store::connect::Pools::Sqlite { read, .. } => {
                let ($sql, $conn) = ($statement.sqlite, read);
                $body
            }
            $crate::store::connect::Pools::Postgres(pool) => {
                let ($sql, $conn) = ($statement.postgres, pool);
                $body
            }
        }
    };
}

pub(super) use {in_tx, reading, write_rows};
