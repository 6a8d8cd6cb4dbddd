//! The times people name, and the steps they want sums in.

use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike as _, Days, Months, NaiveDate, NaiveDateTime};
use chrono_tz::Tz;

use crate::domain::time::{BUCKET_MS, DAY_MS, Timestamp};
use crate::domain::window::WindowKind;
use crate::domain::zone;

/// Most steps of time in one report: a minute each for a day, an hour each for eleven weeks, a day each for five years.
pub const MAX_STEPS: usize = 2_000;

/// Milliseconds in a minute.
const MINUTE_MS: i64 = 60_000;

/// Why a time or step is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// Not a time.
    #[error(
        "\"{0}\" is not a time: write a date (2026-11-01), a local time (2026-11-01T09:30), an instant (2026-11-01T09:30:00Z) or a span back from now (24h, 7d)"
    )]
    NotATime(String),
    /// A time at which nothing can have been recorded.
    #[error("\"{0}\" lies outside the years 1970 to 9999, where all completions are; write a time within them")]
    OutOfRange(String),
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

/// The years in which a time may lie.
const YEARS: RangeInclusive<i32> = 1970..=9999;

/// A time as people write it: an ISO date (its first instant in `zone`), a local time in `zone` (where the clock shows it
/// twice, the first), an RFC 3339 instant, or a span back from `now` such as `24h` or `7d`, taken to the quarter hour.
/// Years before 1970 and after 9999 are refused.
pub fn parse_time(text: &str, zone: Tz, now: Timestamp) -> Result<Timestamp, SpanError> {
    let text = text.trim();
    let wrong = || SpanError::NotATime(text.to_owned());
    let within = |year: i32| YEARS.contains(&year).then_some(()).ok_or_else(|| SpanError::OutOfRange(text.to_owned()));
    if let Ok(date) = text.parse::<NaiveDate>() {
        return within(date.year()).map(|()| day_start(date, zone));
    }
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return within(at.year()).map(|()| at.to_utc().into());
    }
    let local = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M");
    if let Ok(local) = local.or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S")) {
        return within(local.year()).map(|()| zone::first_showing(zone, local));
    }
    let unit_ms = match text.chars().last() {
        Some('h') => 3_600_000,
        Some('d') => DAY_MS,
        Some('w') => 7 * DAY_MS,
        _ => return Err(wrong()),
    };
    let count: i64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let span = count.checked_mul(unit_ms).filter(|span| *span > 0).ok_or_else(wrong)?;
    let at = now.plus_millis(-span).bucket();
    if at < Timestamp(0) { Err(SpanError::OutOfRange(text.to_owned())) } else { Ok(at) }
}

/// The first instant of a local date, which is not always midnight; where the zone skipped the date, of the next one.
pub fn day_start(date: NaiveDate, zone: Tz) -> Timestamp {
    zone::first_of_date(zone, date)
}

/// A step of time that sums are taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Minutes.
    Minute,
    /// Five minutes.
    FiveMinutes,
    /// Quarters of an hour.
    QuarterHour,
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
    /// All, the shortest first.
    pub const ALL: [Step; 7] =
        [Self::Minute, Self::FiveMinutes, Self::QuarterHour, Self::Hour, Self::Day, Self::Week, Self::Month];

    /// Reads [`Step::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.as_str() == text)
    }

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::FiveMinutes => "5min",
            Self::QuarterHour => "15min",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// About how long one is, in milliseconds: a month as 30 days.
    pub const fn about_ms(self) -> i64 {
        match self {
            Self::Minute => MINUTE_MS,
            Self::FiveMinutes => 5 * MINUTE_MS,
            Self::QuarterHour => BUCKET_MS,
            Self::Hour => 60 * MINUTE_MS,
            Self::Day => DAY_MS,
            Self::Week => 7 * DAY_MS,
            Self::Month => 30 * DAY_MS,
        }
    }

    /// The step that holds `at`.
    pub fn around(self, zone: Tz, at: Timestamp) -> (Timestamp, Timestamp) {
        let kind = match self {
            // Every zone's offset is whole quarters of an hour, so these steps are the same everywhere.
            Self::Minute | Self::FiveMinutes | Self::QuarterHour => {
                let start = Timestamp(at.millis() - at.millis().rem_euclid(self.about_ms()));
                return (start, start.plus_millis(self.about_ms()));
            }
            Self::Hour => WindowKind::Hour,
            Self::Day => WindowKind::Day,
            Self::Week => WindowKind::Week,
            Self::Month => WindowKind::Month,
        };
        let window = kind.window_at(zone, at);
        (window.start, window.end.unwrap_or(Timestamp(i64::MAX)))
    }

    /// The longest step of which at least `least` fit into a time of this length; the shortest where none does.
    pub fn fitting(length_ms: i64, least: i64) -> Self {
        Self::ALL.into_iter().rev().find(|step| length_ms / step.about_ms() >= least).unwrap_or(Self::Minute)
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
            let end = self.around(zone, at).1.min(until);
            spans.push((at, end));
            at = end;
        }
        Ok(spans)
    }

    /// A step's name in reports: `2026-11-19 14:00+01:00`, `2026-11-19`, `2026-11-16` (its Monday), `2026-11`.
    pub fn label(self, zone: Tz, at: Timestamp) -> String {
        let local = at.to_utc().with_timezone(&zone);
        match self {
            Self::Minute | Self::FiveMinutes | Self::QuarterHour | Self::Hour => {
                local.format("%Y-%m-%d %H:%M%:z").to_string()
            }
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
        assert_eq!(parse_time("2026-11-01T09:30", zone, now), Ok(at("2026-11-01T08:30:00Z")));
        assert_eq!(parse_time("2026-10-25T02:30", zone, now), Ok(at("2026-10-25T00:30:00Z")));
        for wrong in ["", "d", "-3d", "tomorrow", "2026-13-01", "7 days"] {
            assert!(parse_time(wrong, zone, now).is_err(), "{wrong}");
        }
    }

    #[test]
    fn years_in_which_nothing_was_recorded_are_refused() {
        let now = at("2026-11-22T14:07:31Z");
        for zone in [Tz::UTC, Tz::Europe__Berlin, Tz::Pacific__Kiritimati, Tz::America__Los_Angeles] {
            for outside in [
                "1969-12-31",
                "1900-01-01",
                "0001-01-01",
                "-0004-01-01",
                "+12345-01-01",
                "1900-01-01T00:00:00Z",
                "99999d",
            ] {
                let refused = parse_time(outside, zone, now);
                assert_eq!(refused, Err(SpanError::OutOfRange(outside.to_owned())), "{outside}");
            }
            for inside in ["1970-01-01", "9999-12-31", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "20000d"] {
                assert!(parse_time(inside, zone, now).is_ok(), "{inside}");
            }
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
        let spans = Step::QuarterHour.spans(zone, at("2026-10-24T22:05:00Z"), at("2026-10-24T22:31:00Z")).unwrap();
        assert_eq!(spans.len(), 3);
        assert_eq!(Step::QuarterHour.label(zone, spans[1].0), "2026-10-25 00:15+02:00");
        for step in Step::ALL {
            assert_eq!(Step::parse(step.as_str()), Some(step));
        }
    }
}
