//! Where a window's spend will end: a figure, an 80 % band around it, and when the limit is reached.
//!
//! A forecast is no amount: inside, its statistics are floats. At the doors they are not: what was spent goes in and what
//! will have been spent comes out as integer pico-dollars, and a forecast is never below what is spent already.
//!
//! How it is made. The last weeks give a *profile*, what each hour of the week costs beside the others, and a *level*, how
//! much is spent at present, which follows the days as they come. Profile times level is what the rest of the window
//! would cost. How far such forecasts were off on each of the past days is known, and the future is played
//! [`COURSES`] times with these errors drawn anew, each course moving its level as the errors of its days would have. The
//! figure is the middle course, the band lies between the tenth and the ninetieth of a hundred. With under two weeks the
//! profile is flat, the run rate, and a stock of errors is mixed in that stands for what the few days have not shown.
//! The draws come from a fixed sequence: the same past gives the same forecast.

use chrono_tz::Tz;

use super::money::{Money, Total};
use super::time::{DAY_MS, Timestamp};
use super::window::{Window, WindowKind};

mod courses;
mod past;
mod signal;

use courses::Courses;
use past::Past;
pub use signal::{COUNTS_FROM, FORGETS_BELOW, STEPS_TO_TELL, Signal, signals};

/// How many days are looked back upon.
pub const LOOKS_BACK_DAYS: usize = 56;

/// Courses that are played.
pub const COURSES: usize = 400;

/// Whole weeks that must be known for a profile.
pub const WEEKS_FOR_PROFILE: usize = 2;

/// Times the known past that may be looked ahead.
pub const LOOKS_AHEAD: i64 = 5;

/// An hour in milliseconds.
pub const HOUR_MS: i64 = 60 * 60 * 1000;

/// The least that must be known of the past, in milliseconds: a day, or no night has been seen.
const LEAST_KNOWN_MS: i64 = DAY_MS;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The kind of window; rolling ones and `total` have no end to head for.
    pub kind: WindowKind,
    /// The zone whose clock the week's hours are read from.
    pub zone: Tz,
    /// The window.
    pub window: Window,
    /// The instant from which is forecast: the start of a 15-minute step in the window.
    pub at: Timestamp,
    /// What was spent in the window before `at`.
    pub spent: Total,
    /// What was spent in each hour that ends at `at` or whole hours before it, by the hour's start, in any order; hours
    /// without spend may be missing, those older than [`LOOKS_BACK_DAYS`] are not looked at.
    pub hours: &'a [(Timestamp, Total)],
}

/// What a forecast stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Basis {
    /// The hours of the week, from this many weeks.
    Profile {
        /// Whole weeks known.
        weeks: usize,
    },
    /// The run rate, from this many days.
    RunRate {
        /// Whole days known.
        days: usize,
    },
}

impl Basis {
    /// The text in `budget_forecast.basis`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Profile { .. } => "profile",
            Self::RunRate { .. } => "run_rate",
        }
    }

    /// Reads that text and how many weeks or days are known.
    pub fn parse(text: &str, known: usize) -> Option<Self> {
        [Self::Profile { weeks: known }, Self::RunRate { days: known }].into_iter().find(|basis| basis.as_str() == text)
    }

    /// How many whole weeks or days are known.
    pub const fn known(self) -> usize {
        match self {
            Self::Profile { weeks: known } | Self::RunRate { days: known } => known,
        }
    }
}

/// Why there is no forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NoForecast {
    /// The window never ends, or moves with time.
    #[error("this window has no end to forecast")]
    Endless,
    /// The window has ended, or has not begun.
    #[error("this window does not run now")]
    NotRunning,
    /// Nothing was spent in all that is known.
    #[error("nothing was spent in the last {LOOKS_BACK_DAYS} days")]
    NothingSpent,
    /// The first spend was under a day ago.
    #[error("spend is known for under a day")]
    TooLittle,
    /// The window ends further away than the past can tell.
    #[error("too few days of spend are known for a window that runs so long")]
    TooFar,
}

/// When an amount is reached, in the courses that were played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// One course in ten has reached it by then.
    pub early: Timestamp,
    /// Half of all courses have; `None`: fewer than half do before the window ends.
    pub likely: Option<Timestamp>,
    /// Nine in ten have; `None`: fewer do before the window ends.
    pub late: Option<Timestamp>,
}

/// What is kept and shown of a forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// From when.
    pub at: Timestamp,
    /// What it stands on.
    pub basis: Basis,
    /// What will have been spent at the window's end: as likely more as less.
    pub projected: Total,
    /// Nine courses in ten end above.
    pub low: Total,
    /// Nine courses in ten end below.
    pub high: Total,
    /// When the limit is reached; `None`: it is reached already, or in fewer than one course in ten.
    pub reaches_limit: Option<Reach>,
}

impl Outlook {
    /// The same once this much is spent, which may be more than was thought likely.
    #[must_use]
    pub fn at_least(self, spent: Total) -> Self {
        let most = |amount: Total| amount.max(spent);
        Self { projected: most(self.projected), low: most(self.low), high: most(self.high), ..self }
    }

    /// The same once this much is spent; `None` where that is more than nine courses in ten end with: it knew nothing of
    /// what has come since.
    #[must_use]
    pub fn unless_belied(self, spent: Total) -> Option<Self> {
        (spent <= self.high).then(|| self.at_least(spent))
    }

    /// When the limit is reached, as likely before as after; `None` where that is not before the window's end.
    pub fn likely_at(&self) -> Option<Timestamp> {
        self.reaches_limit.and_then(|reach| reach.likely)
    }
}

/// Where a window's spend will end.
#[derive(Clone, Debug)]
pub struct Forecast {
    /// From when.
    pub at: Timestamp,
    /// What it stands on.
    pub basis: Basis,
    /// What will have been spent at the window's end: as likely more as less.
    pub projected: Total,
    /// Nine courses in ten end above.
    pub low: Total,
    /// Nine courses in ten end below.
    pub high: Total,
    spent: Total,
    end: Timestamp,
    courses: Courses,
}

/// Answers `question`, or says why it cannot.
pub fn forecast(question: &Question<'_>) -> Result<Forecast, NoForecast> {
    let end = question.window.end.filter(|_| !question.kind.is_rolling()).ok_or(NoForecast::Endless)?;
    if !question.window.contains(question.at) {
        return Err(NoForecast::NotRunning);
    }
    let ahead_ms = end.millis() - question.at.millis();
    let past = Past::of(question.at, question.zone, question.hours).ok_or(NoForecast::NothingSpent)?;
    if past.known_ms() < LEAST_KNOWN_MS {
        return Err(NoForecast::TooLittle);
    }
    if ahead_ms > past.known_ms().saturating_mul(LOOKS_AHEAD) {
        return Err(NoForecast::TooFar);
    }
    let courses = Courses::play(&past, ahead_ms);
    let end_at = |part: f64| question.spent + courses.end(part);
    Ok(Forecast {
        at: question.at,
        basis: past.basis(),
        projected: end_at(0.5),
        low: end_at(0.1),
        high: end_at(0.9),
        spent: question.spent,
        end,
        courses,
    })
}

impl Forecast {
    /// What is kept of it, against a limit.
    pub fn outlook(&self, limit: Money) -> Outlook {
        Outlook {
            at: self.at,
            basis: self.basis,
            projected: self.projected,
            low: self.low,
            high: self.high,
            reaches_limit: self.reaches(limit.into()),
        }
    }

    /// How many of a hundred courses reach `amount` before the window ends.
    pub fn chance_of(&self, amount: Total) -> u32 {
        if amount <= self.spent { 100 } else { self.courses.chance_of(amount - self.spent) }
    }

    /// When `amount` is reached; `None` if it is reached already, or in fewer than one course in ten.
    pub fn reaches(&self, amount: Total) -> Option<Reach> {
        if amount <= self.spent {
            return None;
        }
        let [early, likely, late] = self.courses.reach(amount - self.spent);
        let at = |ms: Option<i64>| ms.map(|ms| self.at.plus_millis(ms).min(self.end));
        Some(Reach { early: at(early)?, likely: at(likely), late: at(late) })
    }
}

impl NoForecast {
    const ALL: [Self; 5] = [Self::Endless, Self::NotRunning, Self::NothingSpent, Self::TooLittle, Self::TooFar];

    /// The text in `budget_forecast.reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Endless => "endless",
            Self::NotRunning => "not_running",
            Self::NothingSpent => "nothing_spent",
            Self::TooLittle => "too_little",
            Self::TooFar => "too_far",
        }
    }

    /// Reads that text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

#[cfg(test)]
mod tests;
