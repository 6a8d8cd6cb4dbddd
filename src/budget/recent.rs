//! What the last calls of each key and model cost, and those of each budget.

use std::collections::{HashMap, VecDeque};

use crate::domain::estimate::{LEAST_CALLS, usual};
use crate::domain::money::{Money, Total};

/// Last calls that are looked at.
const CALLS: usize = 5 * LEAST_CALLS;

/// Keys and models whose calls are remembered; of more, those that were used longest ago are forgotten.
const MAX_PAIRS: usize = 4_096;

/// The costs of the last calls, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Costs {
    costs: VecDeque<Money>,
    sum: Total,
}

impl Costs {
    /// Another call became known.
    pub(super) fn add(&mut self, cost: Money) {
        if self.costs.len() == CALLS
            && let Some(oldest) = self.costs.pop_front()
        {
            self.sum -= oldest.into();
        }
        self.costs.push_back(cost);
        self.sum += cost.into();
    }

    /// What one of them cost on average, rounded down; `None` where there is none.
    pub(super) fn mean(&self) -> Option<Money> {
        let count = i128::try_from(self.costs.len()).ok().filter(|count| *count > 0)?;
        i64::try_from(self.sum.picos() / count).ok().map(Money::from_picos)
    }
}

#[derive(Debug, Default)]
struct Pair {
    costs: Costs,
    /// Kept ready for admission.
    usual: Option<Money>,
    fed: u64,
}

/// The costs of the last calls by key and model.
#[derive(Debug, Default)]
pub(super) struct Recent {
    keys: HashMap<String, HashMap<String, Pair>>,
    pairs: usize,
    fed: u64,
}

impl Recent {
    /// Another call of this key and model became known.
    pub(super) fn add(&mut self, key: &str, model: &str, cost: Money) {
        self.fed += 1;
        let is_new = !self.keys.get(key).is_some_and(|models| models.contains_key(model));
        if is_new {
            if self.pairs == MAX_PAIRS {
                self.forget();
            }
            self.pairs += 1;
        }
        let pair = self.keys.entry(key.to_owned()).or_default().entry(model.to_owned()).or_default();
        pair.costs.add(cost);
        pair.fed = self.fed;
        pair.usual = usual(pair.costs.costs.iter().copied());
    }

    /// What calls of this key and model usually cost; `None` where too few are known.
    pub(super) fn usual(&self, key: &str, model: &str) -> Option<Money> {
        self.keys.get(key)?.get(model)?.usual
    }

    /// Forgets the quarter that was used longest ago, so that it is not looked for with each new pair.
    fn forget(&mut self) {
        let mut ages: Vec<u64> = self.keys.values().flat_map(|models| models.values().map(|pair| pair.fed)).collect();
        let quarter = ages.len() / 4;
        if ages.is_empty() {
            return;
        }
        let youngest = *ages.select_nth_unstable(quarter).1;
        for models in self.keys.values_mut() {
            models.retain(|_, pair| pair.fed > youngest);
        }
        self.keys.retain(|_, models| !models.is_empty());
        self.pairs = self.keys.values().map(HashMap::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_calls_count_and_older_ones_do_not() {
        let mut recent = Recent::default();
        for cost in 0..19 {
            recent.add("k", "m", Money::from_picos(cost));
        }
        assert_eq!(recent.usual("k", "m"), None);
        recent.add("k", "m", Money::from_picos(19));
        assert_eq!(recent.usual("k", "m"), Some(Money::from_picos(18)));
        assert_eq!((recent.usual("k", "other"), recent.usual("other", "m")), (None, None));
        for _ in 0..CALLS {
            recent.add("k", "m", Money::from_picos(7));
        }
        assert_eq!(recent.usual("k", "m"), Some(Money::from_picos(7)));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_goes_first() {
        let mut recent = Recent::default();
        for pair in 0..MAX_PAIRS + 10 {
            for _ in 0..LEAST_CALLS {
                recent.add("k", &pair.to_string(), Money::from_picos(1));
            }
            assert!(recent.pairs <= MAX_PAIRS);
        }
        assert!(recent.usual("k", "0").is_none());
        assert!(recent.usual("k", &(MAX_PAIRS + 9).to_string()).is_some());
    }

    #[test]
    fn a_mean_is_that_of_the_calls_it_holds() {
        let mut costs = Costs::default();
        assert_eq!(costs.mean(), None);
        for cost in 0..=CALLS {
            costs.add(Money::from_picos(i64::try_from(cost).unwrap()));
        }
        // 1 to CALLS are left.
        assert_eq!(costs.mean(), Some(Money::from_picos(i64::try_from(CALLS.div_ceil(2)).unwrap())));
    }
}
