//! Spend that is unusual without any budget: an hour far above what its hour of the week costs, and a new steady spender.
//!
//! What is usual is the median of the same hour of the week in the weeks before; how far hours stray from it is
//! their median distance (MAD). Neither is moved by the odd burst. Statistics, not amounts: inside they are floats.

use super::forecast::HOUR_MS;
use super::money::{Money, PICOS_PER_USD, Total};
use super::time::{DAY_MS, Timestamp};

/// Weeks that tell what is usual.
pub const WEEKS: i64 = 8;

/// How much must be known of all spend before anything is called unusual, in milliseconds: two weeks.
pub const KNOWN_MS: i64 = 14 * DAY_MS;

/// Whole hours, counted back from the last one, that are judged: costs come in late, and a daemon may have been off.
pub const JUDGED_HOURS: usize = 3;

/// How long a spender is new, in hours.
const NEW_FOR: usize = 7 * 24;

/// Of the last day's hours, in how many a new spender must have spent to be called steady.
const STEADY_HOURS: usize = 12;

/// Values that the median needs: two weeks of an hour.
const LEAST_VALUES: usize = 2;

/// A MAD times this is about a standard deviation, where hours stray as they do by chance.
const MAD_TO_SPREAD: f64 = 1.4826;

/// The least spread, beside the usual: an hour that always costs the same may cost a quarter more.
const LEAST_SPREAD: f64 = 0.25;

const WEEK_HOURS: usize = 168;

/// How far above the usual an hour must lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sensitivity {
    /// 16 spreads: five times the usual hour, where hours stray little.
    Low,
    /// 8 spreads: three times.
    Normal,
    /// 4 spreads: twice.
    High,
}

impl Sensitivity {
    const fn spreads(self) -> f64 {
        match self {
            Self::Low => 16.0,
            Self::Normal => 8.0,
            Self::High => 4.0,
        }
    }
}

/// What is called unusual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// How far above the usual.
    pub sensitivity: Sensitivity,
    /// What an hour, or a new spender's day, must cost to be worth a word.
    pub least: Money,
}

/// What kind of unusual; the text is that of `spike_history.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpikeKind {
    /// An hour far above its usual.
    Spike,
    /// Somebody who spent nothing before spends steadily.
    SlowBurn,
}

impl SpikeKind {
    /// The text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spike => "spike",
            Self::SlowBurn => "slow_burn",
        }
    }

    /// Reads that text.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Spike, Self::SlowBurn].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Something unusual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind.
    pub kind: SpikeKind,
    /// The first instant of the hour, or of a new spender's spend.
    pub since: Timestamp,
    /// The first instant after what was looked at.
    pub until: Timestamp,
    /// What was spent: in the hour, or in a new spender's last day.
    pub cost: Total,
    /// What is usual for it; nothing for a new spender.
    pub usual: Total,
}

/// What is unusual about one spender at `until`, the end of the last whole hour.
///
/// `hours` are what it spent in each hour that ends at `until` or whole hours before it, by the hour's start; `known_since`
/// is when the ledger's own spend begins. Of the judged hours only the dearest is told.
pub fn findings(hours: &[(Timestamp, Total)], until: Timestamp, known_since: Timestamp, rule: Rule) -> Vec<Finding> {
    if until.millis() - known_since.millis() < KNOWN_MS {
        return Vec::new();
    }
    let spend = Spend::of(hours, until, known_since);
    let spike = (0..JUDGED_HOURS.min(spend.0.len())).filter_map(|back| spend.spike(back, until, rule));
    let dearest = spike.max_by_key(|finding| finding.cost);
    dearest.into_iter().chain(spend.slow_burn(until, rule)).collect()
}

/// Dollars by the hour, place 0 the last one; as far back as the ledger knows, at most [`WEEKS`] and the judged hours.
struct Spend(Vec<Total>);

impl Spend {
    fn of(hours: &[(Timestamp, Total)], until: Timestamp, known_since: Timestamp) -> Self {
        let most = (WEEKS + 1) * 7 * 24;
        let known = ((until.millis() - known_since.millis()) / HOUR_MS).min(most);
        let mut spend = vec![Total::ZERO; usize::try_from(known).unwrap_or(0)];
        for (start, cost) in hours {
            let back = (until.millis() - start.millis() - 1).div_euclid(HOUR_MS);
            if let Some(hour) = usize::try_from(back).ok().and_then(|back| spend.get_mut(back)) {
                *hour += *cost;
            }
        }
        Self(spend)
    }

    fn spike(&self, back: usize, until: Timestamp, rule: Rule) -> Option<Finding> {
        let cost = self.0[back];
        if cost < Total::from(rule.least) {
            return None;
        }
        let weeks = usize::try_from(WEEKS).unwrap_or(0);
        let same: Vec<f64> = (1..=weeks)
            .map(|week| back + week * WEEK_HOURS)
            .filter_map(|place| self.0.get(place).copied().map(dollars))
            .collect();
        // What an hour costs in which something is spent: in an hour that is idle as a rule, one like it is no wonder.
        let busy: Vec<f64> = self.0.iter().skip(JUDGED_HOURS).map(|cost| dollars(*cost)).filter(|c| *c > 0.0).collect();
        if same.len() < LEAST_VALUES || busy.is_empty() {
            return None;
        }
        let usual = median(same.clone());
        let strays = median(same.iter().map(|value| (value - usual).abs()).collect());
        let spread = (MAD_TO_SPREAD * strays).max(LEAST_SPREAD * usual).max(LEAST_SPREAD * median(busy));
        (dollars(cost) > usual + rule.sensitivity.spreads() * spread).then(|| {
            let hours = i64::try_from(back).unwrap_or(0);
            Finding {
                kind: SpikeKind::Spike,
                since: until.plus_millis(-(hours + 1) * HOUR_MS),
                until: until.plus_millis(-hours * HOUR_MS),
                cost,
                usual: total(usual),
            }
        })
    }

    fn slow_burn(&self, until: Timestamp, rule: Rule) -> Option<Finding> {
        let first = self.0.iter().rposition(|cost| *cost > Total::ZERO)?;
        let day = &self.0[..self.0.len().min(24)];
        let cost: Total = day.iter().copied().sum();
        let busy = day.iter().filter(|cost| **cost > Total::ZERO).count();
        let dearest = day.iter().copied().max().unwrap_or(Total::ZERO);
        let is_steady = busy >= STEADY_HOURS && dearest.picos() * 2 <= cost.picos();
        (first < NEW_FOR && is_steady && cost >= Total::from(rule.least)).then(|| Finding {
            kind: SpikeKind::SlowBurn,
            since: until.plus_millis(-(i64::try_from(first).unwrap_or(0) + 1) * HOUR_MS),
            until,
            cost,
            usual: Total::ZERO,
        })
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

#[expect(clippy::cast_precision_loss, reason = "statistics; a usual hour is no amount")]
fn dollars(total: Total) -> f64 {
    total.picos() as f64 / PICOS_PER_USD as f64
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "statistics; a usual hour is no amount"
)]
fn total(dollars: f64) -> Total {
    Total::from_picos((dollars * PICOS_PER_USD as f64) as i128)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wednesday, 18 November 2026, 15:00 UTC.
    const UNTIL: Timestamp = Timestamp(1_795_014_000_000);

    const RULE: Rule = Rule { sensitivity: Sensitivity::Normal, least: Money::from_picos(PICOS_PER_USD) };

    fn cents(cents: i64) -> Total {
        Total::from_picos(i128::from(cents) * 10_000_000_000)
    }

    /// Spend in cents by hours back from the last.
    fn spend(weeks: i64, cost: impl Fn(i64) -> i64) -> Vec<(Timestamp, Total)> {
        (0..weeks * 168).map(|back| (UNTIL.plus_millis(-(back + 1) * HOUR_MS), cents(cost(back)))).collect()
    }

    fn found(hours: &[(Timestamp, Total)], rule: Rule) -> Vec<(SpikeKind, Total)> {
        let known = UNTIL.plus_millis(-8 * 7 * DAY_MS);
        findings(hours, UNTIL, known, rule).into_iter().map(|finding| (finding.kind, finding.cost)).collect()
    }

    /// $1 to $1.50 an hour from 9 to 17, nothing else.
    fn office(back: i64) -> i64 {
        if (0..6).contains(&(back % 24)) { 100 + (back * 37 + back / 24 * 11) % 50 } else { 0 }
    }

    #[test]
    fn an_hour_far_above_its_own_is_told_and_a_good_one_is_not() {
        let with = |last: i64| spend(8, |back| if back == 0 { last } else { office(back) });
        assert_eq!(found(&with(150), RULE), []);
        assert_eq!(found(&with(280), RULE), []);
        assert_eq!(found(&with(500), RULE), [(SpikeKind::Spike, cents(500))]);
        let rule = |sensitivity| Rule { sensitivity, ..RULE };
        assert_eq!(found(&with(500), rule(Sensitivity::Low)), []);
        assert_eq!(found(&with(280), rule(Sensitivity::High)), [(SpikeKind::Spike, cents(280))]);
        assert_eq!(found(&with(500), Rule { least: Money::from_usd(6).unwrap(), ..RULE }), [], "not worth a word");
        let told = findings(&with(500), UNTIL, Timestamp(0), RULE)[0];
        assert_eq!((told.since, told.until), (UNTIL.plus_millis(-HOUR_MS), UNTIL));
        assert!((cents(100)..=cents(150)).contains(&told.usual), "{told:?}");
    }

    #[test]
    fn the_hour_of_the_week_is_what_counts() {
        // A job that costs $20 every Wednesday from 14:00 to 15:00.
        let job = |back: i64| if back % 168 == 0 { 2_000 } else { office(back) };
        assert_eq!(found(&spend(8, job), RULE), []);
        // The same on another day is told; so is work in an hour that is idle, if it is more than such work is.
        let moved = spend(8, |back| if back == 1 { 2_000 } else { office(back) });
        assert_eq!(found(&moved, RULE), [(SpikeKind::Spike, cents(2_000))]);
        let idle = |cost: i64| spend(8, move |back| if back == 0 { cost } else { office(back + 12) });
        assert_eq!(found(&idle(200), RULE), []);
        assert_eq!(found(&idle(300), RULE), [(SpikeKind::Spike, cents(300))]);
    }

    #[test]
    fn one_burst_before_hides_none_now() {
        let hours = spend(8, |back| if back == 0 || back == 336 { 900 } else { office(back) });
        assert_eq!(found(&hours, RULE), [(SpikeKind::Spike, cents(900))]);
    }

    #[test]
    fn a_new_steady_spender_is_told_and_a_single_job_is_not() {
        let since = |first: i64, cost: i64| spend(8, move |back| if back < first { cost } else { 0 });
        assert_eq!(found(&since(30, 10), RULE), [(SpikeKind::SlowBurn, cents(240))]);
        assert_eq!(found(&since(30, 4), RULE), [], "under a dollar a day");
        assert_eq!(found(&since(200, 10), RULE), [], "no longer new");
        assert_eq!(found(&since(5, 90), RULE), [], "not for long enough");
        let at = findings(&since(30, 10), UNTIL, Timestamp(0), RULE)[0].since;
        assert_eq!(at, UNTIL.plus_millis(-30 * HOUR_MS));
    }

    #[test]
    fn a_young_ledger_calls_nothing_unusual() {
        let hours = spend(1, |back| if back == 0 { 90_000 } else { 10 });
        assert_eq!(findings(&hours, UNTIL, UNTIL.plus_millis(-KNOWN_MS + 1), RULE), []);
    }
}
