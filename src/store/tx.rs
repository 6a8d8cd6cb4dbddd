//! A write transaction, and the macros that run one SQL text on whichever engine it is.

use sqlx::{Postgres, Sqlite, Transaction};

use super::error::StoreError;

/// A write transaction; dropped without [`Tx::commit`], it is rolled back.
#[derive(Debug)]
pub struct Tx(pub(super) Inner);

#[derive(Debug)]
pub(super) enum Inner {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Tx {
    /// Makes everything written in it durable: SQLite syncs its write-ahead log, PostgreSQL its own.
    pub async fn commit(self) -> Result<(), StoreError> {
        match self.0 {
            Inner::Sqlite(tx) => tx.commit().await?,
            Inner::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }
}

/// Runs `$body` with `$conn` a connection of the transaction `$tx`; `$body` is compiled once for each engine.
macro_rules! in_tx {
    ($tx:expr, $conn:ident => $body:expr) => {
        match &mut $tx.0 {
            $crate::store::tx::Inner::Sqlite(tx) => {
                let $conn = &mut **tx;
                $body
            }
            $crate::store::tx::Inner::Postgres(tx) => {
                let $conn = &mut **tx;
                $body
            }
        }
    };
}

/// Runs `$body` with `$conn` the pool of readers of the store `$store`; `$body` is compiled once for each engine.
macro_rules! reading {
    ($store:expr, $conn:ident => $body:expr) => {
        match &$store.pools {
            $crate::store::connect::Pools::Sqlite { read: $conn, .. } => $body,
            $crate::store::connect::Pools::Postgres($conn) => $body,
        }
    };
}

pub(super) use {in_tx, reading};
