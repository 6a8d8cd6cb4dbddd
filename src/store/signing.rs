//! Keys that links are signed with: made once, the same for every daemon on the database.

use crate::domain::time::Timestamp;

use super::statements as sql;
use super::tx::in_tx;
use super::{StoreError, Tx};

/// The key of `purpose`: the one that is there, or else `fresh`, which is kept from now on.
pub async fn key(tx: &mut Tx, purpose: &str, fresh: &str, now: Timestamp) -> Result<String, StoreError> {
    in_tx!(tx, sql::SIGNING_INSERT, |text, conn| {
        sqlx::query(text).bind(purpose).bind(fresh).bind(now.millis()).execute(conn).await?;
    });
    let (secret,): (String,) =
        in_tx!(tx, sql::SIGNING_FIND, |text, conn| sqlx::query_as(text).bind(purpose).fetch_one(conn).await?);
    Ok(secret)
}
