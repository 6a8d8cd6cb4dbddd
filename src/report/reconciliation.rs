//! What OpenRouter counted beside the ledger, and the account's balance, as pages, API and metrics tell them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::comparison::{Balance, KeyDay, Verdict, day_of};
use crate::domain::money::Money;
use crate::domain::money::Total;
use crate::domain::table::{Cell, Table};
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
    pub fn told(&self) -> Told {
        let balance = self.balance.map(|balance| BalanceTold {
            balance_usd: balance.left().to_decimal(),
            credits_usd: balance.credits.to_decimal(),
            usage_usd: balance.usage.to_decimal(),
            as_of: balance.as_of.to_iso(),
        });
        Told { balance, days: self.today.iter().chain(&self.before).map(DayTold::new).collect() }
    }
}

/// What OpenRouter counted beside the ledger, as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Reconciliation)]
pub struct Told {
    /// The account's balance; null: no management key is configured, or it was not asked yet.
    pub balance: Option<BalanceTold>,
    /// Keys' UTC days, today first.
    pub days: Vec<DayTold>,
}

impl Told {
    /// The days as rows and columns.
    pub fn table(&self) -> Table {
        const COLUMNS: [&str; 12] = [
            "key_name",
            "key_sha256",
            "day",
            "ours_usd",
            "theirs_usd",
            "unknown",
            "estimate_usd",
            "waiting",
            "over_midnight_usd",
            "verdict",
            "used_elsewhere_usd",
            "as_of",
        ];
        let text = |text: &str| Cell::Text(text.to_owned());
        let usd = |amount: &str| Cell::Decimal(amount.to_owned());
        let row = |day: &DayTold| {
            vec![
                text(&day.key_name),
                text(&day.key_sha256),
                text(&day.day),
                usd(&day.ours_usd),
                usd(&day.theirs_usd),
                day.unknown.into(),
                usd(&day.estimate_usd),
                day.waiting.into(),
                usd(&day.over_midnight_usd),
                text(day.verdict),
                day.used_elsewhere_usd.as_deref().map_or(Cell::Null, usd),
                text(&day.as_of),
            ]
        };
        Table { columns: COLUMNS.map(str::to_owned).to_vec(), rows: self.days.iter().map(row).collect(), cut: None }
    }
}

/// The account's balance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Balance)]
pub struct BalanceTold {
    /// What is left, in dollars.
    pub balance_usd: String,
    /// What was bought, in dollars.
    pub credits_usd: String,
    /// What was used, in dollars.
    pub usage_usd: String,
    /// When it was asked.
    #[schema(format = DateTime)]
    pub as_of: String,
}

/// A key's UTC day, here and at OpenRouter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = KeyDay)]
pub struct DayTold {
    /// The key's name.
    pub key_name: String,
    /// SHA-256 of it.
    pub key_sha256: String,
    /// The day.
    #[schema(format = Date)]
    pub day: String,
    /// What the ledger counts, in dollars.
    pub ours_usd: String,
    /// What OpenRouter counts, in dollars.
    pub theirs_usd: String,
    /// Calls whose cost is not known here.
    pub unknown: i64,
    /// What those may have cost, in dollars.
    pub estimate_usd: String,
    /// Calls that are not settled.
    pub waiting: i64,
    /// What was under way at midnight, in dollars.
    pub over_midnight_usd: String,
    /// `agrees`; `open`: what is not known yet may explain the difference; `elsewhere`: the key was used elsewhere.
    pub verdict: &'static str,
    /// The difference that is open, or was used elsewhere, in dollars; null: they agree.
    pub used_elsewhere_usd: Option<String>,
    /// When it was compared.
    #[schema(format = DateTime)]
    pub as_of: String,
}

impl DayTold {
    fn new(compared: &KeyDay) -> Self {
        let (verdict, elsewhere) = match compared.verdict() {
            Verdict::Agrees => ("agrees", None),
            Verdict::Open(used) => ("open", Some(used)),
            Verdict::Elsewhere(used) => ("elsewhere", Some(used)),
        };
        Self {
            key_name: compared.key_name.clone(),
            key_sha256: compared.key_sha256.clone(),
            day: compared.day.to_utc().format("%Y-%m-%d").to_string(),
            ours_usd: compared.ours.to_decimal(),
            theirs_usd: compared.theirs.to_decimal(),
            unknown: compared.unknown,
            estimate_usd: compared.estimate.to_decimal(),
            waiting: compared.waiting,
            over_midnight_usd: compared.over_midnight.to_decimal(),
            verdict,
            used_elsewhere_usd: elsewhere.map(Money::to_decimal),
            as_of: compared.as_of.to_iso(),
        }
    }
}
