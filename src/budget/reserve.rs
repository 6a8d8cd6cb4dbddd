//! What is held back of budgets for calls whose cost is not known yet.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::domain::money::{Money, Total};
use crate::domain::time::Timestamp;

/// The account of a budget that is one account: it has no value of its own.
pub const WHOLE: &str = "";

/// An account that something is held back of: the budget's place, and the value (or [`WHOLE`]).
pub(super) type Place = (usize, Arc<str>);

/// What is held back of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reserved {
    calls: usize,
    /// For calls whose time is not known: they count in whatever window is open.
    undated: Total,
    /// For the others, by the 15 minutes in which they will count.
    dated: BTreeMap<Timestamp, Total>,
}

impl Reserved {
    /// What is held back of a window that began at `start`.
    pub fn since(&self, start: Timestamp) -> Total {
        self.dated.range(start..).fold(self.undated, |sum, (_, held)| sum + *held)
    }

    fn add(&mut self, hold: &Hold) {
        self.calls += 1;
        match hold.at {
            None => self.undated += hold.estimate.into(),
            Some(at) => *self.dated.entry(at.bucket()).or_insert(Total::ZERO) += hold.estimate.into(),
        }
    }

    fn take(&mut self, hold: &Hold) {
        self.calls -= 1;
        match hold.at {
            None => self.undated -= hold.estimate.into(),
            Some(at) => {
                let bucket = at.bucket();
                if let Some(held) = self.dated.get_mut(&bucket) {
                    *held -= hold.estimate.into();
                    if *held == Total::ZERO {
                        self.dated.remove(&bucket);
                    }
                }
            }
        }
    }
}

/// What is held back for one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// What it is taken to cost.
    pub estimate: Money,
    /// When it counts; `None` as long as that is not known.
    pub at: Option<Timestamp>,
}

/// What is held back of every account: by the budget's place, then by the value.
#[derive(Clone, Debug, Default)]
pub struct Reserves(Vec<HashMap<Arc<str>, Reserved>>);

impl Reserves {
    /// Nothing, of so many budgets.
    pub(super) fn of(budgets: usize) -> Self {
        Self(vec![HashMap::new(); budgets])
    }

    /// What is held back of one account, of a window that began at `start`.
    pub fn since(&self, budget: usize, value: &str, start: Timestamp) -> Total {
        self.0.get(budget).and_then(|values| values.get(value)).map_or(Total::ZERO, |held| held.since(start))
    }

    /// The values of a budget that something is held back of.
    pub fn values(&self, budget: usize) -> impl Iterator<Item = &Arc<str>> {
        self.0.get(budget).into_iter().flat_map(HashMap::keys)
    }

    pub(super) fn add(&mut self, places: &[Place], hold: &Hold) {
        for (budget, value) in places {
            self.0[*budget].entry(Arc::clone(value)).or_default().add(hold);
        }
    }

    pub(super) fn take(&mut self, places: &[Place], hold: &Hold) {
        for (budget, value) in places {
            let Some(account) = self.0[*budget].get_mut(value) else { continue };
            account.take(hold);
            if account.calls == 0 {
                self.0[*budget].remove(value);
            }
        }
    }
}
