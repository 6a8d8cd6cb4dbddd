//! What moved: the last 24 hours against the same hours of the week before, by model and app.

use std::collections::BTreeMap;

use chrono_tz::Tz;

use super::range::{Shift, so_far};
use super::span::Step;
use crate::domain::money::Total;
use crate::domain::time::{DAY_MS, Timestamp};
use crate::store::rollups::{self, Dimension, TotalsQuery};
use crate::store::{Store, StoreError};

/// Most that are told singly.
pub const MAX_MOVERS: usize = 7;

/// Spend then and now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// In the hours of the week before.
    pub before: Total,
    /// In the last 24 hours.
    pub now: Total,
}

impl Moved {
    /// How much more it is now.
    pub fn change(&self) -> Total {
        self.now - self.before
    }

    fn add(&mut self, other: &Self) {
        self.before += other.before;
        self.now += other.now;
    }
}

/// One model in one app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mover {
    /// The model; `None`: not known.
    pub model: Option<String>,
    /// The app; `None`: not named.
    pub app: Option<String>,
    /// What it came to.
    pub moved: Moved,
}

/// What moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Movers {
    /// Those that moved most: the rises, the highest first, then the falls, the deepest last.
    pub movers: Vec<Mover>,
    /// How many others there are, and what they come to together.
    pub others: usize,
    /// As said.
    pub of_others: Moved,
    /// All.
    pub total: Moved,
    /// From when to when the last 24 hours are.
    pub since: Timestamp,
    /// As said.
    pub until: Timestamp,
}

/// Reads what moved, from the roll-ups.
pub async fn movers(store: &Store, now: Timestamp, zone: Tz) -> Result<Movers, StoreError> {
    let until = so_far(Step::QuarterHour, now);
    let since = until.plus_millis(-DAY_MS);
    let week = Shift::Days(7);
    let spans = vec![(week.back(since, zone), week.back(until, zone)), (since, until)];
    let by = vec![Dimension::Model, Dimension::App];
    let mut found: BTreeMap<Vec<Option<String>>, Moved> = BTreeMap::new();
    for row in rollups::totals(store, &TotalsQuery { spans, by, ..TotalsQuery::default() }).await? {
        let moved = found.entry(row.keys).or_default();
        if row.span == 0 { moved.before += row.sums.cost } else { moved.now += row.sums.cost }
    }
    let told = found.into_iter().map(|(keys, moved)| {
        let mut keys = keys.into_iter();
        Mover { model: keys.next().flatten(), app: keys.next().flatten(), moved }
    });
    Ok(Movers { since, until, ..most(told.collect()) })
}

fn most(mut all: Vec<Mover>) -> Movers {
    let mut found = Movers::default();
    for mover in &all {
        found.total.add(&mover.moved);
    }
    all.retain(|mover| mover.moved.change() != Total::ZERO);
    let size = |mover: &Mover| mover.moved.change().picos().unsigned_abs();
    all.sort_by(|a, b| (size(b), &a.model, &a.app).cmp(&(size(a), &b.model, &b.app)));
    // One more than fits is shown rather than called others.
    if all.len() > MAX_MOVERS + 1 {
        let rest = all.split_off(MAX_MOVERS);
        found.others = rest.len();
        for mover in &rest {
            found.of_others.add(&mover.moved);
        }
    }
    all.sort_by(|a, b| (b.moved.change(), &a.model, &a.app).cmp(&(a.moved.change(), &b.model, &b.app)));
    found.movers = all;
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mover(model: &str, before: i128, now: i128) -> Mover {
        let moved = Moved { before: Total::from_picos(before), now: Total::from_picos(now) };
        Mover { model: Some(model.to_owned()), app: None, moved }
    }

    #[test]
    fn rises_come_first_and_nothing_is_lost() {
        let mut all: Vec<Mover> = (0..10).map(|n| mover(&format!("m{n}"), 100, 101 + n)).collect();
        all.push(mover("fell", 90, 10));
        all.push(mover("same", 5, 5));
        let found = most(all);
        let names: Vec<_> = found.movers.iter().map(|mover| mover.model.as_deref().unwrap()).collect();
        assert_eq!(names, ["m9", "m8", "m7", "m6", "m5", "m4", "fell"]);
        assert_eq!(found.others, 4);
        let told = found.movers.iter().map(|mover| mover.moved.change()).sum::<Total>() + found.of_others.change();
        assert_eq!(told, found.total.change());
    }
}
