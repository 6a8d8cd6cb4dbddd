//! Which generation is to be read next, and by whom.

use crate::domain::ids::{CallId, GenerationId};
use crate::domain::settling::KEY_NOT_HELD;
use crate::domain::time::Timestamp;

use super::batch::Json;
use super::statements as sql;
use super::tx::{in_tx, reading};
use super::{Store, StoreError, Tx};

/// A generation whose record is to be read now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The row.
    pub call_id: CallId,
    /// The generation.
    pub generation_id: GenerationId,
    /// SHA-256 (hex) of the key that made it; `None` where only a name or no key is known: read with `openrouter.api_key`.
    pub key_sha256: Option<String>,
    /// The key's name here, or at OpenRouter.
    pub key_name: Option<String>,
    /// Whether the reply named a cost.
    pub cost_known: bool,
    /// When the reading was due.
    pub due: Timestamp,
}

/// Which parked rows a key wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parked<'a> {
    /// Those made with the key of this SHA-256 (hex).
    Fingerprint(&'a str),
    /// Those that name no key, or only OpenRouter's name for one.
    NoKey,
}

/// What waits to be settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Rows whose reading is due.
    pub due: i64,
    /// Rows whose reading is planned for later.
    pub waiting: i64,
    /// Rows whose key no running instance holds.
    pub parked: i64,
    /// When the oldest reading that is due was due.
    pub oldest_due: Option<Timestamp>,
}

#[derive(sqlx::FromRow)]
struct DueRow {
    call_id: String,
    generation_id: String,
    key_sha256: Option<String>,
    key_name: Option<String>,
    settle_due_ms: i64,
}

impl DueRow {
    fn into_due(self, cost_known: bool) -> Result<Due, StoreError> {
        let row = format!("calls {}", self.call_id);
        Ok(Due {
            call_id: self.call_id.parse().map_err(|error| StoreError::unreadable(&row, &error))?,
            generation_id: self.generation_id.parse().map_err(|error| StoreError::unreadable(&row, &error))?,
            key_sha256: self.key_sha256,
            key_name: self.key_name,
            cost_known,
            due: Timestamp(self.settle_due_ms),
        })
    }
}

/// Which rows [`lease`] passes over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Those of these keys: the SHA-256 (hex) of a key, or for rows without one the empty text.
    pub keys: Vec<String>,
    /// Those due until then; `None`: none.
    pub due_until: Option<Timestamp>,
}

/// Leases rows that are due at `now` and leased by nobody, but those `passed` over: unknown costs first, then
/// the most recently due. A lease ends at `lease_until`, or when the row is written again.
pub async fn lease(
    tx: &mut Tx,
    owner: &str,
    now: Timestamp,
    lease_until: Timestamp,
    passed: &Passed,
    limit: u32,
) -> Result<Vec<Due>, StoreError> {
    let due_after = passed.due_until.map_or(i64::MIN, Timestamp::millis);
    let limit = usize::try_from(limit).map_err(StoreError::encoding)?;
    let mut leased = Vec::new();
    for (statement, cost_known) in [(sql::SETTLEMENTS_DUE_UNKNOWN, false), (sql::SETTLEMENTS_DUE_INLINE, true)] {
        let room = i64::try_from(limit - leased.len()).map_err(StoreError::encoding)?;
        if room == 0 {
            break;
        }
        let keys = Json::keys(&passed.keys)?;
        let rows: Vec<DueRow> = in_tx!(tx, statement, |text, conn| {
            sqlx::query_as(text).bind(now.millis()).bind(keys).bind(room).bind(due_after).fetch_all(conn).await?
        });
        for row in rows {
            leased.push(row.into_due(cost_known)?);
        }
    }
    if !leased.is_empty() {
        let calls = Json::keys(leased.iter().map(|due| due.call_id))?;
        in_tx!(tx, sql::SETTLEMENTS_LEASE, |text, conn| {
            sqlx::query(text).bind(calls).bind(owner).bind(lease_until.millis()).execute(conn).await?;
        });
    }
    Ok(leased)
}

/// Ends leases early: those of `owner`, or all (`None`: the caller is the database's only daemon). Returns how many.
pub async fn release(tx: &mut Tx, owner: Option<&str>) -> Result<u64, StoreError> {
    Ok(in_tx!(tx, sql::SETTLEMENTS_RELEASE, |text, conn| {
        sqlx::query(text).bind(owner).execute(conn).await?.rows_affected()
    }))
}

/// Ends the leases of these rows early, whoever has them.
pub async fn give_back(tx: &mut Tx, calls: &[CallId]) -> Result<(), StoreError> {
    let calls = Json::keys(calls)?;
    in_tx!(tx, sql::SETTLEMENTS_LEASE, |text, conn| {
        sqlx::query(text).bind(calls).bind(None::<&str>).bind(None::<i64>).execute(conn).await?;
    });
    Ok(())
}

/// Parks rows that are due at `now`, leased or not, and whose key is not in `held` (named as in [`Passed`]): reason `key not held`, no reading planned. Returns how many, at most `limit`. Looks at every row that is
/// due, so it is for when there are such rows.
pub async fn park(tx: &mut Tx, now: Timestamp, held: &[String], limit: u32) -> Result<u64, StoreError> {
    let held = Json::keys(held)?;
    Ok(in_tx!(tx, sql::SETTLEMENTS_PARK, |text, conn| {
        sqlx::query(text)
            .bind(now.millis())
            .bind(held)
            .bind(KEY_NOT_HELD)
            .bind(i64::from(limit))
            .execute(conn)
            .await?
            .rows_affected()
    }))
}

/// Plans a reading at `now` for the rows that `parked` names. Returns how many.
pub async fn unpark(tx: &mut Tx, parked: Parked<'_>, now: Timestamp) -> Result<u64, StoreError> {
    let (by, value) = match parked {
        Parked::Fingerprint(sha256) => ("fingerprint", sha256),
        Parked::NoKey => ("none", ""),
    };
    Ok(in_tx!(tx, sql::SETTLEMENTS_UNPARK, |text, conn| {
        sqlx::query(text).bind(by).bind(value).bind(now.millis()).execute(conn).await?.rows_affected()
    }))
}

/// Parked rows whose settling began before `before`, oldest first, at most `limit`: to be given up.
pub async fn parked_before(store: &Store, before: Timestamp, limit: u32) -> Result<Vec<CallId>, StoreError> {
    let ids: Vec<String> = reading!(store, sql::SETTLEMENTS_PARKED_BEFORE, |text, conn| {
        sqlx::query_scalar(text).bind(before.millis()).bind(i64::from(limit)).fetch_all(conn).await?
    });
    ids.iter().map(|id| id.parse().map_err(|error| StoreError::unreadable(&format!("calls {id}"), &error))).collect()
}

/// When there is next something to lease: the first planned reading that nobody has leased, be its key held
/// or not, or the end of the first lease; not after `now` if rows are due. `None` when nothing is planned.
pub async fn next_due(store: &Store, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let next: Option<i64> = reading!(store, sql::SETTLEMENTS_NEXT, |text, conn| {
        sqlx::query_scalar(text).bind(now.millis()).fetch_one(conn).await?
    });
    Ok(next.map(Timestamp))
}

/// What waits at `now`.
pub async fn backlog(store: &Store, now: Timestamp) -> Result<Backlog, StoreError> {
    let (due, waiting, parked, oldest_due): (i64, i64, i64, Option<i64>) =
        reading!(store, sql::SETTLEMENTS_BACKLOG, |text, conn| {
            sqlx::query_as(text).bind(now.millis()).fetch_one(conn).await?
        });
    Ok(Backlog { due, waiting, parked, oldest_due: oldest_due.map(Timestamp) })
}
