//! The times a page can be set to, each with the time it is compared with.

use chrono::{Days, Months, NaiveDate};
use chrono_tz::Tz;

use super::span::{SpanError, Step, day_start, month_start};
use crate::domain::time::{BUCKET_MS, DAY_MS, Timestamp};
use crate::domain::window::WindowKind;

/// A time that a page is set to, as its URL names it (`?range=30d`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Range {
    /// The hour that runs and the 23 before it.
    Day,
    /// Today and the six days before it.
    Week,
    /// Today and the 29 days before it.
    #[default]
    ThirtyDays,
    /// The calendar month that runs.
    Month,
    /// The calendar month that runs and the eleven before it.
    Year,
}

/// A range at one moment, cut into steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// What it is cut into.
    pub step: Step,
    /// The steps, oldest first; the last holds `now` and may reach beyond it.
    pub steps: Vec<(Timestamp, Timestamp)>,
    /// The time before, as long as this one has lasted so far.
    pub before: (Timestamp, Timestamp),
}

impl Range {
    /// All, in the order in which they are offered.
    pub const ALL: [Range; 5] = [Self::Day, Self::Week, Self::ThirtyDays, Self::Month, Self::Year];

    /// As URLs name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "24h",
            Self::Week => "7d",
            Self::ThirtyDays => "30d",
            Self::Month => "month",
            Self::Year => "12m",
        }
    }

    /// Reads [`Range::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|range| range.as_str() == text)
    }

    /// The range at `now`. Every bound lies on a quarter of an hour.
    pub fn at(self, now: Timestamp, zone: Tz) -> Result<Stretch, SpanError> {
        let today = now.to_utc().with_timezone(&zone).date_naive();
        let days_ago = |days| day_start(today.checked_sub_days(Days::new(days)).unwrap_or(today), zone);
        let (step, since) = match self {
            Self::Day => (Step::Hour, hour_start(zone, now.plus_millis(-(DAY_MS - 3_600_000)))),
            Self::Week => (Step::Day, days_ago(6)),
            Self::ThirtyDays => (Step::Day, days_ago(29)),
            Self::Month => (Step::Day, month_start(zone, now, 0)),
            Self::Year => (Step::Month, month_start(zone, now, 11)),
        };
        let window = if step == Step::Hour {
            WindowKind::Hour
        } else if step == Step::Day {
            WindowKind::Day
        } else {
            WindowKind::Month
        };
        let until = window.window_at(zone, now).end.unwrap_or(now);
        let earlier = |at: Timestamp| {
            let local = at.to_utc().with_timezone(&zone);
            match self {
                Self::Day => at.plus_millis(-DAY_MS),
                Self::Week => moved(at, zone, local.date_naive().checked_sub_days(Days::new(7))),
                Self::ThirtyDays => moved(at, zone, local.date_naive().checked_sub_days(Days::new(30))),
                Self::Month => moved(at, zone, local.date_naive().checked_sub_months(Months::new(1))),
                Self::Year => moved(at, zone, local.date_naive().checked_sub_months(Months::new(12))),
            }
        };
        let so_far = now.bucket().plus_millis(BUCKET_MS);
        let before_since = earlier(since).bucket();
        let before = (before_since, earlier(so_far).bucket().clamp(before_since, since));
        Ok(Stretch { step, steps: step.spans(zone, since, until)?, before })
    }
}

/// The first instant of the local hour that holds `at`.
fn hour_start(zone: Tz, at: Timestamp) -> Timestamp {
    WindowKind::Hour.window_at(zone, at).start
}

/// The same time of day on another date.
fn moved(at: Timestamp, zone: Tz, date: Option<NaiveDate>) -> Timestamp {
    let today = day_start(at.to_utc().with_timezone(&zone).date_naive(), zone);
    date.map_or(at, |date| day_start(date, zone).plus_millis(at.millis() - today.millis()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn ranges_hold_whole_steps_and_compare_with_as_much_time_before() {
        let now = at("2026-11-19T14:32:07Z");
        let zone = chrono_tz::UTC;
        let stretch = Range::ThirtyDays.at(now, zone).unwrap();
        assert_eq!(stretch.steps.len(), 30);
        assert_eq!(stretch.steps[0].0, at("2026-10-21T00:00:00Z"));
        assert_eq!(stretch.steps[29].1, at("2026-11-20T00:00:00Z"));
        assert_eq!(stretch.before, (at("2026-09-21T00:00:00Z"), at("2026-10-20T14:45:00Z")));
        assert_eq!(Range::Day.at(now, zone).unwrap().steps.len(), 24);
        let month = Range::Month.at(now, zone).unwrap();
        assert_eq!((month.steps.len(), month.before.0), (19, at("2026-10-01T00:00:00Z")));
        assert_eq!(Range::Year.at(now, zone).unwrap().steps.len(), 12);
    }

    #[test]
    fn bounds_lie_on_quarters_of_an_hour_in_odd_zones_and_on_the_days_the_clock_changes() {
        for zone in [chrono_tz::Asia::Kathmandu, chrono_tz::Australia::Lord_Howe, chrono_tz::Europe::Berlin] {
            for day in ["2026-03-29T00:59:59Z", "2026-10-25T01:10:00Z", "2026-04-05T15:01:00Z", "2026-12-31T23:59:00Z"]
            {
                for range in Range::ALL {
                    let stretch = range.at(at(day), zone).unwrap();
                    let bounds = stretch.steps.iter().chain([&stretch.before]).flat_map(|(a, b)| [*a, *b]);
                    for bound in bounds {
                        assert_eq!(bound.bucket(), bound, "{zone} {day} {range:?}");
                    }
                    assert!(stretch.before.1 <= stretch.steps[0].0);
                }
            }
        }
    }
}
