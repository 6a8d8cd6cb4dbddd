//! How measured values spread: percentiles of many, whatever told them.
//!
//! Values are kept by a representative near to them, so that a spread stays small and two of them can be put together;
//! how near is [`MOST_ERROR_PERCENT`].

use std::collections::BTreeMap;

/// How far a percentile may lie from the true one, in percent.
pub const MOST_ERROR_PERCENT: i64 = 5;

/// Values and how often each was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    counts: BTreeMap<i64, i64>,
}

impl Spread {
    /// Notes `count` values near `value`; fewer than one changes nothing.
    pub fn add(&mut self, value: i64, count: i64) {
        if count > 0 {
            let known = self.counts.entry(value).or_default();
            *known = known.saturating_add(count);
        }
    }

    /// Takes over all values of another.
    pub fn merge(&mut self, other: &Self) {
        for (value, count) in &other.counts {
            self.add(*value, *count);
        }
    }

    /// How many values there are.
    pub fn count(&self) -> i64 {
        self.counts.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The value that `percent` of all do not exceed (nearest rank); `None` where there is none.
    pub fn percentile(&self, percent: u8) -> Option<i64> {
        let rank = (i128::from(self.count()) * i128::from(percent.min(100)) + 99) / 100;
        let mut seen = 0;
        self.counts.iter().find_map(|(value, count)| {
            seen += i128::from(*count);
            (seen >= rank.max(1)).then_some(*value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_nearest_rank() {
        let mut spread = Spread::default();
        assert_eq!((spread.count(), spread.percentile(50)), (0, None));
        for value in 1..=100 {
            spread.add(value, 1);
        }
        assert_eq!(
            [50, 95, 99, 1, 0, 100].map(|percent| spread.percentile(percent)),
            [50, 95, 99, 1, 1, 100].map(Some)
        );
        let mut one = Spread::default();
        one.add(7, 3);
        one.add(8, 0);
        assert_eq!((one.count(), one.percentile(99)), (3, Some(7)));
    }

    #[test]
    fn what_is_put_together_is_as_if_seen_together() {
        let (mut low, mut high, mut all) = (Spread::default(), Spread::default(), Spread::default());
        for value in 0..40 {
            if value % 3 == 0 { &mut low } else { &mut high }.add(value, value);
            all.add(value, value);
        }
        low.merge(&high);
        assert_eq!(low, all);
    }
}
