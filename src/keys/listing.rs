//! Keys as pages, the API and the shell list them: never their text.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::TallyKeys;
use crate::domain::table::{Cell, Table};
use crate::domain::tally_key::{KeyState, TallyKey, TallyKeyId};
use crate::domain::time::{DAY_MS, Timestamp};
use crate::store::StoreError;
use crate::store::tally_keys::{self, Spend};

/// Over how many days the calls and the cost of a key are summed.
pub const SPEND_DAYS: i64 = 30;

/// One page of keys.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The keys, the last made first, each with what its calls of the last [`SPEND_DAYS`] cost.
    pub keys: Vec<(TallyKey, Spend)>,
    /// Where the next page begins: `before` of its question. `None`: this is the last.
    pub next: Option<TallyKeyId>,
}

/// A key as the API and the shell show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = TallyKey)]
pub struct Listed {
    /// Its ID.
    pub id: String,
    /// The last four characters of its text.
    pub tail: String,
    /// `active`, `expired` or `revoked`.
    pub state: String,
    /// The application its calls are for.
    pub app: Option<String>,
    /// The end user.
    pub user: Option<String>,
    /// The session.
    pub session: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Name of the OpenRouter key that pays.
    pub key: String,
    /// When it was made.
    pub created_at: String,
    /// From when on it is refused; `None`: never.
    pub expires_at: Option<String>,
    /// When it was revoked.
    pub revoked_at: Option<String>,
    /// When a call last came with it.
    pub last_used_at: Option<String>,
    /// Calls of the last 30 days, without those that failed.
    pub completions_30d: i64,
    /// What they cost, as far as it is known.
    pub cost_30d_usd: String,
    /// How many of them have a cost that is not known.
    pub unknown_30d: i64,
}

impl Listed {
    /// The key as it is at `now`.
    pub fn new(key: &TallyKey, spend: Spend, now: Timestamp) -> Self {
        Self {
            id: key.id.to_string(),
            tail: key.fingerprint.tail.clone(),
            state: key.state(now).as_str().to_owned(),
            app: key.labels.app.clone(),
            user: key.labels.user.clone(),
            session: key.labels.session.clone(),
            tags: key.labels.tags.clone(),
            key: key.upstream.clone(),
            created_at: key.created_at.to_iso(),
            expires_at: key.expires_at.map(Timestamp::to_iso),
            revoked_at: key.revoked_at.map(Timestamp::to_iso),
            last_used_at: key.last_used_at.map(Timestamp::to_iso),
            completions_30d: spend.completions,
            cost_30d_usd: spend.cost.to_decimal(),
            unknown_30d: spend.unknown,
        }
    }

    /// Whether it may be used.
    pub fn is_active(&self) -> bool {
        self.state == KeyState::Active.as_str()
    }
}

/// Keys as rows and columns; tags as JSON text.
pub fn table(keys: &[Listed]) -> Table {
    const COLUMNS: [&str; 15] = [
        "id",
        "tail",
        "state",
        "app",
        "user",
        "session",
        "tags",
        "key",
        "created_at",
        "expires_at",
        "revoked_at",
        "last_used_at",
        "completions_30d",
        "cost_30d_usd",
        "unknown_30d",
    ];
    let text = |text: &str| Cell::Text(text.to_owned());
    let row = |key: &Listed| {
        let tags = (!key.tags.is_empty()).then(|| serde_json::to_string(&key.tags).unwrap_or_default());
        vec![
            text(&key.id),
            text(&key.tail),
            text(&key.state),
            key.app.as_deref().into(),
            key.user.as_deref().into(),
            key.session.as_deref().into(),
            tags.as_deref().into(),
            text(&key.key),
            text(&key.created_at),
            key.expires_at.as_deref().into(),
            key.revoked_at.as_deref().into(),
            key.last_used_at.as_deref().into(),
            key.completions_30d.into(),
            Cell::Decimal(key.cost_30d_usd.clone()),
            key.unknown_30d.into(),
        ]
    };
    Table { columns: COLUMNS.map(str::to_owned).to_vec(), rows: keys.iter().map(row).collect(), cut: None }
}

impl TallyKeys {
    /// The keys made before `before`, the last made first, at most `limit`.
    pub async fn list(&self, before: Option<TallyKeyId>, limit: u32) -> Result<Listing, StoreError> {
        let mut keys = tally_keys::page(&self.store, before, limit.saturating_add(1)).await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = keys.len() > limit;
        keys.truncate(limit);
        let next = keys.last().filter(|_| more).map(|key| key.id);
        let ids: Vec<TallyKeyId> = keys.iter().map(|key| key.id).collect();
        let since = self.clock.now().plus_millis(-SPEND_DAYS * DAY_MS);
        let spend = tally_keys::spend(&self.store, &ids, since).await?;
        let keys = keys.into_iter().map(|mut key| {
            key.last_used_at = self.last_used(&key);
            let spend = spend.get(&key.id).copied().unwrap_or_default();
            (key, spend)
        });
        Ok(Listing { keys: keys.collect(), next })
    }

    /// A key as the API and the shell show it.
    pub async fn listed(&self, key: &TallyKey) -> Result<Listed, StoreError> {
        let now = self.clock.now();
        let spend = tally_keys::spend(&self.store, &[key.id], now.plus_millis(-SPEND_DAYS * DAY_MS)).await?;
        let mut key = key.clone();
        key.last_used_at = self.last_used(&key);
        Ok(Listed::new(&key, spend.get(&key.id).copied().unwrap_or_default(), now))
    }
}
