//! What OpenRouter counted for a key on a UTC day, beside what the ledger holds of it.
//!
//! A difference means calls that did not pass through here, or were not captured. It is told only where nothing on our
//! side can explain it: rows whose cost is not known yet, calls that ran over midnight, cents.

use super::money::Money;
use super::time::{DAY_MS, Timestamp};

/// Differences up to this are not told: a cent, for amounts that either side still corrects.
pub const TOLERANCE: Money = Money::from_picos(10_000_000_000);

/// How long before midnight a call may begin that ends after it, in milliseconds: an hour.
pub const OVER_MIDNIGHT_MS: i64 = 60 * 60 * 1000;

/// The start of the UTC day that holds `at`.
pub const fn day_of(at: Timestamp) -> Timestamp {
    Timestamp(at.millis() - at.millis().rem_euclid(DAY_MS))
}

/// One key, one UTC day, both sums; both of what OpenRouter charges, without what providers charge (BYOK).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDay {
    /// The key's configured name.
    pub key_name: String,
    /// The key's SHA-256 in hex.
    pub key_sha256: String,
    /// Start of the day.
    pub day: Timestamp,
    /// Charged by the ledger's rows: settled, else inline.
    pub ours: Money,
    /// What OpenRouter says (`usage_daily`).
    pub theirs: Money,
    /// Rows of the day whose cost is unknown.
    pub unknown: i64,
    /// What the catalogue's prices make of those that can be estimated.
    pub estimate: Money,
    /// Those that can not be estimated, and calls still under way.
    pub waiting: i64,
    /// The dearest row of the day: what one that waits may cost.
    pub dearest: Money,
    /// Charged by rows of the day before that ended on this one, which OpenRouter may count here.
    pub over_midnight: Money,
    /// When both were read.
    pub as_of: Timestamp,
}

/// What a comparison tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is missing here.
    Agrees,
    /// OpenRouter counted this much more; rows that wait for their cost may be it.
    Open(Money),
    /// OpenRouter counted this much more than anything here explains.
    Elsewhere(Money),
}

impl KeyDay {
    /// What OpenRouter counted beyond our rows, their estimates and what ran over midnight; may be negative.
    pub fn unexplained(&self) -> Money {
        let ours = self.ours.saturating_add(self.estimate).saturating_add(self.over_midnight);
        self.theirs.saturating_add(-ours)
    }

    /// What the comparison tells.
    pub fn verdict(&self) -> Verdict {
        let left = self.unexplained();
        if left <= TOLERANCE {
            return Verdict::Agrees;
        }
        let may_cost = self.dearest.picos().max(0).saturating_mul(self.waiting);
        let nothing_to_judge_by = self.dearest <= Money::ZERO;
        if self.waiting > 0 && (nothing_to_judge_by || left.picos() <= may_cost.saturating_add(TOLERANCE.picos())) {
            return Verdict::Open(left);
        }
        Verdict::Elsewhere(left)
    }
}

/// What the account holds, as its management key was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    /// Credits ever bought.
    pub credits: Money,
    /// Credits ever used.
    pub usage: Money,
    /// When this was read.
    pub as_of: Timestamp,
}

impl Balance {
    /// What is left; negative where more was used than bought.
    pub fn left(&self) -> Money {
        self.credits.saturating_add(-self.usage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(ours: &str, theirs: &str) -> KeyDay {
        let money = |text| Money::parse(text).unwrap();
        KeyDay {
            key_name: "default".to_owned(),
            key_sha256: "00".to_owned(),
            day: Timestamp(0),
            ours: money(ours),
            theirs: money(theirs),
            unknown: 0,
            estimate: Money::ZERO,
            waiting: 0,
            dearest: money("0.5"),
            over_midnight: Money::ZERO,
            as_of: Timestamp(1),
        }
    }

    #[test]
    fn only_what_nothing_here_explains_is_elsewhere() {
        let money = |text| Money::parse(text).unwrap();
        assert_eq!(day("1", "1.01").verdict(), Verdict::Agrees);
        assert_eq!(day("1", "0.2").verdict(), Verdict::Agrees, "they lag behind");
        assert_eq!(day("1", "1.011").verdict(), Verdict::Elsewhere(money("0.011")));
        let estimated = KeyDay { unknown: 1, estimate: money("0.4"), ..day("1", "1.4") };
        assert_eq!(estimated.verdict(), Verdict::Agrees);
        let over = KeyDay { over_midnight: money("0.4"), ..day("1", "1.4") };
        assert_eq!(over.verdict(), Verdict::Agrees);
        let waiting = KeyDay { unknown: 1, waiting: 1, ..day("1", "1.5") };
        assert_eq!(waiting.verdict(), Verdict::Open(money("0.5")));
        let too_much = KeyDay { unknown: 1, waiting: 1, ..day("1", "3") };
        assert_eq!(too_much.verdict(), Verdict::Elsewhere(money("2")), "no row of the day was that dear");
        let first = KeyDay { unknown: 1, waiting: 1, dearest: Money::ZERO, ..day("0", "3") };
        assert_eq!(first.verdict(), Verdict::Open(money("3")));
    }

    #[test]
    fn days_are_utc() {
        let noon = Timestamp::parse("2026-11-19T12:00:00+02:00").unwrap();
        assert_eq!(day_of(noon).to_iso(), "2026-11-19T00:00:00.000Z");
        assert_eq!(day_of(Timestamp(-1)), Timestamp(-DAY_MS));
    }
}
