//! What a budget has to tell: a pure decision from spend, thresholds and what was told already.
//!
//! The caller keeps what was told and what is armed, and writes a crossing in the same transaction
//! as the spend that caused it; deciding again from what was written then tells nothing twice.

use std::sync::Arc;

use super::budget::{Budget, BudgetName, Threshold};
use super::forecast::Signal;
use super::money::{Money, Total};
use super::time::{BUCKET_MS, DAY_MS, Timestamp};
use super::window::Window;

/// How long after its end a window still mails, in milliseconds; later crossings are only kept.
pub const MAILS_AFTER_END_MS: i64 = DAY_MS;

/// What makes two crossings the same one, told once for ever.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertKey {
    /// The budget.
    pub budget: BudgetName,
    /// The value whose account it is, for a budget of each value; empty for any other.
    pub value: Arc<str>,
    /// The window's start; for rolling windows the instant at which the threshold was last armed.
    pub window_key: Timestamp,
    /// The threshold; its text is what is stored.
    pub threshold: Threshold,
    /// The limit it was measured against.
    pub limit: Money,
}

/// A crossing that was told, mailed or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Which one.
    pub key: AlertKey,
    /// When it was decided.
    pub crossed_at: Timestamp,
}

/// A rolling budget's threshold, armed again after spend had fallen.
///
/// One that was never armed again is armed since the budget stands as it does
/// ([`Evaluation::defined_at`]), so nothing needs to be kept for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arm {
    /// The threshold.
    pub threshold: Threshold,
    /// The limit it is armed for.
    pub limit: Money,
    /// Since when: the start of a 15-minute step.
    pub armed_at: Timestamp,
}

/// Why a budget is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Rows came or changed in cost, or time moved on.
    Spend,
    /// Rows were imported.
    Import,
    /// The budget was made, or its definition changed.
    Definition,
}

/// How a crossing came about; the text is that of `alert_history.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CrossingKind {
    /// Spend rose over the threshold.
    Crossed,
    /// Spend was over it already when the budget was made or changed.
    Found,
    /// The window is expected to end over it.
    Forecast,
}

/// Whether a crossing is mailed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// To everyone the budget notifies.
    Mail,
    /// It only enters `alert_history`.
    NotMailed(NotMailed),
}

/// Why a crossing is not mailed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotMailed {
    /// Its window ended over [`MAILS_AFTER_END_MS`] ago.
    WindowLongClosed,
    /// Rows imported into a window that has ended caused it.
    Imported,
    /// The budget notifies nobody.
    NoRecipients,
}

/// A threshold that spend has reached and that nobody was told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// Its identity.
    pub key: AlertKey,
    /// How it came about.
    pub kind: CrossingKind,
    /// Whether it is mailed.
    pub delivery: Delivery,
    /// The window it happened in.
    pub window: Window,
    /// The window's spend.
    pub spent: Total,
    /// When it was decided.
    pub crossed_at: Timestamp,
}

/// What a decision is made from.
#[derive(Clone, Copy, Debug)]
pub struct Evaluation<'a> {
    /// The budget as it stands.
    pub budget: &'a Budget,
    /// The value whose account is looked at; empty for a budget that is one account.
    pub value: &'a Arc<str>,
    /// The limit that spend is measured against: the window's, which may be another than the budget's own.
    pub limit: Money,
    /// Since when it stands so: it was made, or its limit, scope, window or zone last changed.
    pub defined_at: Timestamp,
    /// What was told of this budget; other windows and limits may be among it.
    pub told: &'a [Told],
    /// What was armed again, for rolling windows; of several for one threshold the latest counts.
    pub arms: &'a [Arm],
}

/// What the crossings of one decision share.
struct Crossed {
    kind: CrossingKind,
    delivery: Delivery,
    window: Window,
    spent: Total,
    at: Timestamp,
}

impl Evaluation<'_> {
    /// The thresholds that `spent` in `window` has reached and nobody was told of, lowest first.
    ///
    /// A window that ended before the budget stood as it does is not measured by it: a late
    /// settlement must not tell last month's spend against this month's limit.
    pub fn decide(&self, window: Window, spent: Total, cause: Cause, now: Timestamp) -> Vec<Crossing> {
        if window.end.is_some_and(|end| end <= self.defined_at) {
            return Vec::new();
        }
        let kind = if cause == Cause::Definition { CrossingKind::Found } else { CrossingKind::Crossed };
        let delivery = self.delivery(window, cause, now);
        let reached = self.budget.alert_at.iter().filter(|threshold| threshold.is_reached(spent, self.limit));
        self.untold(reached, &Crossed { kind, delivery, window, spent, at: now })
    }

    /// Of the forecast thresholds that `signals` are sure of, those that nobody was told of, lowest first.
    ///
    /// One whose amount is spent already is none any more: spend tells of itself.
    pub fn decide_forecast(&self, window: Window, spent: Total, signals: &[Signal], now: Timestamp) -> Vec<Crossing> {
        let delivery = self.delivery(window, Cause::Spend, now);
        let sure = self.budget.alert_at.iter().filter(|threshold| {
            signals.iter().any(|signal| signal.threshold == **threshold && signal.is_sure())
                && spent < threshold.amount(self.limit)
        });
        self.untold(sure, &Crossed { kind: CrossingKind::Forecast, delivery, window, spent, at: now })
    }

    /// Crossings of those among `reached` that nobody was told of.
    fn untold<'t>(&self, reached: impl Iterator<Item = &'t Threshold>, crossed: &Crossed) -> Vec<Crossing> {
        let Crossed { kind, delivery, window, spent, at } = *crossed;
        let untold = reached.filter_map(|&threshold| {
            let window_key = self.window_key(threshold, window);
            self.told_at(threshold, window_key).is_none().then(|| AlertKey {
                budget: self.budget.name.clone(),
                value: Arc::clone(self.value),
                window_key,
                threshold,
                limit: self.limit,
            })
        });
        untold.map(|key| Crossing { key, kind, delivery, window, spent, crossed_at: at }).collect()
    }

    /// The thresholds of a rolling budget to arm again from `step` on; none for other budgets.
    ///
    /// `step` is the start of a 15-minute step and `spent` the spend of the window as it stood in
    /// the step before (`window_at(zone, step - 1 ms)`), as known now. Within a step spend only
    /// grows, save for corrections, so its last word below 90 % stands for the whole step. A
    /// crossing told in or after that step forbids it: a restart within the step that told must
    /// not tell again.
    ///
    /// Ask at each step, before [`Evaluation::decide`] for it.
    pub fn rearm(&self, step: Timestamp, spent: Total) -> Vec<Arm> {
        if !self.budget.window.is_rolling() {
            return Vec::new();
        }
        let step_before = step.plus_millis(-BUCKET_MS);
        let limit = self.limit;
        let fallen = |threshold: &Threshold| {
            !threshold.is_forecast() && spent.picos() * 10 < threshold.amount(limit).picos() * 9
        };
        let told_before = |threshold: &Threshold| {
            self.told_at(*threshold, self.armed_at(*threshold)).is_some_and(|told| told < step_before)
        };
        self.budget
            .alert_at
            .iter()
            .filter(|threshold| fallen(threshold) && told_before(threshold))
            .map(|&threshold| Arm { threshold, limit, armed_at: step })
            .collect()
    }

    fn delivery(&self, window: Window, cause: Cause, now: Timestamp) -> Delivery {
        match window.end {
            Some(end) if end <= now && cause == Cause::Import => Delivery::NotMailed(NotMailed::Imported),
            Some(end) if end.plus_millis(MAILS_AFTER_END_MS) <= now => Delivery::NotMailed(NotMailed::WindowLongClosed),
            _ if self.budget.notify.is_empty() => Delivery::NotMailed(NotMailed::NoRecipients),
            _ => Delivery::Mail,
        }
    }

    fn window_key(&self, threshold: Threshold, window: Window) -> Timestamp {
        if self.budget.window.is_rolling() { self.armed_at(threshold) } else { window.start }
    }

    /// Since when a rolling budget's threshold is armed.
    fn armed_at(&self, threshold: Threshold) -> Timestamp {
        let of_this = |arm: &&Arm| arm.threshold == threshold && arm.limit == self.limit;
        let again = self.arms.iter().filter(of_this).map(|arm| arm.armed_at).max();
        again.map_or(self.defined_at, |at| at.max(self.defined_at))
    }

    fn told_at(&self, threshold: Threshold, window_key: Timestamp) -> Option<Timestamp> {
        self.told
            .iter()
            .find(|told| {
                told.key.threshold == threshold
                    && told.key.window_key == window_key
                    && told.key.limit == self.limit
                    && told.key.budget == self.budget.name
            })
            .map(|told| told.crossed_at)
    }
}

impl Crossing {
    /// Whether the window had ended when the crossing was decided; its mail says so.
    pub fn is_late(&self) -> bool {
        self.window.end.is_some_and(|end| end <= self.crossed_at)
    }
}

impl CrossingKind {
    /// The text in `alert_history.kind`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Crossed => "crossed",
            Self::Found => "found",
            Self::Forecast => "forecast",
        }
    }
}

/// Where a budget stands; the text is that of `budget_status.state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BudgetState {
    /// Below every threshold and the limit.
    Ok,
    /// At a threshold, below the limit.
    Alerting,
    /// At the limit or over it.
    Exceeded,
    /// It neither tells nor refuses until it is resumed, whatever is spent.
    Paused,
}

impl BudgetState {
    /// Where `budget` stands with `spent` in a window with this `limit`, unless it is paused.
    ///
    /// A limit of 0 is exceeded by the first spend; a budget that blocks at 0 is exceeded from the start, as it refuses.
    pub fn of(budget: &Budget, limit: Money, spent: Total) -> Self {
        let reached = |threshold: Threshold| threshold.is_reached(spent, limit);
        if budget.refuses(limit, spent) || reached(Threshold::LIMIT) {
            Self::Exceeded
        } else if budget.alert_at.iter().copied().any(reached) {
            Self::Alerting
        } else {
            Self::Ok
        }
    }

    /// The text in `budget_status.state`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Alerting => "alerting",
            Self::Exceeded => "exceeded",
            Self::Paused => "paused",
        }
    }

    /// Reads that text.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Ok, Self::Alerting, Self::Exceeded, Self::Paused].into_iter().find(|state| state.as_str() == text)
    }
}

#[cfg(test)]
mod tests;
