//! What budgets stand at, in memory: what admission asks before a call is sent.
//!
//! The ledger's writer publishes the standings after each commit; nobody else changes them. Admission
//! reads one snapshot without a lock. It does not open the database and does not write.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::domain::budget::{Budget, WhenExceeded};
use crate::domain::money::Total;
use crate::domain::scope::AdmissionSubject;
use crate::domain::time::Timestamp;
use crate::domain::window::Window;
use crate::domain::zone;

/// Where one budget stood after the last commit.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The budget.
    pub budget: Arc<Budget>,
    /// Its window at that time.
    pub window: Window,
    /// What the window's rows cost: charged plus upstream, unknown costs left out.
    pub spent: Total,
    /// The part of it that is the replies' and not yet settled.
    pub inline: Total,
    /// Rows of the window whose cost is unknown.
    pub unknown: i64,
}

impl Standing {
    /// What was spent in the window that holds `now`; nothing yet, if that window began after the last commit.
    fn spent_at(&self, now: Timestamp) -> Total {
        if self.window.end.is_some_and(|end| now >= end) && !self.budget.window.is_rolling() {
            return Total::ZERO;
        }
        self.spent
    }
}

/// Why a call is not sent: a budget that blocks is spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// The budget's name.
    pub budget: String,
    /// Its limit.
    pub limit: Total,
    /// What was spent in its window.
    pub spent: Total,
    /// When its window ends, as RFC 3339 in the budget's zone; `None` for one that never ends.
    pub resets_at: Option<String>,
}

/// The standings of all budgets.
#[derive(Debug, Default)]
pub struct Book(ArcSwap<Vec<Standing>>);

impl Book {
    /// Refuses a call that a spent, blocking budget may have to count.
    ///
    /// Of several such budgets the one that resets last is named: before that, trying again is idle.
    pub fn admit(&self, call: &AdmissionSubject<'_>, now: Timestamp) -> Result<(), Exceeded> {
        let standings = self.0.load();
        let refusing = standings.iter().filter(|standing| standing.budget.when_exceeded == WhenExceeded::Block).filter(
            |standing| standing.budget.refuses(standing.spent_at(now)) && standing.budget.scope.may_match(call),
        );
        let last = refusing.max_by_key(|standing| resets_at(standing).map_or(i64::MAX, Timestamp::millis));
        match last {
            None => Ok(()),
            Some(standing) => Err(Exceeded {
                budget: standing.budget.name.to_string(),
                limit: standing.budget.limit.into(),
                spent: standing.spent,
                resets_at: resets_at(standing).map(|at| zone::to_rfc3339(standing.budget.zone, at)),
            }),
        }
    }

    /// The standings after the last commit.
    pub fn standings(&self) -> Arc<Vec<Standing>> {
        self.0.load_full()
    }

    /// Publishes new standings; only the ledger's writer does.
    pub fn publish(&self, standings: Vec<Standing>) {
        self.0.store(Arc::new(standings));
    }
}

/// When a budget begins anew: a window's end; a rolling one gives way step by step, first at the end of its step.
fn resets_at(standing: &Standing) -> Option<Timestamp> {
    standing.window.end
}
