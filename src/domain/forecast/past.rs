//! What the last weeks tell: the hours' profile, and days of spend beside what was expected of them.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    reason = "statistics of bounded counts and spend; a forecast is no amount"
)]

use chrono::{Datelike as _, Timelike as _};
use chrono_tz::Tz;

use super::{Basis, HOUR_MS, LOOKS_BACK_DAYS, WEEKS_FOR_PROFILE};
use crate::domain::money::{PICOS_PER_USD, Total};
use crate::domain::time::Timestamp;
use crate::domain::zone;

/// Hours of a day and of a week.
pub(super) const DAY: usize = 24;
pub(super) const WEEK: usize = 168;

/// A week weighs in the profile only with over this part of the middle week's spend: an idle one has no shape.
const IDLE_WEEK: f64 = 0.05;

/// Days that show which hours of a day cost more than others.
const DAYS_FOR_HOURS: usize = 3;

/// The part of a day that is held to be even, while only days are known.
const EVEN: f64 = 0.1;

/// Weeks of single hours that weigh as much as the shape made of days and hours apart.
const SINGLE_HOURS: f64 = 4.0;

/// Spend by the hour, counted back from an instant; place 0 is the last hour. In dollars.
#[derive(Clone, Debug)]
pub(super) struct Past {
    at: Timestamp,
    zone: Tz,
    /// Since the first hour with spend.
    hours: Vec<f64>,
    /// Hour of the week of each.
    cells: Vec<usize>,
    /// Spend of a cell in each week, scaled to a mean of 1; empty for a run rate.
    weeks: Vec<Option<[f64; WEEK]>>,
    /// The profile of all weeks; 1 everywhere for a run rate.
    profile: [f64; WEEK],
}

impl Past {
    /// `None` where nothing was spent.
    pub(super) fn of(at: Timestamp, zone: Tz, hours: &[(Timestamp, Total)]) -> Option<Self> {
        let mut spend = vec![0.0; LOOKS_BACK_DAYS * DAY];
        for (start, cost) in hours {
            let back = (at.millis() - start.millis() - 1).div_euclid(HOUR_MS);
            if let Some(hour) = usize::try_from(back).ok().and_then(|back| spend.get_mut(back)) {
                *hour += dollars(*cost);
            }
        }
        // Corrections may leave an hour below nothing.
        for hour in &mut spend {
            *hour = hour.max(0.0);
        }
        let known = spend.iter().rposition(|cost| *cost > 0.0)? + 1;
        spend.truncate(known);
        let cells = (0..known).map(|back| cell(at, zone, -1 - back as i64)).collect();
        let mut past = Self { at, zone, hours: spend, cells, weeks: Vec::new(), profile: [1.0; WEEK] };
        past.learn();
        Some(past)
    }

    /// How far back spend is known, in milliseconds.
    pub(super) fn known_ms(&self) -> i64 {
        self.hours.len() as i64 * HOUR_MS
    }

    /// Whole days known.
    pub(super) fn days(&self) -> usize {
        self.hours.len() / DAY
    }

    pub(super) fn basis(&self) -> Basis {
        match self.weeks.iter().flatten().count() {
            0 => Basis::RunRate { days: self.days() },
            weeks => Basis::Profile { weeks },
        }
    }

    pub(super) fn has_profile(&self) -> bool {
        !self.weeks.is_empty()
    }

    /// What the hour `ahead` (0 is the next) costs beside the mean of all hours.
    pub(super) fn shape_ahead(&self, ahead: usize) -> f64 {
        self.profile[cell(self.at, self.zone, ahead as i64)]
    }

    /// Spend of the hour `back`, and what the profile of the *other* weeks makes of it.
    pub(super) fn hour(&self, back: usize, without: &[[f64; WEEK]]) -> (f64, f64) {
        let shape = without.get(back / WEEK).unwrap_or(&self.profile);
        (self.hours[back], shape[self.cells[back]])
    }

    /// For each week the profile of all others: what a forecast made without it would have known.
    pub(super) fn without_each(&self) -> Vec<[f64; WEEK]> {
        (0..self.weeks.len()).map(|left_out| profile(&self.weeks, Some(left_out)).unwrap_or(self.profile)).collect()
    }

    fn learn(&mut self) {
        let whole = self.hours.len() / WEEK;
        if whole < WEEKS_FOR_PROFILE {
            self.learn_days();
            return;
        }
        let sums: Vec<f64> = self.hours.chunks_exact(WEEK).map(|week| week.iter().sum()).collect();
        let middle = median(sums.clone());
        let weeks: Vec<Option<[f64; WEEK]>> = (0..whole)
            .map(|week| {
                (sums[week] > 0.0 && sums[week] > middle * IDLE_WEEK).then(|| {
                    let mut shape = [0.0; WEEK];
                    for place in week * WEEK..(week + 1) * WEEK {
                        shape[self.cells[place]] += self.hours[place] * WEEK as f64 / sums[week];
                    }
                    shape
                })
            })
            .collect();
        if weeks.iter().flatten().count() < WEEKS_FOR_PROFILE {
            return;
        }
        if let Some(shape) = profile(&weeks, None) {
            self.profile = shape;
            self.weeks = weeks;
        }
    }

    /// A run rate still knows the hours of the day, once it has seen a few.
    fn learn_days(&mut self) {
        let days = self.hours.len() / DAY;
        if days < DAYS_FOR_HOURS {
            return;
        }
        let mut of_day = [EVEN; DAY];
        let all: f64 = self.hours[..days * DAY].iter().sum();
        for place in 0..days * DAY {
            of_day[self.cells[place] % DAY] +=
                (1.0 - EVEN) * self.hours[place] * DAY as f64 / all.max(f64::MIN_POSITIVE);
        }
        for (place, value) in self.profile.iter_mut().enumerate() {
            *value = of_day[place % DAY];
        }
    }
}

/// The hour of the week that the zone's clock shows in the middle of the hour `ahead` of `at`.
fn cell(at: Timestamp, zone: Tz, ahead: i64) -> usize {
    let local = zone::local_time(zone, at.plus_millis(ahead * HOUR_MS + HOUR_MS / 2));
    local.weekday().num_days_from_monday() as usize * DAY + local.hour() as usize
}

/// The profile of all weeks but `left_out`, with a mean of 1. Days of the week differ by as much as they do beyond chance.
fn profile(weeks: &[Option<[f64; WEEK]>], left_out: Option<usize>) -> Option<[f64; WEEK]> {
    let used: Vec<&[f64; WEEK]> = weeks
        .iter()
        .enumerate()
        .filter(|(place, _)| Some(*place) != left_out)
        .filter_map(|(_, w)| w.as_ref())
        .collect();
    if used.is_empty() {
        return None;
    }
    let count = used.len() as f64;
    let days = day_factors(&used);
    // The shape of a day, from all days; and every single hour, the more the more weeks there are.
    let mut of_day = [0.0; DAY];
    let mut single = [0.0; WEEK];
    for week in &used {
        for (place, value) in week.iter().enumerate() {
            single[place] += value / count;
            of_day[place % DAY] += value / (count * 7.0);
        }
    }
    let trust = count / (count + SINGLE_HOURS);
    let mut shape = [0.0; WEEK];
    for place in 0..WEEK {
        let apart = days[place / DAY] * of_day[place % DAY];
        shape[place] = trust * single[place] + (1.0 - trust) * apart;
    }
    let mean = shape.iter().sum::<f64>() / WEEK as f64;
    if mean > 0.0 {
        for value in &mut shape {
            *value /= mean;
        }
    }
    Some(shape)
}

/// What each day of the week costs beside the mean day, drawn towards 1 by what chance alone makes of few weeks.
fn day_factors(weeks: &[&[f64; WEEK]]) -> [f64; 7] {
    let count = weeks.len() as f64;
    let day_of = |week: &[f64; WEEK], day: usize| week[day * DAY..(day + 1) * DAY].iter().sum::<f64>() / DAY as f64;
    let mut means = [0.0; 7];
    let mut within = 0.0;
    for (day, mean) in means.iter_mut().enumerate() {
        let values: Vec<f64> = weeks.iter().map(|week| day_of(week, day)).collect();
        *mean = values.iter().sum::<f64>() / count;
        within += values.iter().map(|value| (value - *mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0) / 7.0;
    }
    let mean = means.iter().sum::<f64>() / 7.0;
    let spread = means.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 6.0;
    let by_chance = if weeks.len() > 1 { within / count } else { spread / 2.0 };
    let real = if spread > 0.0 { (1.0 - by_chance / spread).clamp(0.0, 1.0) } else { 0.0 };
    means.map(|value| mean + real * (value - mean))
}

fn dollars(total: Total) -> f64 {
    total.picos() as f64 / PICOS_PER_USD as f64
}

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}
