//! The times people name, and the steps they want sums in.

use chrono::{Datelike as _, Days, Months, NaiveDate};
use chrono_tz::Tz;

use crate::domain::time::{DAY_MS, Timestamp};
use crate::domain::window::WindowKind;

/// Most steps of time in one report: an hour each for a month, a day each for two years.
pub const MAX_STEPS: usize = 750;

/// Why a time or step is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// Not a time.
    #[error(
        "\"{0}\" is not a time: write a date (2026-11-01), an instant (2026-11-01T09:30:00Z) or a span back from now (24h, 7d)"
    )]
    NotATime(String),
    /// The end lies before the beginning.
    #[error("the report would end ({until}) before it begins ({since}); swap --since and --until")]
    Backwards {
        /// Beginning.
        since: Timestamp,
        /// End.
        until: Timestamp,
    },
    /// More steps than are shown.
    #[error("that is more than {MAX_STEPS} steps of time; choose a longer step or a shorter time")]
    TooManySteps,
}

/// A time as people write it: an ISO date (its first instant in `zone`), an RFC 3339 instant, or a span back from
/// `now` such as `24h` or `7d`, taken to the quarter hour.
pub fn parse_time(text: &str, zone: Tz, now: Timestamp) -> Result<Timestamp, SpanError> {
    let text = text.trim();
    let wrong = || SpanError::NotATime(text.to_owned());
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Ok(day_start(date, zone));
    }
    if let Some(at) = Timestamp::parse(text) {
        return Ok(at);
    }
    let unit_ms = match text.chars().last() {
        Some('h') => 3_600_000,
        Some('d') => DAY_MS,
        Some('w') => 7 * DAY_MS,
        _ => return Err(wrong()),
    };
    let count: i64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let span = count.checked_mul(unit_ms).filter(|span| *span > 0).ok_or_else(wrong)?;
    Ok(now.plus_millis(-span).bucket())
}

/// The first instant of a local date, which is not always midnight.
pub fn day_start(date: NaiveDate, zone: Tz) -> Timestamp {
    // No zone is 26 hours away, so noon UTC lies in the date, the one before or the one after.
    let mut window =
        WindowKind::Day.window_at(zone, Timestamp::from(date.and_hms_opt(12, 0, 0).unwrap_or_default().and_utc()));
    loop {
        let local = window.start.to_utc().with_timezone(&zone).date_naive();
        let step = match local.cmp(&date) {
            std::cmp::Ordering::Equal => return window.start,
            std::cmp::Ordering::Less => window.end.unwrap_or(window.start),
            // The date does not exist (a zone that crossed the date line): the next one stands for it.
            std::cmp::Ordering::Greater if local == date + Days::new(1) && exists_not(date, zone, window.start) => {
                return window.start;
            }
            std::cmp::Ordering::Greater => window.start.plus_millis(-1),
        };
        window = WindowKind::Day.window_at(zone, step);
    }
}

fn exists_not(date: NaiveDate, zone: Tz, next: Timestamp) -> bool {
    next.plus_millis(-1).to_utc().with_timezone(&zone).date_naive() < date
}

/// A step of time that sums are taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Local hours.
    Hour,
    /// Local dates.
    Day,
    /// Weeks from Monday.
    Week,
    /// Calendar months.
    Month,
}

impl Step {
    /// Reads `hour`, `day`, `week` or `month`.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "hour" => Self::Hour,
            "day" => Self::Day,
            "week" => Self::Week,
            "month" => Self::Month,
            _ => return None,
        })
    }

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    const fn window(self) -> WindowKind {
        match self {
            Self::Hour => WindowKind::Hour,
            Self::Day => WindowKind::Day,
            Self::Week => WindowKind::Week,
            Self::Month => WindowKind::Month,
        }
    }

    /// The steps that tile `since..until`, the first and last cut to it.
    pub fn spans(self, zone: Tz, since: Timestamp, until: Timestamp) -> Result<Vec<(Timestamp, Timestamp)>, SpanError> {
        if until < since {
            return Err(SpanError::Backwards { since, until });
        }
        let mut spans = Vec::new();
        let mut at = since;
        while at < until {
            if spans.len() == MAX_STEPS {
                return Err(SpanError::TooManySteps);
            }
            let end = self.window().window_at(zone, at).end.unwrap_or(until).min(until);
            spans.push((at, end));
            at = end;
        }
        Ok(spans)
    }

    /// A step's name: `2026-11-19 14:00+01:00`, `2026-11-19`, `2026-11-16` (its Monday), `2026-11`.
    pub fn label(self, zone: Tz, at: Timestamp) -> String {
        let local = at.to_utc().with_timezone(&zone);
        match self {
            Self::Hour => local.format("%Y-%m-%d %H:%M%:z").to_string(),
            Self::Day => local.format("%Y-%m-%d").to_string(),
            Self::Week => {
                let monday = local.date_naive() - Days::new(u64::from(local.weekday().num_days_from_monday()));
                monday.format("%Y-%m-%d").to_string()
            }
            Self::Month => local.format("%Y-%m").to_string(),
        }
    }
}

/// The first instant of the month that holds `at`, `back` months earlier.
pub fn month_start(zone: Tz, at: Timestamp, back: u32) -> Timestamp {
    let local = at.to_utc().with_timezone(&zone).date_naive();
    let first = local.with_day(1).unwrap_or(local);
    day_start(first.checked_sub_months(Months::new(back)).unwrap_or(first), zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn times_are_read_in_the_zone() {
        let now = at("2026-11-22T14:07:31Z");
        let zone = chrono_tz::Europe::Berlin;
        assert_eq!(parse_time("2026-11-01", zone, now), Ok(at("2026-10-31T23:00:00Z")));
        assert_eq!(parse_time("2026-11-01T09:30:00+01:00", zone, now), Ok(at("2026-11-01T08:30:00Z")));
        assert_eq!(parse_time("7d", zone, now), Ok(at("2026-11-15T14:00:00Z")));
        for wrong in ["", "d", "-3d", "tomorrow", "2026-13-01", "7 days"] {
            assert!(parse_time(wrong, zone, now).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_date_that_skips_midnight_starts_at_its_first_instant() {
        assert_eq!(day_start("2018-11-04".parse().unwrap(), chrono_tz::America::Sao_Paulo), at("2018-11-04T03:00:00Z"));
        // Samoa had no 30 December 2011.
        assert_eq!(day_start("2011-12-30".parse().unwrap(), chrono_tz::Pacific::Apia), at("2011-12-30T10:00:00Z"));
    }

    #[test]
    fn steps_tile_and_know_their_names() {
        let zone = chrono_tz::Europe::Berlin;
        let spans = Step::Day.spans(zone, at("2026-10-24T22:00:00Z"), at("2026-10-27T05:00:00Z")).unwrap();
        assert_eq!(spans.len(), 3);
        assert_eq!(spans[0].1.millis() - spans[0].0.millis(), 25 * 3_600_000);
        assert_eq!(Step::Day.label(zone, spans[2].0), "2026-10-27");
        assert_eq!(Step::Week.label(zone, spans[1].0), "2026-10-26");
        assert!(Step::Hour.spans(zone, at("2020-01-01T00:00:00Z"), at("2026-10-27T05:00:00Z")).is_err());
    }
}
