//! What budgets stand at, in memory: what admission asks before a call is sent.
//!
//! The ledger's writer publishes the standings after each commit; nobody else changes them. Admission
//! reads one snapshot without a lock. It does not open the database and does not write.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::domain::budget::{Budget, WhenExceeded};
use crate::domain::money::{Money, Total};
use crate::domain::scope::AdmissionSubject;
use crate::domain::time::{BUCKET_MS, Timestamp};
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
    /// When a rolling window's spend falls below the limit if nothing more is spent; `None`: it is below, or never will be.
    pub frees_at: Option<Timestamp>,
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
    /// When its window ends (a rolling one: when enough has left it), as RFC 3339 in the budget's zone; `None`: never.
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

/// When a budget begins anew: at its window's end, or when enough has left a rolling one.
fn resets_at(standing: &Standing) -> Option<Timestamp> {
    if standing.budget.window.is_rolling() { standing.frees_at } else { standing.window.end }
}

/// The first 15-minute step at which a rolling window's spend is below the limit, if nothing more is spent. `costs` are
/// those of the window's buckets, by their starts. `None` for a window that does not roll, for spend below the limit,
/// and for a limit that nothing is below.
pub fn frees_at(budget: &Budget, spent: Total, costs: &BTreeMap<Timestamp, Money>) -> Option<Timestamp> {
    let span = budget.window.rolling_span()?;
    let limit = Total::from(budget.limit);
    if spent < limit {
        return None;
    }
    let mut left = spent;
    costs.iter().find_map(|(bucket, cost)| {
        left -= Total::from(*cost);
        // The window of a step holds whole the bucket that began one span before.
        (left < limit).then(|| bucket.plus_millis(span + BUCKET_MS))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::budget::{BudgetSpec, Origin};
    use crate::domain::window::WindowKind;

    fn budget(window: &str, limit: &str) -> Budget {
        let spec = serde_json::json!({ "name": "b", "window": window, "limit_usd": limit, "when_exceeded": "block" });
        let spec: BudgetSpec = serde_json::from_value(spec).unwrap();
        spec.into_budget(Origin::File, chrono_tz::UTC).unwrap()
    }

    #[test]
    fn a_rolling_budget_says_when_enough_has_left_its_window() {
        let day = budget("rolling 24h", "10");
        let now = Timestamp::parse("2026-11-22T14:07:00Z").unwrap();
        let costs: BTreeMap<Timestamp, Money> = [(-20, 2), (-10, 1), (-3, 6), (0, 4)]
            .map(|(hours, usd)| (now.plus_millis(hours * 3_600_000).bucket(), Money::from_usd(usd).unwrap()))
            .into();
        let spent = Total::from(Money::from_usd(13).unwrap());
        // $2 leave first, then $1, which is not enough: the limit itself refuses. $6 are.
        let frees = frees_at(&day, spent, &costs).unwrap();
        assert_eq!(frees, Timestamp::parse("2026-11-23T11:15:00Z").unwrap());
        let of_window = |at: Timestamp| {
            let window = WindowKind::Rolling24h.window_at(chrono_tz::UTC, at);
            costs
                .iter()
                .filter(|(bucket, _)| window.contains(**bucket))
                .fold(Total::ZERO, |sum, (_, c)| sum + (*c).into())
        };
        assert!(day.refuses(of_window(frees.plus_millis(-1))) && !day.refuses(of_window(frees)));
        assert_eq!(frees_at(&day, Total::from(Money::from_usd(9).unwrap()), &costs), None);
        assert_eq!(frees_at(&budget("rolling 24h", "0"), spent, &costs), None, "nothing is below 0");
        assert_eq!(frees_at(&budget("day", "10"), spent, &costs), None);
    }
}
