//! Forecasts made at many instants of many series, beside what came and beside the straight line.

use std::ops::Range;

use chrono_tz::Tz;

use super::forecast::{Basis, HOUR_MS, Question, forecast};
use super::generate::{DAYS, Dice, Family, Pattern, series};
use super::{Money, Timestamp, Total, Window, WindowKind};

/// What forecasts of one pattern and window came to.
#[derive(Clone, Debug, Default)]
pub struct Score {
    pub asked: usize,
    pub answered: usize,
    pub covered: usize,
    /// Came out below the band.
    pub below: usize,
    /// Errors in parts of what such a window costs on average: ours, and the straight line's.
    pub ours: Vec<f64>,
    pub straight: Vec<f64>,
    /// Widths of the bands, in the same parts.
    pub widths: Vec<f64>,
    pub profiles: usize,
}

impl Score {
    pub fn coverage(&self) -> f64 {
        self.covered as f64 / self.answered.max(1) as f64
    }

    pub fn add(&mut self, other: &Self) {
        self.asked += other.asked;
        self.answered += other.answered;
        self.covered += other.covered;
        self.below += other.below;
        self.profiles += other.profiles;
        self.ours.extend(&other.ours);
        self.straight.extend(&other.straight);
        self.widths.extend(&other.widths);
    }
}

/// The mean of `values`.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// A Monday in UTC.
pub const MONDAY: Timestamp = Timestamp(1_767_571_200_000);

/// Forecasts `each` times in each of the series `seeds` of a pattern, in windows of a kind.
pub fn score(family: Family, pattern: Pattern, kind: WindowKind, seeds: Range<u64>, each: usize) -> Score {
    let mut score = Score::default();
    for seed in seeds {
        let hours = series(family, pattern, seed);
        let mut dice = Dice::new(seed + 99);
        for _ in 0..each {
            // Somewhere in a window that ends within the series, with 62 days before it.
            let day = dice.between(62.0, (DAYS - 32) as f64);
            let window = kind.window_at(Tz::UTC, MONDAY.plus_millis((day * 24.0) as i64 * HOUR_MS));
            let length = place(window.end.unwrap()) - place(window.start);
            let at = place(window.start) + (length as f64 * dice.between(0.05, 0.95)) as usize;
            // A young one is known for 3 to 12 days.
            let known = if pattern == Pattern::Young { dice.between(72.0, 288.0) as usize } else { at };
            ask(&hours, kind, window, at, at - known, &mut score);
        }
    }
    score
}

/// Forecasts of a month in which spend doubles for good, so many days after it did.
pub fn after_a_step(days: i64, seeds: Range<u64>) -> Score {
    let mut score = Score::default();
    for seed in seeds {
        let mut hours = series(Family::Held, Pattern::Weekly, seed);
        let mut dice = Dice::new(seed + 7);
        let window =
            WindowKind::Month.window_at(Tz::UTC, MONDAY.plus_millis((70 + (seed % 2) as i64 * 20) * 24 * HOUR_MS));
        let step = place(window.start) + 24 * dice.between(8.0, 10.0) as usize;
        for hour in &mut hours[step..] {
            *hour *= 2.0;
        }
        let at = (step as i64 + days * 24 + 12) as usize;
        ask(&hours, WindowKind::Month, window, at, 0, &mut score);
    }
    score
}

/// The hour of the series at which an instant lies.
fn place(at: Timestamp) -> usize {
    ((at.millis() - MONDAY.millis()) / HOUR_MS) as usize
}

/// One forecast at the hour `at` of a series of which nothing before `since` is known.
fn ask(hours: &[f64], kind: WindowKind, window: Window, at: usize, since: usize, score: &mut Score) {
    let (start, end) = (place(window.start), place(window.end.unwrap()));
    let known = |hour: usize| if hour < since { 0.0 } else { hours[hour] };
    let sum = |from: usize, until: usize| (from..until).map(known).sum::<f64>();
    let (spent, came) = (sum(start, at), sum(start, end));
    if came <= 0.0 {
        return;
    }
    let instant = |hour: usize| MONDAY.plus_millis(hour as i64 * HOUR_MS);
    let past: Vec<(Timestamp, Total)> =
        (at.saturating_sub(57 * 24)..at).map(|hour| (instant(hour), usd(known(hour)))).collect();
    score.asked += 1;
    let question = Question { kind, zone: Tz::UTC, window, at: instant(at), spent: usd(spent), hours: &past };
    let Ok(told) = forecast(&question) else { return };
    score.answered += 1;
    score.profiles += usize::from(matches!(told.basis, Basis::Profile { .. }));
    let (low, high, figure) = (dollars(told.low), dollars(told.high), dollars(told.projected));
    score.covered += usize::from((low..=high).contains(&came));
    score.below += usize::from(came < low);
    // In parts of what such a window costs on average, so that a window of nearly nothing does not outweigh all others.
    let usual = hours.iter().sum::<f64>() * (end - start) as f64 / hours.len() as f64;
    let straight = if at > start { spent * (end - start) as f64 / (at - start) as f64 } else { 0.0 };
    score.ours.push((figure - came).abs() / usual);
    score.straight.push((straight - came).abs() / usual);
    score.widths.push((high - low) / usual);
}

fn usd(dollars: f64) -> Total {
    Total::from(Money::from_picos((dollars * 1e12) as i64))
}

fn dollars(total: Total) -> f64 {
    total.picos() as f64 / 1e12
}
