//! Where budgets are heading: made out anew at each 15-minute step, and told when it is sure.
//!
//! The forecast is kept in the transaction that tells of it, with how long it has been sure: a restart neither tells again
//! nor waits again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Tracked, Tracker};
use crate::domain::forecast::{self, Forecast, HOUR_MS, LOOKS_BACK_DAYS, NoForecast, Question};
use crate::domain::rollup::Share;
use crate::domain::time::{DAY_MS, Timestamp};
use crate::store::forecasts::StoredForecast;
use crate::store::{self, StoreError, Tx};

/// Forecasts made in one transaction: each reads some thousand counters, and other work waits behind it. What is left follows
/// in the next, so that a thousand budgets have theirs within minutes of a step.
const AT_ONCE: usize = 8;

/// How long a forecast stands whose past has changed, in milliseconds: an import changes it again and again.
const AGAIN_AFTER_MS: i64 = 60_000;

impl Tracker {
    /// Whether a budget's forecast is of an earlier step.
    pub(super) fn is_outdated(&self, now: Timestamp) -> bool {
        self.budgets.iter().any(|tracked| tracked.is_outdated(now))
    }

    /// Makes the next outdated forecasts anew and raises alerts. Returns how many.
    pub(in crate::ledger) async fn look_ahead(&mut self, tx: &mut Tx, now: Timestamp) -> Result<usize, StoreError> {
        let mut alerts = 0;
        for tracked in self.budgets.iter_mut().filter(|tracked| tracked.is_outdated(now)).take(AT_ONCE) {
            alerts += tracked.look_ahead(tx, now).await?;
        }
        Ok(alerts)
    }
}

impl Tracked {
    /// Notes whether rows have changed what the forecast was made from: an import, not the settling of the last calls, which
    /// moves little and is in the next step's.
    pub(super) fn forget_past(&mut self, changes: &BTreeMap<Timestamp, Share>) {
        if let (Some(kept), Some((oldest, _))) = (&self.outlook, changes.first_key_value()) {
            self.past_changed |= *oldest < kept.as_of.plus_millis(-DAY_MS);
        }
    }

    /// Time that goes back makes nothing anew; a window that waits to be turned is turned first.
    fn is_outdated(&self, now: Timestamp) -> bool {
        if self.budget.each.is_some() || !self.budget.window.ends() || !self.window.contains(now) {
            return false;
        }
        let Some(kept) = &self.outlook else { return true };
        let is_while_ago = self.looked_at.is_none_or(|at| now.millis() - at.millis() >= AGAIN_AFTER_MS);
        kept.as_of < now.bucket() || (self.past_changed && is_while_ago && kept.as_of == now.bucket())
    }

    async fn look_ahead(&mut self, tx: &mut Tx, now: Timestamp) -> Result<usize, StoreError> {
        let budget = Arc::clone(&self.budget);
        let step = now.bucket().max(self.window.start);
        let forecast = self.forecast(tx, step).await?;
        let before = self.outlook.as_ref().filter(|kept| kept.window_start == self.window.start);
        let again = before.is_some_and(|kept| kept.as_of == step);
        let before = before.map(|kept| kept.signals.as_slice()).unwrap_or_default();
        let signals = forecast::signals(&budget, self.limit.limit(), before, forecast.as_ref().ok(), again);
        // A paused budget is looked ahead for its page; it tells nothing.
        let crossings = match self.terms.paused_at {
            Some(_) => Vec::new(),
            None => self.evaluation(&budget).decide_forecast(self.window, self.spent.cost, &signals, now),
        };
        let outlook = forecast.map(|forecast| forecast.outlook(self.limit.limit()));
        let kept = StoredForecast { window_start: self.window.start, as_of: step, signals, outlook };
        store::forecasts::save(tx, &budget.name, &kept).await?;
        self.outlook = Some(Arc::new(kept));
        (self.looked_at, self.past_changed) = (Some(now), false);
        for crossing in &crossings {
            self.raise(tx, crossing).await?;
        }
        Ok(crossings.len())
    }

    async fn forecast(&self, tx: &mut Tx, step: Timestamp) -> Result<Result<Forecast, NoForecast>, StoreError> {
        let budget = &self.budget;
        let days = i64::try_from(LOOKS_BACK_DAYS).unwrap_or(i64::MAX);
        let from = step.plus_millis(-days.saturating_mul(24 * HOUR_MS));
        let hours = store::forecasts::budget_hours(tx, &budget.name, from, step).await?;
        let spent = store::budgets::spent(tx, &budget.name, self.window.start, Some(step)).await?;
        Ok(forecast::forecast(&Question {
            kind: budget.window,
            zone: budget.zone,
            window: self.window,
            at: step,
            spent: spent.cost,
            hours: &hours,
        }))
    }
}
