//! Tally keys: what is kept of each, by which none can be used. Rows are never removed.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::domain::attribution::Attribution;
use crate::domain::ids::KeyFingerprint;
use crate::domain::money::Total;
use crate::domain::tally_key::{TallyKey, TallyKeyId};
use crate::domain::time::Timestamp;

use super::batch::{Json, storable};
use super::statements as sql;
use super::tx::{in_tx, reading};
use super::{Store, StoreError, Tx};

/// Comes after every ID, as no ID begins with it.
const BEYOND_EVERY_ID: &str = "~";

#[derive(sqlx::FromRow)]
struct KeyRow {
    id: String,
    sha256: String,
    tail: String,
    app: Option<String>,
    end_user: Option<String>,
    session: Option<String>,
    tags: Option<String>,
    upstream: String,
    created_ms: i64,
    expires_ms: Option<i64>,
    revoked_ms: Option<i64>,
    last_used_ms: Option<i64>,
}

impl KeyRow {
    fn into_key(self) -> Result<TallyKey, StoreError> {
        let row = format!("tally_keys {}", self.id);
        let tags = match self.tags.as_deref() {
            None => BTreeMap::new(),
            Some(tags) => {
                serde_json::from_str(tags).map_err(|error| StoreError::unreadable(&row, &format!("tags: {error}")))?
            }
        };
        Ok(TallyKey {
            id: self.id.parse().map_err(|error| StoreError::unreadable(&row, &error))?,
            fingerprint: KeyFingerprint { sha256: self.sha256, tail: self.tail },
            labels: Attribution { app: self.app, user: self.end_user, session: self.session, tags },
            upstream: self.upstream,
            created_at: Timestamp(self.created_ms),
            expires_at: self.expires_ms.map(Timestamp),
            revoked_at: self.revoked_ms.map(Timestamp),
            last_used_at: self.last_used_ms.map(Timestamp),
        })
    }
}

/// Keeps a new key; false when one of its ID is there already.
pub async fn insert(tx: &mut Tx, key: &TallyKey) -> Result<bool, StoreError> {
    let text = |label: &Option<String>| label.as_deref().map(|label| storable(label).into_owned());
    let TallyKey { labels, .. } = key;
    let tags = if labels.tags.is_empty() {
        None
    } else {
        Some(serde_json::to_string(&labels.tags).map_err(StoreError::encoding)?)
    };
    let rows = in_tx!(tx, sql::TALLY_KEYS_INSERT, |statement, conn| {
        sqlx::query(statement)
            .bind(key.id.to_string())
            .bind(&key.fingerprint.sha256)
            .bind(&key.fingerprint.tail)
            .bind(text(&labels.app))
            .bind(text(&labels.user))
            .bind(text(&labels.session))
            .bind(tags)
            .bind(&key.upstream)
            .bind(key.created_at.millis())
            .bind(key.expires_at.map(Timestamp::millis))
            .execute(conn)
            .await?
            .rows_affected()
    });
    Ok(rows > 0)
}

/// Ends a key at `at`; one that is revoked stays as it is.
pub async fn revoke(tx: &mut Tx, id: TallyKeyId, at: Timestamp) -> Result<(), StoreError> {
    in_tx!(tx, sql::TALLY_KEYS_REVOKE, |text, conn| {
        sqlx::query(text).bind(id.to_string()).bind(at.millis()).execute(conn).await?;
    });
    Ok(())
}

#[derive(Serialize)]
struct Use {
    at_ms: i64,
}

struct Uses<'a>(&'a [(TallyKeyId, Timestamp)]);

impl Serialize for Uses<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(id, at)| (id, Use { at_ms: at.millis() })))
    }
}

/// Notes when keys were last used; an earlier use than the one known changes nothing.
pub async fn used(tx: &mut Tx, uses: &[(TallyKeyId, Timestamp)]) -> Result<(), StoreError> {
    if uses.is_empty() {
        return Ok(());
    }
    let uses = Json::object(&Uses(uses))?;
    in_tx!(tx, sql::TALLY_KEYS_USED, |text, conn| {
        sqlx::query(text).bind(uses).execute(conn).await?;
    });
    Ok(())
}

/// The keys to be held in memory: all that were not revoked, then the last of those that were; at most `limit`.
pub async fn held(store: &Store, limit: u32) -> Result<Vec<TallyKey>, StoreError> {
    let rows: Vec<KeyRow> = reading!(store, sql::TALLY_KEYS_HELD, |text, conn| {
        sqlx::query_as(text).bind(i64::from(limit)).fetch_all(conn).await?
    });
    rows.into_iter().map(KeyRow::into_key).collect()
}

/// Keys, the last made first, those made before `before`; at most `limit`.
pub async fn page(store: &Store, before: Option<TallyKeyId>, limit: u32) -> Result<Vec<TallyKey>, StoreError> {
    let before = before.map_or_else(|| BEYOND_EVERY_ID.to_owned(), |id| id.to_string());
    let rows: Vec<KeyRow> = reading!(store, sql::TALLY_KEYS_PAGE, |text, conn| {
        sqlx::query_as(text).bind(before).bind(i64::from(limit)).fetch_all(conn).await?
    });
    rows.into_iter().map(KeyRow::into_key).collect()
}

/// The key with this ID, and those not revoked that end in `tail`; at most `limit`.
pub async fn named(store: &Store, id: &str, tail: &str, limit: u32) -> Result<Vec<TallyKey>, StoreError> {
    let rows: Vec<KeyRow> = reading!(store, sql::TALLY_KEYS_NAMED, |text, conn| {
        sqlx::query_as(text).bind(id).bind(tail).bind(i64::from(limit)).fetch_all(conn).await?
    });
    rows.into_iter().map(KeyRow::into_key).collect()
}

/// What the calls of one key cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spend {
    /// Calls, without those that failed.
    pub completions: i64,
    /// Calls among them whose cost is unknown.
    pub unknown: i64,
    /// The sum of the known costs.
    pub cost: Total,
}

/// What the calls of these keys cost since `since`; a key without calls is left out.
pub async fn spend(
    store: &Store,
    keys: &[TallyKeyId],
    since: Timestamp,
) -> Result<BTreeMap<TallyKeyId, Spend>, StoreError> {
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids = Json::keys(keys)?;
    let rows: Vec<(String, i64, i64, i64, i64)> = reading!(store, sql::TALLY_KEYS_SPEND, |text, conn| {
        sqlx::query_as(text).bind(ids).bind(since.millis()).fetch_all(conn).await?
    });
    let mut spend = BTreeMap::new();
    for (id, completions, unknown, dollars, picos) in rows {
        let key = id.parse().map_err(|error| StoreError::unreadable(&format!("calls of tally key {id}"), &error))?;
        spend.insert(key, Spend { completions, unknown, cost: Total::from_parts(dollars, picos) });
    }
    Ok(spend)
}
