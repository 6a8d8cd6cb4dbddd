//! This daemon's shares of blocking budgets, in memory: what it admits from where several daemons share one database.
//!
//! A share covers calls that are in no row yet: once one is, the row holds back what it may cost, for every daemon, and
//! the share becomes as much smaller in the same commit. What of a share is not in use is there for the next calls.

use std::collections::HashMap;
use std::time::Duration;

use super::reserve::Place;
use crate::domain::grant::{Account, Waits};
use crate::domain::money::Total;
use crate::domain::time::Timestamp;

/// How much is taken ahead: what was admitted lately in so long.
const AHEAD: Duration = Duration::from_secs(2);

/// The shortest time by which it is judged how fast calls come.
const LEAST_SPAN: Duration = Duration::from_millis(250);

/// How often a share is measured anew.
pub(super) const RENEW: Duration = Duration::from_secs(3);

/// What was found when a share was last measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// By which round.
    pub(super) round: u64,
    /// When, by the database's clock.
    pub(super) at: Timestamp,
    /// The account.
    pub(super) account: Account,
    /// When the other daemon was measured that was measured longest ago; `None`: no other has a share.
    pub(super) others_since: Option<Timestamp>,
}

impl Found {
    /// Whether there is no room for a call of this estimate, and nobody has any to spare: whoever has a share was measured
    /// since `asked`, when this call first asked for it.
    pub(super) fn refuses(&self, in_use: Total, estimate: Total, asked: Timestamp) -> bool {
        let others_told = self.others_since.is_none_or(|since| since > asked);
        others_told && self.account.beside() + in_use + estimate > self.account.limit
    }
}

/// A share of one account.
#[derive(Clone, Debug, Default)]
pub(super) struct Share {
    /// What is held back for calls that are in no row yet.
    pub(super) in_use: Total,
    /// What may be, as it stands in the database or less.
    pub(super) granted: Total,
    /// The beginning of the window it is for; `None`: it was never measured.
    start: Option<Timestamp>,
    /// When it lapses.
    until: Duration,
    /// It may be more than what is left: to be measured before the next call.
    pub(super) stale: bool,
    /// What calls that wait for it are taken to cost.
    pub(super) waiting: Waits,
    /// It is soon used up.
    pub(super) short: bool,
    /// What was admitted since it was last measured, and when that was.
    used: Total,
    pub(super) measured_at: Duration,
    /// What is admitted in [`AHEAD`].
    pace: Total,
    pub(super) found: Option<Found>,
}

impl Share {
    /// Whether a call of this estimate fits into it.
    pub(super) fn fits(&self, estimate: Total, start: Timestamp, elapsed: Duration) -> bool {
        !self.stale && self.start == Some(start) && elapsed < self.until && self.in_use + estimate <= self.granted
    }

    /// What of it is not in use.
    pub(super) fn idle(&self) -> Total {
        (self.granted - self.in_use).max(Total::ZERO)
    }

    /// Whether it is to be measured.
    pub(super) fn is_due(&self, elapsed: Duration) -> bool {
        let is_held = self.granted > Total::ZERO || self.in_use > Total::ZERO;
        self.is_urgent() || (is_held && elapsed >= self.measured_at + RENEW)
    }

    /// Whether somebody waits for that, or soon will.
    pub(super) fn is_urgent(&self) -> bool {
        self.short || !self.waiting.is_empty()
    }

    /// What is to be taken ahead.
    pub(super) fn ahead(&mut self, elapsed: Duration) -> Total {
        let span = elapsed.saturating_sub(self.measured_at).max(LEAST_SPAN);
        let lately = self.used.picos().saturating_mul(millis(AHEAD)) / millis(span);
        self.pace = Total::from_picos(lately.max(self.pace.picos() / 2));
        self.used = Total::ZERO;
        self.measured_at = elapsed;
        self.pace
    }

    /// So much may be in use of it from now on, until then.
    pub(super) fn grant(&mut self, granted: Total, start: Timestamp, until: Duration) {
        self.granted = granted;
        self.start = Some(start);
        self.until = until;
        self.stale = false;
        self.short = false;
    }

    /// A call is admitted.
    fn hold(&mut self, estimate: Total) {
        self.in_use += estimate;
        self.used += estimate;
        self.short |= self.idle() < Total::from_picos(self.pace.picos() / 2);
    }
}

fn millis(duration: Duration) -> i128 {
    i128::try_from(duration.as_millis()).unwrap_or(i128::MAX).max(1)
}

/// All shares.
#[derive(Debug, Default)]
pub(super) struct Grants {
    pub(super) shares: HashMap<Place, Share>,
    /// How often shares were measured, or begun to be.
    pub(super) rounds: u64,
    /// Whether the last try to measure them failed.
    pub(super) cut_off: bool,
    /// A call waits for a round of whatever the budgets are now.
    pub(super) asks_again: bool,
}

impl Grants {
    /// A call is held back of these accounts; whether one of their shares is soon used up.
    pub(super) fn hold(&mut self, places: &[Place], estimate: Total) -> bool {
        let mut short = false;
        for place in places {
            let share = self.shares.entry(place.clone()).or_default();
            share.hold(estimate);
            short |= share.short;
        }
        short
    }

    /// It is let go without a row.
    pub(super) fn release(&mut self, places: &[Place], estimate: Total) {
        for place in places {
            if let Some(share) = self.shares.get_mut(place) {
                share.in_use -= estimate;
            }
        }
    }

    /// A row tells of it from now on.
    pub(super) fn written(&mut self, places: &[Place], estimate: Total) {
        for place in places {
            if let Some(share) = self.shares.get_mut(place) {
                share.in_use -= estimate;
                share.granted = (share.granted - estimate).max(Total::ZERO);
            }
        }
    }

    /// The budgets stand at other places: `place` tells where, by the old one. What waits asks again by itself.
    pub(super) fn move_to(&mut self, place: impl Fn(&Place) -> Option<Place>) {
        let old = std::mem::take(&mut self.shares);
        for (at, share) in old {
            if let Some(at) = place(&at) {
                self.shares.insert(at, Share { in_use: Total::ZERO, waiting: Waits::default(), found: None, ..share });
            }
        }
    }
}
