//! What OpenRouter counted beside the ledger, and the account's balance, as pages, API and metrics tell them.

use serde_json::{Value, json};

use crate::domain::comparison::{Balance, KeyDay, Verdict, day_of};
use crate::domain::money::Money;
use crate::domain::money::Total;
use crate::domain::time::{DAY_MS, Timestamp};
use crate::store::{Store, StoreError, comparisons};

/// Days that are told, today included.
const DAYS: i64 = 31;

/// Most comparisons that are told.
const MAX_TOLD: u32 = 1_000;

/// What is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciliation {
    /// Today's comparison of each key, by name.
    pub today: Vec<KeyDay>,
    /// Those of the days before, newest first.
    pub before: Vec<KeyDay>,
    /// The account's balance; `None` without a management key, or before it was first asked.
    pub balance: Option<Balance>,
}

/// Reads it; `management_key` is the SHA-256 of the configured management key.
pub async fn read(store: &Store, management_key: Option<&str>, now: Timestamp) -> Result<Reconciliation, StoreError> {
    let today = day_of(now);
    let all = comparisons::since(store, today.plus_millis(-(DAYS - 1) * DAY_MS), MAX_TOLD).await?;
    let (today, before) = all.into_iter().partition(|compared| compared.day >= today);
    let balance = match management_key {
        Some(sha256) => comparisons::balance(store, sha256).await?,
        None => None,
    };
    Ok(Reconciliation { today, before, balance })
}

impl Reconciliation {
    /// What keys used today that nothing here explains.
    pub fn elsewhere(&self) -> Total {
        let used = self.today.iter().filter_map(|compared| match compared.verdict() {
            Verdict::Elsewhere(used) => Some(Total::from(used)),
            Verdict::Agrees | Verdict::Open(_) => None,
        });
        used.sum()
    }

    /// As `/tally/v1/reconciliation` answers it.
    pub fn json(&self) -> Value {
        let balance = self.balance.map(|balance| {
            json!({
                "balance_usd": balance.left().to_decimal(),
                "credits_usd": balance.credits.to_decimal(),
                "usage_usd": balance.usage.to_decimal(),
                "as_of": balance.as_of.to_iso(),
            })
        });
        let days: Vec<Value> = self.today.iter().chain(&self.before).map(day_json).collect();
        json!({ "balance": balance, "days": days })
    }
}

fn day_json(compared: &KeyDay) -> Value {
    let (verdict, elsewhere) = match compared.verdict() {
        Verdict::Agrees => ("agrees", None),
        Verdict::Open(used) => ("open", Some(used)),
        Verdict::Elsewhere(used) => ("elsewhere", Some(used)),
    };
    json!({
        "key_name": compared.key_name,
        "key_sha256": compared.key_sha256,
        "day": compared.day.to_utc().format("%Y-%m-%d").to_string(),
        "ours_usd": compared.ours.to_decimal(),
        "theirs_usd": compared.theirs.to_decimal(),
        "unknown": compared.unknown,
        "estimate_usd": compared.estimate.to_decimal(),
        "waiting": compared.waiting,
        "over_midnight_usd": compared.over_midnight.to_decimal(),
        "verdict": verdict,
        "used_elsewhere_usd": elsewhere.map(Money::to_decimal),
        "as_of": compared.as_of.to_iso(),
    })
}
