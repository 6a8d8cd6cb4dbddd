//! Calls that tallyd itself refused: counted by the minute, the last ones kept singly.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use crate::domain::observation::Refused;
use crate::domain::time::Timestamp;

use super::batch::{Json, storable};
use super::statements as sql;
use super::tx::{in_tx, reading};
use super::{Store, StoreError, Tx};

/// How many refusals are kept singly.
pub const KEPT: u32 = 1_000;

/// The step in which refusals are counted, in milliseconds.
const MINUTE_MS: i64 = 60_000;

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct MinuteKey<'a> {
    minute_ms: i64,
    cause: Cow<'a, str>,
    budget: Cow<'a, str>,
    app: Cow<'a, str>,
    key_name: Cow<'a, str>,
}

#[derive(Serialize)]
struct MinuteRow<'a> {
    #[serde(flatten)]
    key: MinuteKey<'a>,
    refused: i64,
}

#[derive(Serialize)]
struct RecentRow<'a> {
    at_ms: i64,
    cause: Cow<'a, str>,
    budget: Option<Cow<'a, str>>,
    app: Option<Cow<'a, str>>,
    key_name: Option<Cow<'a, str>>,
    requested_model: Option<Cow<'a, str>>,
    endpoint: Cow<'a, str>,
}

/// Counts the refusals (given oldest first) and keeps the last [`KEPT`] of all.
pub async fn add(tx: &mut Tx, refused: &[&Refused]) -> Result<(), StoreError> {
    if refused.is_empty() {
        return Ok(());
    }
    let named = |value: &'_ Option<String>| value.as_deref().map(|value| storable(value).into_owned());
    let mut minutes: BTreeMap<MinuteKey<'_>, i64> = BTreeMap::new();
    for one in refused {
        let or_empty = |value: &Option<String>| Cow::Owned(named(value).unwrap_or_default());
        let key = MinuteKey {
            minute_ms: one.at.millis() - one.at.millis().rem_euclid(MINUTE_MS),
            cause: storable(&one.cause),
            budget: or_empty(&one.budget),
            app: or_empty(&one.app),
            key_name: or_empty(&one.key_name),
        };
        *minutes.entry(key).or_default() += 1;
    }
    let minutes = Json::numbered(minutes.into_iter().map(|(key, refused)| MinuteRow { key, refused }))?;
    in_tx!(tx, sql::REFUSALS_COUNT, |text, conn| {
        sqlx::query(text).bind(minutes).execute(conn).await?;
    });
    let kept = usize::try_from(KEPT).map_err(StoreError::encoding)?;
    let last = &refused[refused.len().saturating_sub(kept)..];
    let rows = Json::numbered(last.iter().map(|one| RecentRow {
        at_ms: one.at.millis(),
        cause: storable(&one.cause),
        budget: named(&one.budget).map(Cow::Owned),
        app: named(&one.app).map(Cow::Owned),
        key_name: named(&one.key_name).map(Cow::Owned),
        requested_model: named(&one.requested_model).map(Cow::Owned),
        endpoint: storable(&one.endpoint),
    }))?;
    in_tx!(tx, sql::REFUSALS_KEEP, |text, conn| {
        sqlx::query(text).bind(rows).execute(conn).await?;
    });
    in_tx!(tx, sql::REFUSALS_TRIM, |text, conn| {
        sqlx::query(text).bind(i64::from(KEPT)).execute(conn).await?;
    });
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Recent {
    at_ms: i64,
    cause: String,
    budget: Option<String>,
    app: Option<String>,
    key_name: Option<String>,
    requested_model: Option<String>,
    endpoint: String,
}

/// The last refusals, newest first, at most `limit`.
pub async fn recent(store: &Store, limit: u32) -> Result<Vec<Refused>, StoreError> {
    let rows: Vec<Recent> = reading!(store, sql::REFUSALS_RECENT, |text, conn| {
        sqlx::query_as(text).bind(i64::from(limit)).fetch_all(conn).await?
    });
    let refused = |row: Recent| Refused {
        at: Timestamp(row.at_ms),
        cause: row.cause,
        budget: row.budget,
        app: row.app,
        key_name: row.key_name,
        requested_model: row.requested_model,
        endpoint: row.endpoint,
    };
    Ok(rows.into_iter().map(refused).collect())
}
