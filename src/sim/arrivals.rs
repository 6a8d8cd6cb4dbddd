//! When the invented company's calls come.

use super::apps::{APPS, App, Hours};
use super::dice::Dice;
use crate::domain::time::{BUCKET_MS, DAY_MS, Timestamp};

/// Growth of traffic per day.
const GROWTH: f64 = 0.0045;

/// When calls come, and of which program: a walk over 15-minute steps.
pub(super) struct Arrivals {
    at: Timestamp,
    until: Timestamp,
    start: Timestamp,
    dice: Dice,
    /// Per program: calls to make in all, how busy it is over the whole time, and so far; calls made.
    due: Vec<(f64, f64, f64, u64)>,
    /// The calls of this step, newest first.
    step: Vec<(Timestamp, usize)>,
}

impl Arrivals {
    pub(super) fn new(from: Timestamp, until: Timestamp, count: u32) -> Self {
        let shares: u32 = APPS.iter().map(|app| app.share).sum();
        let whole = |hours: Hours| -> f64 {
            let mut sum = 0.0;
            let mut at = from;
            while at < until {
                sum += busy(hours, from, at, until);
                at = at.plus_millis(BUCKET_MS);
            }
            sum
        };
        let mut left = f64::from(count);
        let mut due: Vec<_> = APPS
            .iter()
            .map(|app| {
                let weight = whole(app.hours);
                // A program that never works in so short a time leaves its calls to the first.
                let calls = if weight > 0.0 {
                    (f64::from(count) * f64::from(app.share) / f64::from(shares)).floor()
                } else {
                    0.0
                };
                left -= calls;
                (calls, weight, 0.0, 0)
            })
            .collect();
        // Programs that work at any hour take what rounding left.
        if let Some(always) = APPS.iter().position(|app| matches!(app.hours, Hours::Day { .. })) {
            due[always].0 += left;
        }
        Self { at: from, until, start: from, dice: Dice::new(u64::from(count)), due, step: Vec::new() }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of calls: not negative, far below what an f64 holds exactly"
    )]
    fn fill(&mut self) {
        let length = (self.until.millis() - self.at.millis()).min(BUCKET_MS);
        for (nth, (app, due)) in APPS.iter().zip(&mut self.due).enumerate() {
            due.2 += busy(app.hours, self.start, self.at, self.until);
            if due.1 <= 0.0 {
                continue;
            }
            let by_now = (due.0 * (due.2 / due.1).min(1.0)).round() as u64;
            for _ in due.3..by_now {
                let offset = self.dice.below(u64::try_from(length).unwrap_or(1));
                self.step.push((self.at.plus_millis(i64::try_from(offset).unwrap_or(0)), nth));
            }
            due.3 = due.3.max(by_now);
        }
        self.step.sort_unstable_by(|a, b| b.cmp(a));
        self.at = self.at.plus_millis(BUCKET_MS);
    }
}

impl Iterator for Arrivals {
    type Item = (&'static App, Timestamp);

    fn next(&mut self) -> Option<Self::Item> {
        while self.step.is_empty() && self.at < self.until {
            self.fill();
        }
        self.step.pop().map(|(at, nth)| (&APPS[nth], at))
    }
}

/// How busy a program is in the step at `at`: its hours, the company's growth, and the part of the step there is.
#[expect(clippy::cast_precision_loss, reason = "spans of some months in milliseconds")]
fn busy(hours: Hours, from: Timestamp, at: Timestamp, until: Timestamp) -> f64 {
    let days = (at.millis() - from.millis()) as f64 / DAY_MS as f64;
    let part = (until.millis() - at.millis()).min(BUCKET_MS) as f64 / BUCKET_MS as f64;
    hours.busy(at) * (1.0 + GROWTH * days) * part
}
