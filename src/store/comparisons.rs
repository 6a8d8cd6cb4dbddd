//! What the ledger holds of a key's UTC day beside what OpenRouter says of it, and the account's balance.

use crate::domain::comparison::{Balance, KeyDay, OVER_MIDNIGHT_MS};
use crate::domain::money::{Money, Total};
use crate::domain::time::{DAY_MS, Timestamp};

use super::statements as sql;
use super::tx::{in_tx, reading};
use super::{Store, StoreError};

/// What rows made with one key add up to in one UTC day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charged {
    /// The key's SHA-256; `None` in rows that carry a name alone, or nothing.
    pub key_sha256: Option<String>,
    /// The key's name; `None` where none was named.
    pub key_name: Option<String>,
    /// Charged by OpenRouter: settled, else inline.
    pub ours: Total,
    /// The dearest row.
    pub dearest: Money,
    /// Charged by rows of the hour before the day that ended on it.
    pub over_midnight: Total,
    /// Calls under way without an ID.
    pub open: i64,
}

#[derive(sqlx::FromRow)]
struct ChargedRow {
    key_sha256: Option<String>,
    key_name: Option<String>,
    ours_usd: i64,
    ours_picos: i64,
    dearest_picos: i64,
    over_usd: i64,
    over_picos: i64,
    open_count: i64,
}

/// The sums of the UTC day that begins at `day`, by key.
pub async fn charged(store: &Store, day: Timestamp) -> Result<Vec<Charged>, StoreError> {
    let rows: Vec<ChargedRow> = reading!(store, sql::COMPARISONS_CHARGED, |text, conn| {
        sqlx::query_as(text)
            .bind(day.plus_millis(-OVER_MIDNIGHT_MS).millis())
            .bind(day.millis())
            .bind(day.plus_millis(DAY_MS).millis())
            .fetch_all(conn)
            .await?
    });
    let charged = |row: ChargedRow| Charged {
        key_sha256: row.key_sha256,
        key_name: row.key_name,
        ours: Total::from_parts(row.ours_usd, row.ours_picos),
        dearest: Money::from_picos(row.dearest_picos),
        over_midnight: Total::from_parts(row.over_usd, row.over_picos),
        open: row.open_count,
    };
    Ok(rows.into_iter().map(charged).collect())
}

/// Keeps a comparison; a later one of the same key and day takes its place.
pub async fn save(store: &Store, day: &KeyDay) -> Result<(), StoreError> {
    let mut tx = store.write().await?;
    in_tx!(tx, sql::COMPARISONS_SAVE, |text, conn| {
        sqlx::query(text)
            .bind(&day.key_sha256)
            .bind(day.day.millis())
            .bind(&day.key_name)
            .bind(day.ours.picos())
            .bind(day.theirs.picos())
            .bind(day.unknown)
            .bind(day.estimate.picos())
            .bind(day.waiting)
            .bind(day.dearest.picos())
            .bind(day.over_midnight.picos())
            .bind(day.as_of.millis())
            .execute(conn)
            .await?;
    });
    tx.commit().await
}

#[derive(sqlx::FromRow)]
struct KeyDayRow {
    key_sha256: String,
    day_ms: i64,
    key_name: String,
    ours_picos: i64,
    theirs_picos: i64,
    unknown_count: i64,
    estimate_picos: i64,
    waiting_count: i64,
    dearest_picos: i64,
    over_midnight_picos: i64,
    as_of_ms: i64,
}

/// Comparisons of days that begin at `day` or later, newest day first, then by the key's name; at most `limit`.
pub async fn since(store: &Store, day: Timestamp, limit: u32) -> Result<Vec<KeyDay>, StoreError> {
    let rows: Vec<KeyDayRow> = reading!(store, sql::COMPARISONS_SINCE, |text, conn| {
        sqlx::query_as(text).bind(day.millis()).bind(i64::from(limit)).fetch_all(conn).await?
    });
    let key_day = |row: KeyDayRow| KeyDay {
        key_name: row.key_name,
        key_sha256: row.key_sha256,
        day: Timestamp(row.day_ms),
        ours: Money::from_picos(row.ours_picos),
        theirs: Money::from_picos(row.theirs_picos),
        unknown: row.unknown_count,
        estimate: Money::from_picos(row.estimate_picos),
        waiting: row.waiting_count,
        dearest: Money::from_picos(row.dearest_picos),
        over_midnight: Money::from_picos(row.over_midnight_picos),
        as_of: Timestamp(row.as_of_ms),
    };
    Ok(rows.into_iter().map(key_day).collect())
}

/// Keeps what the management key of this SHA-256 was told.
pub async fn save_balance(store: &Store, key_sha256: &str, balance: Balance) -> Result<(), StoreError> {
    let mut tx = store.write().await?;
    in_tx!(tx, sql::COMPARISONS_SAVE_BALANCE, |text, conn| {
        sqlx::query(text)
            .bind(key_sha256)
            .bind(balance.credits.picos())
            .bind(balance.usage.picos())
            .bind(balance.as_of.millis())
            .execute(conn)
            .await?;
    });
    tx.commit().await
}

/// What the management key of this SHA-256 was last told; `None`: nothing yet.
pub async fn balance(store: &Store, key_sha256: &str) -> Result<Option<Balance>, StoreError> {
    let row: Option<(i64, i64, i64)> = reading!(store, sql::COMPARISONS_BALANCE, |text, conn| {
        sqlx::query_as(text).bind(key_sha256).fetch_optional(conn).await?
    });
    Ok(row.map(|(credits, usage, as_of)| Balance {
        credits: Money::from_picos(credits),
        usage: Money::from_picos(usage),
        as_of: Timestamp(as_of),
    }))
}
