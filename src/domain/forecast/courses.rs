//! The future, played many times with the errors of the past.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "statistics of bounded counts and spend; a forecast is no amount"
)]

use super::past::{DAY, Past, median};
use super::{COURSES, HOUR_MS};
use crate::domain::money::{PICOS_PER_USD, Total};

/// How much of a day's error the level may take over; the one that would have served best is used.
const PACES: [f64; 5] = [0.05, 0.1, 0.2, 0.35, 0.5];

/// No single day moves the level as if it were above this many times what was expected: a burst is not a new level.
const BURST: f64 = 3.0;

/// How an error grows with what was expected of a day: 1 would be in proportion, 0 the same on a weekend.
const GROWS: f64 = 0.75;

/// The part of errors that is followed by the error of the day after, as it was.
const GOES_ON: f64 = 0.7;

/// The errors that stand for what few days have not shown, in parts of the level.
const STOCK: [f64; 6] = [-0.7, -0.4, -0.15, 0.15, 0.4, 0.8];

/// Days from which on the stock is left out.
const DAYS_WITHOUT_STOCK: usize = 21;

/// The least a level is, beside the mean of all that is known: from nothing there is no way up.
const LEAST_LEVEL: f64 = 0.05;

/// The most a level becomes in a course, beside the highest of the past: bursts on bursts are no way to infinity.
const HIGHEST: f64 = 2.5;

/// The least level that an error is measured in, beside the same mean: by a level near nothing every error is boundless.
const LEAST_MEASURE: f64 = 0.25;

/// The courses: what each spends from now to the window's end.
#[derive(Clone, Debug)]
pub(super) struct Courses {
    /// Spend of each at its end, in dollars, in order.
    ends: Vec<f64>,
    /// Spend of each after each day (the last may be a part of one).
    days: Vec<Vec<f64>>,
    /// How each day's expected spend gathers over its hours, in parts of the day.
    gathers: Vec<Vec<f64>>,
    /// Milliseconds of the whole.
    ahead_ms: i64,
}

/// A past day: what was expected of it, and what came; and the same of its first hours, as many as the last day ahead has.
#[derive(Clone, Copy, Debug, Default)]
struct Day {
    came: f64,
    expected: f64,
    part_came: f64,
    part_expected: f64,
}

/// How far a past day was off, in parts of the level at that time.
#[derive(Clone, Copy, Debug)]
struct Miss {
    whole: f64,
    part: f64,
}

/// What the past days leave behind.
struct Learnt {
    pace: f64,
    level: f64,
    least: f64,
    most: f64,
    measure: f64,
    misses: Vec<Miss>,
    drift: f64,
    unsure: f64,
}

impl Courses {
    pub(super) fn play(past: &Past, ahead_ms: i64) -> Self {
        let hours = ahead_hours(past, ahead_ms);
        let last_part = match ahead_ms % (DAY as i64 * HOUR_MS) {
            0 => DAY as f64,
            rest => rest as f64 / HOUR_MS as f64,
        };
        let days = past_days(past, last_part);
        let learnt = learn(&days, past.has_profile());
        let expected: Vec<f64> = hours.chunks(DAY).map(|day| day.iter().sum()).collect();
        let gathers = hours.chunks(DAY).map(gathered).collect();
        let mut dice = Dice(0x7a11_7d00);
        let mut courses: Vec<Vec<f64>> = (0..COURSES).map(|_| course(&learnt, &expected, &mut dice)).collect();
        courses.sort_by(|a, b| end_of(a).total_cmp(&end_of(b)));
        let ends = courses.iter().map(|course| end_of(course)).collect();
        Self { ends, days: courses, gathers, ahead_ms }
    }

    /// The end of the course that this part of all courses stays below.
    pub(super) fn end(&self, part: f64) -> Total {
        let place = part * (self.ends.len().saturating_sub(1)) as f64;
        let below = self.ends[place.floor() as usize];
        let above = self.ends[place.ceil() as usize];
        total(below + (above - below) * place.fract())
    }

    /// How many of a hundred courses spend `amount` or more.
    pub(super) fn chance_of(&self, amount: Total) -> u32 {
        let reaching = self.ends.iter().filter(|end| total(**end) >= amount).count();
        (reaching * 100 / self.ends.len().max(1)) as u32
    }

    /// After how many milliseconds one in ten, half, and nine in ten of all courses have spent `amount`.
    pub(super) fn reach(&self, amount: Total) -> [Option<i64>; 3] {
        let mut after: Vec<i64> = self.days.iter().filter_map(|course| self.reach_of(course, amount)).collect();
        after.sort_unstable();
        [1, 5, 9].map(|tenths| after.get((self.days.len() * tenths).div_ceil(10).saturating_sub(1)).copied())
    }

    fn reach_of(&self, course: &[f64], amount: Total) -> Option<i64> {
        let day = course.iter().position(|spent| total(*spent) >= amount)?;
        let before = if day == 0 { 0.0 } else { course[day - 1] };
        let of_day = (dollars(amount) - before) / (course[day] - before).max(f64::MIN_POSITIVE);
        let gathers = &self.gathers[day];
        let hour = gathers.iter().position(|part| *part >= of_day).unwrap_or(gathers.len().saturating_sub(1));
        let whole = (day * DAY + hour + 1) as i64 * HOUR_MS;
        Some(whole.min(self.ahead_ms))
    }
}

/// What the profile makes of each hour to come; the last may be a part of one.
fn ahead_hours(past: &Past, ahead_ms: i64) -> Vec<f64> {
    let count = ahead_ms.div_euclid(HOUR_MS) as usize;
    let mut hours: Vec<f64> = (0..count).map(|ahead| past.shape_ahead(ahead)).collect();
    let rest = ahead_ms.rem_euclid(HOUR_MS) as f64 / HOUR_MS as f64;
    if rest > 0.0 {
        hours.push(past.shape_ahead(count) * rest);
    }
    hours
}

/// The whole past days, oldest first, as they were and as they were expected.
fn past_days(past: &Past, part_hours: f64) -> Vec<Day> {
    let without = past.without_each();
    (0..past.days())
        .rev()
        .map(|day| {
            let mut sum = Day::default();
            for hour in 0..DAY {
                let (came, expected) = past.hour((day + 1) * DAY - 1 - hour, &without);
                let counts = (part_hours - hour as f64).clamp(0.0, 1.0);
                sum.came += came;
                sum.expected += expected;
                sum.part_came += came * counts;
                sum.part_expected += expected * counts;
            }
            sum
        })
        .collect()
}

fn learn(days: &[Day], has_profile: bool) -> Learnt {
    let (came, expected) = days.iter().fold((0.0, 0.0), |sum, day| (sum.0 + day.came, sum.1 + day.expected));
    let mean = if expected > 0.0 { came / expected } else { 0.0 };
    let mean_day = expected / days.len().max(1) as f64;
    let least = (mean * LEAST_LEVEL).max(f64::MIN_POSITIVE);
    let first = first_level(days, mean).max(least);
    let measure = (mean * LEAST_MEASURE).max(f64::MIN_POSITIVE);
    let tries = PACES.map(|pace| follow(days, pace, first, (least, measure), mean_day));
    let best = tries.iter().enumerate().min_by(|a, b| badness(&a.1.2).total_cmp(&badness(&b.1.2)));
    let place = best.map_or(0, |(place, _)| place);
    let (level, highest, mut misses) = tries[place].clone();
    let count = misses.len() as f64;
    let mean_miss = misses.iter().map(|miss| miss.whole).sum::<f64>() / count.max(1.0);
    let variance = misses.iter().map(|miss| (miss.whole - mean_miss).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
    let unsure = (variance / count.max(1.0)).sqrt();
    let t2 = if unsure > 0.0 { (mean_miss / unsure).powi(2) } else { 0.0 };
    let drift = mean_miss * t2 / (1.0 + t2);
    for miss in &mut misses {
        miss.whole -= mean_miss;
        miss.part -= mean_miss;
    }
    if !has_profile && misses.len() < DAYS_WITHOUT_STOCK {
        misses.extend(STOCK.map(|miss| Miss { whole: miss, part: miss }));
    }
    Learnt { pace: PACES[place], level, least, most: highest * HIGHEST, measure, misses, drift, unsure }
}

/// The level at the beginning: the middle of the first week's days.
fn first_level(days: &[Day], mean: f64) -> f64 {
    let ratios: Vec<f64> = days.iter().take(7).filter(|day| day.expected > 0.0).map(|d| d.came / d.expected).collect();
    if ratios.is_empty() {
        mean
    } else {
        f64::midpoint(median(ratios.clone()), ratios.iter().sum::<f64>() / ratios.len() as f64)
    }
}

/// Follows the days at a pace; the level at the end, the highest on the way, and how far each day was off.
fn follow(days: &[Day], pace: f64, first: f64, (least, measure): (f64, f64), mean_day: f64) -> (f64, f64, Vec<Miss>) {
    let (mut level, mut highest) = (first, first);
    let mut misses = Vec::with_capacity(days.len());
    for day in days {
        let off = |came: f64, expected: f64| {
            (came - level * expected) / (level.max(measure) * scale(expected, mean_day)).max(f64::MIN_POSITIVE)
        };
        misses.push(Miss { whole: off(day.came, day.expected), part: off(day.part_came, day.part_expected) });
        level = moved(level, pace, day.came, day.expected, mean_day).max(least);
        highest = highest.max(level);
    }
    (level, highest, misses)
}

/// The size of an error, for a day of which this is expected.
fn scale(expected: f64, mean_day: f64) -> f64 {
    if mean_day <= 0.0 { 0.0 } else { mean_day * (expected / mean_day).powf(GROWS) }
}

/// The level after a day.
fn moved(level: f64, pace: f64, came: f64, expected: f64, mean_day: f64) -> f64 {
    if expected <= 0.0 || mean_day <= 0.0 {
        return level;
    }
    let ratio = (came / expected).min(level * BURST);
    level + pace * (expected / mean_day).min(1.0) * (ratio - level)
}

fn badness(misses: &[Miss]) -> f64 {
    misses.iter().map(|miss| miss.whole.clamp(-BURST, BURST).powi(2)).sum()
}

/// One course: what is spent after each day.
fn course(learnt: &Learnt, expected: &[f64], dice: &mut Dice) -> Vec<f64> {
    let mean_day = DAY as f64;
    let shift = learnt.drift + learnt.unsure * dice.bell();
    let mut level = learnt.level;
    let mut spent = 0.0;
    let mut place = dice.below(learnt.misses.len());
    let mut course = Vec::with_capacity(expected.len());
    for (day, expected) in expected.iter().enumerate() {
        place = if dice.part() < GOES_ON { (place + 1) % learnt.misses.len() } else { dice.below(learnt.misses.len()) };
        let is_last = day + 1 == course.capacity();
        let miss = if is_last { learnt.misses[place].part } else { learnt.misses[place].whole };
        let came =
            (level * expected + level.max(learnt.measure) * (miss + shift) * scale(*expected, mean_day)).max(0.0);
        spent += came;
        level = moved(level, learnt.pace, came, *expected, mean_day).clamp(learnt.least, learnt.most.max(learnt.least));
        course.push(spent);
    }
    course
}

/// How a day's spend gathers: the part of it that is spent at the end of each hour.
fn gathered(hours: &[f64]) -> Vec<f64> {
    let all: f64 = hours.iter().sum();
    let mut sum = 0.0;
    hours
        .iter()
        .enumerate()
        .map(|(hour, cost)| {
            sum += cost;
            if all > 0.0 { sum / all } else { (hour + 1) as f64 / hours.len() as f64 }
        })
        .collect()
}

fn end_of(course: &[f64]) -> f64 {
    course.last().copied().unwrap_or(0.0)
}

fn dollars(total: Total) -> f64 {
    total.picos() as f64 / PICOS_PER_USD as f64
}

fn total(dollars: f64) -> Total {
    Total::from_picos((dollars.max(0.0) * PICOS_PER_USD as f64) as i128)
}

/// A fixed sequence of draws (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// From 0 to below 1.
    fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, count: usize) -> usize {
        ((self.part() * count as f64) as usize).min(count.saturating_sub(1))
    }

    /// About normal: mean 0, spread 1.
    fn bell(&mut self) -> f64 {
        (0..12).map(|_| self.part()).sum::<f64>() - 6.0
    }
}
