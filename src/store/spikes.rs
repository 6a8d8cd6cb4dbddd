//! Unusual spend that was found: each once for its day.

use super::batch::storable;
use super::statements as sql;
use super::tx::{in_tx, reading};
use super::{Store, StoreError, Tx};
use crate::domain::money::Total;
use crate::domain::spike::SpikeKind;
use crate::domain::time::Timestamp;

/// Whose spend it is; the text is that of `spike_history.dimension`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Spender {
    /// All calls together.
    All,
    /// An app.
    App,
    /// A key.
    Key,
    /// A model.
    Model,
}

impl Spender {
    /// The text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::App => "app",
            Self::Key => "key",
            Self::Model => "model",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::All, Self::App, Self::Key, Self::Model].into_iter().find(|spender| spender.as_str() == text)
    }
}

/// Unusual spend of one spender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spike {
    /// Ours, unique.
    pub spike_id: String,
    /// The start of the day it is told for.
    pub day: Timestamp,
    /// What is unusual.
    pub kind: SpikeKind,
    /// Whose spend.
    pub spender: Spender,
    /// Its name; empty where calls name none, and for all calls together.
    pub name: String,
    /// The first instant of what was looked at.
    pub since: Timestamp,
    /// The first instant after it.
    pub until: Timestamp,
    /// When it was found.
    pub found_at: Timestamp,
    /// What it cost.
    pub cost: Total,
    /// What is usual.
    pub usual: Total,
    /// How many addresses were written to.
    pub recipients: i64,
}

#[derive(sqlx::FromRow)]
struct SpikeRow {
    spike_id: String,
    day_ms: i64,
    kind: String,
    dimension: String,
    name: String,
    since_ms: i64,
    until_ms: i64,
    found_ms: i64,
    cost_usd: i64,
    cost_picos: i64,
    usual_usd: i64,
    usual_picos: i64,
    recipients: i64,
}

impl SpikeRow {
    fn into_spike(self) -> Result<Spike, StoreError> {
        let wrong = |what: &str| StoreError::unreadable(&format!("spikes {}", self.spike_id), &what);
        Ok(Spike {
            kind: SpikeKind::parse(&self.kind).ok_or_else(|| wrong("kind"))?,
            spender: Spender::parse(&self.dimension).ok_or_else(|| wrong("dimension"))?,
            day: Timestamp(self.day_ms),
            name: self.name,
            since: Timestamp(self.since_ms),
            until: Timestamp(self.until_ms),
            found_at: Timestamp(self.found_ms),
            cost: Total::from_parts(self.cost_usd, self.cost_picos),
            usual: Total::from_parts(self.usual_usd, self.usual_picos),
            recipients: self.recipients,
            spike_id: self.spike_id,
        })
    }
}

/// Writes it; `false` if the same was told for its day already.
pub async fn insert(tx: &mut Tx, spike: &Spike) -> Result<bool, StoreError> {
    let ((cost_usd, cost_picos), (usual_usd, usual_picos)) = (spike.cost.to_parts(), spike.usual.to_parts());
    Ok(in_tx!(tx, sql::SPIKES_INSERT, |text, conn| {
        sqlx::query(text)
            .bind(&spike.spike_id)
            .bind(spike.day.millis())
            .bind(spike.kind.as_str())
            .bind(spike.spender.as_str())
            .bind(storable(&spike.name))
            .bind(spike.since.millis())
            .bind(spike.until.millis())
            .bind(spike.found_at.millis())
            .bind(cost_usd)
            .bind(cost_picos)
            .bind(usual_usd)
            .bind(usual_picos)
            .bind(spike.recipients)
            .execute(conn)
            .await?
            .rows_affected()
            > 0
    }))
}

/// The last ones, newest first.
pub async fn history(store: &Store, limit: u32) -> Result<Vec<Spike>, StoreError> {
    let rows: Vec<SpikeRow> = reading!(store, sql::SPIKES_HISTORY, |text, conn| {
        sqlx::query_as(text).bind(i64::from(limit)).fetch_all(conn).await?
    });
    rows.into_iter().map(SpikeRow::into_spike).collect()
}
