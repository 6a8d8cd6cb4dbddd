//! Where budgets are heading, as it was last made out; and the hours of spend that forecasts are made from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::rollups::{self, Dimension, TotalsQuery};
use super::statements as sql;
use super::tx::{in_tx, reading};
use super::{Store, StoreError, Tx};
use crate::domain::budget::{BudgetName, Threshold};
use crate::domain::forecast::{Basis, HOUR_MS, NoForecast, Outlook, Reach, Signal};
use crate::domain::money::Total;
use crate::domain::time::{BUCKET_MS, Timestamp};

/// A budget's forecast as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredForecast {
    /// Start of the window it is of.
    pub window_start: Timestamp,
    /// The step at which it was made.
    pub as_of: Timestamp,
    /// How sure its thresholds are.
    pub signals: Vec<Signal>,
    /// The forecast, or why there is none.
    pub outlook: Result<Outlook, NoForecast>,
}

#[derive(Serialize, Deserialize)]
struct SignalText {
    threshold: Threshold,
    steps: u32,
}

#[derive(sqlx::FromRow)]
struct ForecastRow {
    budget: String,
    window_start_ms: i64,
    as_of_ms: i64,
    signals: String,
    reason: Option<String>,
    basis: Option<String>,
    known: Option<i64>,
    projected_usd: Option<i64>,
    projected_picos: Option<i64>,
    low_usd: Option<i64>,
    low_picos: Option<i64>,
    high_usd: Option<i64>,
    high_picos: Option<i64>,
    early_ms: Option<i64>,
    likely_ms: Option<i64>,
    late_ms: Option<i64>,
}

impl ForecastRow {
    fn stored(&self) -> Result<StoredForecast, StoreError> {
        let wrong = |what: &str| StoreError::unreadable(&format!("budget_forecasts {}", self.budget), &what);
        let signals: Vec<SignalText> =
            serde_json::from_str(&self.signals).map_err(|error| wrong(&format!("signals: {error}")))?;
        let outlook = match &self.reason {
            Some(reason) => Err(NoForecast::parse(reason).ok_or_else(|| wrong(&format!("reason {reason}")))?),
            None => Ok(self.outlook().ok_or_else(|| wrong("neither a forecast nor a reason"))?),
        };
        let signal = |text: SignalText| Signal { threshold: text.threshold, steps: text.steps };
        Ok(StoredForecast {
            window_start: Timestamp(self.window_start_ms),
            as_of: Timestamp(self.as_of_ms),
            signals: signals.into_iter().map(signal).collect(),
            outlook,
        })
    }

    fn outlook(&self) -> Option<Outlook> {
        let known = usize::try_from(self.known?).ok()?;
        let reach = |early| Reach {
            early: Timestamp(early),
            likely: self.likely_ms.map(Timestamp),
            late: self.late_ms.map(Timestamp),
        };
        Some(Outlook {
            at: Timestamp(self.as_of_ms),
            basis: Basis::parse(self.basis.as_deref()?, known)?,
            projected: Total::from_parts(self.projected_usd?, self.projected_picos?),
            low: Total::from_parts(self.low_usd?, self.low_picos?),
            high: Total::from_parts(self.high_usd?, self.high_picos?),
            reaches_limit: self.early_ms.map(reach),
        })
    }
}

/// Keeps a budget's forecast in place of the one before.
pub async fn save(tx: &mut Tx, budget: &BudgetName, forecast: &StoredForecast) -> Result<(), StoreError> {
    let text = |signal: &Signal| SignalText { threshold: signal.threshold, steps: signal.steps };
    let signals: Vec<SignalText> = forecast.signals.iter().map(text).collect();
    let signals = serde_json::to_string(&signals).map_err(StoreError::encoding)?;
    let told = forecast.outlook.as_ref().ok();
    let basis = told.map(|told| told.basis.as_str());
    let known = told.and_then(|told| i64::try_from(told.basis.known()).ok());
    let parts = |amount: Option<Total>| amount.map(Total::to_parts).unzip();
    let (projected_usd, projected_picos) = parts(told.map(|told| told.projected));
    let (low_usd, low_picos) = parts(told.map(|told| told.low));
    let (high_usd, high_picos) = parts(told.map(|told| told.high));
    let reach = told.and_then(|told| told.reaches_limit);
    in_tx!(tx, sql::FORECASTS_SAVE, |text, conn| {
        sqlx::query(text)
            .bind(budget.as_str())
            .bind(forecast.window_start.millis())
            .bind(forecast.as_of.millis())
            .bind(signals)
            .bind(forecast.outlook.as_ref().err().map(|reason| reason.as_str()))
            .bind(basis)
            .bind(known)
            .bind(projected_usd)
            .bind(projected_picos)
            .bind(low_usd)
            .bind(low_picos)
            .bind(high_usd)
            .bind(high_picos)
            .bind(reach.map(|reach| reach.early.millis()))
            .bind(reach.and_then(|reach| reach.likely).map(Timestamp::millis))
            .bind(reach.and_then(|reach| reach.late).map(Timestamp::millis))
            .execute(conn)
            .await?;
    });
    Ok(())
}

/// Forgets a budget's forecast, because the budget is another one now.
pub async fn clear(tx: &mut Tx, budget: &BudgetName) -> Result<(), StoreError> {
    in_tx!(tx, sql::FORECASTS_CLEAR, |text, conn| {
        sqlx::query(text).bind(budget.as_str()).execute(conn).await?;
    });
    Ok(())
}

/// All that is kept, by the budgets' names, as this transaction sees it.
pub async fn load(tx: &mut Tx) -> Result<BTreeMap<String, StoredForecast>, StoreError> {
    let rows: Vec<ForecastRow> =
        in_tx!(tx, sql::FORECASTS_LIST, |text, conn| sqlx::query_as(text).fetch_all(conn).await?);
    by_name(&rows)
}

/// [`load`] for readers.
pub async fn list(store: &Store) -> Result<BTreeMap<String, StoredForecast>, StoreError> {
    let rows: Vec<ForecastRow> =
        reading!(store, sql::FORECASTS_LIST, |text, conn| sqlx::query_as(text).fetch_all(conn).await?);
    by_name(&rows)
}

fn by_name(rows: &[ForecastRow]) -> Result<BTreeMap<String, StoredForecast>, StoreError> {
    rows.iter().map(|row| Ok((row.budget.clone(), row.stored()?))).collect()
}

/// Hours of spend by their starts.
pub type Hours = Vec<(Timestamp, Total)>;

fn hours(rows: Vec<(i64, i64, i64)>, from: Timestamp) -> Hours {
    let hour = |(place, usd, picos): (i64, i64, i64)| {
        (from.plus_millis(place.saturating_mul(HOUR_MS)), Total::from_parts(usd, picos))
    };
    rows.into_iter().map(hour).collect()
}

/// What a budget's calls cost in each hour from `from` (a bucket's start) to `until`; hours without spend are left out.
pub async fn budget_hours(
    tx: &mut Tx,
    budget: &BudgetName,
    from: Timestamp,
    until: Timestamp,
) -> Result<Hours, StoreError> {
    let rows: Vec<(i64, i64, i64)> = in_tx!(tx, sql::BUDGETS_HOURS, |text, conn| {
        sqlx::query_as(text).bind(budget.as_str()).bind(from.millis()).bind(until.millis()).fetch_all(conn).await?
    });
    Ok(hours(rows, from))
}

/// Whose spend is asked for: `None` for any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Whose<'a> {
    /// The app; empty where calls name none.
    pub app: Option<&'a str>,
    /// The key, likewise.
    pub key: Option<&'a str>,
    /// The model, likewise.
    pub model: Option<&'a str>,
}

/// What calls cost in each hour from `from` to `until` (both a bucket's start); hours without calls are left out.
pub async fn ledger_hours(
    store: &Store,
    whose: Whose<'_>,
    from: Timestamp,
    until: Timestamp,
) -> Result<Hours, StoreError> {
    let Some((first, last)) = rollups::extent(store).await? else { return Ok(Vec::new()) };
    // Hours beyond what there is are none, however far is asked.
    let until = until.min(last.bucket().plus_millis(BUCKET_MS));
    let hour = |at: Timestamp| at.millis().saturating_sub(from.millis()).div_euclid(HOUR_MS);
    let start = |hour: i64| from.plus_millis(hour.saturating_mul(HOUR_MS));
    let spans = (hour(first.max(from))..=hour(until)).map(|hour| (start(hour), start(hour + 1).min(until)));
    let spans = spans.filter(|(start, end)| start < end).collect();
    let only = [(Dimension::App, whose.app), (Dimension::Key, whose.key), (Dimension::Model, whose.model)];
    let only = only.into_iter().filter_map(|(dimension, value)| Some((dimension, value?.to_owned()))).collect();
    let query = TotalsQuery { spans, only, ..TotalsQuery::default() };
    let rows = rollups::totals(store, &query).await?;
    Ok(rows.into_iter().map(|row| (query.spans[row.span].0, row.sums.cost)).collect())
}
