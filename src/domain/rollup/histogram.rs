//! How long calls took, counted in bins that grow by a tenth: percentiles of any number of calls, to within 5 %.
//!
//! Bin 0 holds zero, bins up to 10 hold one value each, and each bin after it begins a tenth above the one before. A
//! percentile is told as the value whose relative distance to both ends of its bin is the same: at most
//! (1.1 − 1) / (1.1 + 1) = 4.8 % from the truth. Integers alone, so that every machine counts alike.

use crate::domain::call::{Call, CallState};

/// How far a percentile may lie from the true one, in percent.
pub const MOST_ERROR_PERCENT: i64 = 5;

/// Bins there are; the last holds everything beyond 10¹⁰ too.
const BINS: usize = 256;

/// The least value of each bin.
const EDGES: [i64; BINS] = edges();

const fn edges() -> [i64; BINS] {
    let mut edges = [0; BINS];
    let mut bin = 1;
    while bin < BINS {
        let before: i64 = edges[bin - 1];
        let tenth = before / 10;
        edges[bin] = before + if tenth > 1 { tenth } else { 1 };
        bin += 1;
    }
    edges
}

/// What is measured of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timing {
    /// `latency_ms`: the time to the first token, as OpenRouter reports it, in milliseconds.
    Latency,
    /// `first_byte_ms`: the time to the reply's first byte, as measured here, in milliseconds.
    FirstByte,
    /// Native completion tokens by generation time, in thousandths of a token a second.
    Speed,
}

impl Timing {
    /// All, in the order of their columns.
    pub const ALL: [Timing; 3] = [Self::Latency, Self::FirstByte, Self::Speed];

    /// Its name in questions and URLs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::FirstByte => "first_byte",
            Self::Speed => "speed",
        }
    }

    /// The call's value; `None` where it is not known, below zero, or of a call that failed or is not shown.
    pub fn of(self, call: &Call) -> Option<i64> {
        if matches!(call.state, CallState::Open | CallState::Failed) {
            return None;
        }
        let value = match self {
            Self::Latency => call.facts.latency_ms,
            Self::FirstByte => call.first_byte_ms,
            Self::Speed => Self::speed(call.facts.native_tokens_completion, call.facts.generation_time_ms),
        };
        value.filter(|value| *value >= 0)
    }

    /// Thousandths of a token a second; `None` where there were no tokens or no time, or neither is known.
    pub fn speed(tokens: Option<i64>, ms: Option<i64>) -> Option<i64> {
        let (tokens, ms) = (tokens.filter(|tokens| *tokens > 0)?, ms.filter(|ms| *ms > 0)?);
        tokens.checked_mul(1_000_000).map(|scaled| scaled / ms)
    }
}

/// How many calls fell into each bin: bins in order, none of them empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram(Vec<(u8, i64)>);

impl Histogram {
    /// Counts `value` so many times more, or fewer.
    pub fn count(&mut self, value: i64, times: i64) {
        let bin = EDGES.partition_point(|edge| *edge <= value.max(0)) - 1;
        self.change(u8::try_from(bin).unwrap_or(u8::MAX), times);
    }

    fn change(&mut self, bin: u8, times: i64) {
        if times == 0 {
            return;
        }
        match self.0.binary_search_by_key(&bin, |(bin, _)| *bin) {
            Ok(place) => {
                self.0[place].1 = self.0[place].1.saturating_add(times);
                if self.0[place].1 == 0 {
                    self.0.remove(place);
                }
            }
            Err(place) => self.0.insert(place, (bin, times)),
        }
    }

    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        for (bin, times) in &other.0 {
            self.change(*bin, *times);
        }
    }

    /// Takes `other` away.
    pub fn subtract(&mut self, other: &Self) {
        for (bin, times) in &other.0 {
            self.change(*bin, times.saturating_neg());
        }
    }

    /// Whether nothing is counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many values are counted.
    pub fn values(&self) -> i64 {
        self.0.iter().fold(0, |sum, (_, times)| sum.saturating_add(*times))
    }

    /// The value that `percent` (at most 100) of the values do not exceed, to within 5 %; `None` of none.
    pub fn percentile(&self, percent: u8) -> Option<i64> {
        let values = i128::from(self.values());
        if values <= 0 {
            return None;
        }
        let wanted = (values * i128::from(percent.min(100)) + 99) / 100;
        let mut seen = 0;
        let found = self.0.iter().find(|(_, times)| {
            seen += i128::from(*times);
            seen >= wanted.max(1)
        });
        found.map(|(bin, _)| middle(usize::from(*bin)))
    }

    /// As it is stored: for each bin how far it lies behind the one before, and its count, each in as many bytes as it
    /// takes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * 2);
        let mut before = 0;
        for (bin, times) in &self.0 {
            put(&mut bytes, u64::from(bin - before));
            put(&mut bytes, ((times << 1) ^ (times >> 63)).cast_unsigned());
            before = *bin;
        }
        bytes
    }

    /// Reads [`Histogram::to_bytes`]; `None`: these bytes are not its.
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let mut read = Self(Vec::with_capacity(bytes.len() / 2));
        let mut bin: u8 = 0;
        while !bytes.is_empty() {
            let step = u8::try_from(take(&mut bytes)?).ok()?;
            if step == 0 && !read.0.is_empty() {
                return None;
            }
            bin = bin.checked_add(step)?;
            let folded = take(&mut bytes)?;
            let times = (folded >> 1).cast_signed() ^ -(folded & 1).cast_signed();
            if times == 0 {
                return None;
            }
            read.0.push((bin, times));
        }
        Some(read)
    }
}

/// The value in a bin that is nearest to all others of it, by proportion.
fn middle(bin: usize) -> i64 {
    let least = EDGES[bin];
    let greatest = EDGES.get(bin + 1).map_or(least, |next| next - 1);
    if least == greatest {
        return least;
    }
    let (one, other) = (i128::from(least), i128::from(greatest));
    // Rounded: among small values a whole one is much.
    i64::try_from((4 * one * other + one + other) / (2 * (one + other))).unwrap_or(least)
}

/// Writes a number in as many bytes as it takes.
pub(super) fn put(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

/// Reads what [`put`] wrote.
pub(super) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(first & 0x7f);
        if shift == 63 && part > 1 {
            return None;
        }
        value |= part << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// A histogram of each [`Timing`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timings([Histogram; 3]);

impl Timings {
    /// Counts what is known of the call so many times more, or fewer.
    pub fn count(&mut self, call: &Call, times: i64) {
        for (timing, histogram) in Timing::ALL.into_iter().zip(&mut self.0) {
            if let Some(value) = timing.of(call) {
                histogram.count(value, times);
            }
        }
    }

    /// Adds `other` to one of them.
    pub fn add_to(&mut self, timing: Timing, other: &Histogram) {
        let [latency, first_byte, speed] = &mut self.0;
        let mine = match timing {
            Timing::Latency => latency,
            Timing::FirstByte => first_byte,
            Timing::Speed => speed,
        };
        mine.add(other);
    }

    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            mine.add(theirs);
        }
    }

    /// One of them.
    pub fn of(&self, timing: Timing) -> &Histogram {
        let [latency, first_byte, speed] = &self.0;
        match timing {
            Timing::Latency => latency,
            Timing::FirstByte => first_byte,
            Timing::Speed => speed,
        }
    }

    /// Whether nothing is counted in any.
    pub fn is_nothing(&self) -> bool {
        self.0.iter().all(Histogram::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[i64]) -> Histogram {
        let mut histogram = Histogram::default();
        for value in values {
            histogram.count(*value, 1);
        }
        histogram
    }

    /// The nearest-rank percentile.
    fn exact(values: &[i64], percent: usize) -> i64 {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
    }

    #[test]
    fn bins_grow_by_a_tenth_and_reach_years() {
        assert_eq!(EDGES[..12], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        for pair in EDGES[10..].windows(2) {
            assert!(pair[0] < pair[1] && (pair[1] - 1) * 10 <= pair[0] * 11, "{pair:?}");
        }
        assert!(EDGES[BINS - 1] > 10_000_000_000, "{}", EDGES[BINS - 1]);
    }

    #[test]
    fn few_values_are_told_as_they_are() {
        assert_eq!(of(&[]).percentile(50), None);
        assert_eq!(of(&[0, 0, 3]).percentile(50), Some(0));
        assert_eq!((of(&[7]).percentile(0), of(&[7]).percentile(100)), (Some(7), Some(7)));
        assert_eq!(of(&[i64::MAX]).values(), 1);
    }

    #[test]
    fn a_speed_needs_tokens_and_time() {
        let speed = |tokens, ms| Timing::speed(Some(tokens), Some(ms));
        assert_eq!(speed(300, 6_000), Some(50_000));
        assert_eq!((speed(0, 5), speed(5, 0), speed(i64::MAX, 1)), (None, None, None));
        assert_eq!((Timing::speed(None, Some(5)), Timing::speed(Some(5), None)), (None, None));
    }

    #[test]
    fn bytes_of_something_else_are_refused() {
        for bytes in [&[1][..], &[1, 0], &[1, 2, 0, 2], &[0x80], &[255, 255, 255, 2], &[200, 1, 2, 200, 1, 2]] {
            assert_eq!(Histogram::from_bytes(bytes), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn percentiles_are_within_a_twentieth(
            values in prop::collection::vec(prop_oneof![0_i64..50, 50_i64..5_000, 5_000_i64..10_000_000_000], 1..200),
            percent in prop_oneof![Just(50_u8), Just(95), Just(99), 0..=100_u8],
        ) {
            let told = of(&values).percentile(percent).unwrap();
            let truth = exact(&values, usize::from(percent));
            prop_assert!((told - truth).abs() * 20 <= truth, "{told} for {truth}");
        }

        #[test]
        fn what_is_stored_reads_the_same(values in prop::collection::vec((any::<i64>(), -3_i64..1_000_000), 0..60)) {
            let mut histogram = Histogram::default();
            for (value, times) in &values {
                histogram.count(*value, *times);
            }
            prop_assert_eq!(Histogram::from_bytes(&histogram.to_bytes()), Some(histogram));
        }

        #[test]
        fn what_is_added_can_be_taken_away(
            one in prop::collection::vec(0_i64..100_000, 0..50),
            two in prop::collection::vec(0_i64..100_000, 0..50),
        ) {
            let (mut both, first) = (of(&one), of(&one));
            both.add(&of(&two));
            prop_assert_eq!(both.values(), i64::try_from(one.len() + two.len()).unwrap());
            both.subtract(&of(&two));
            prop_assert_eq!(both, first);
        }
    }
}
