//! The times a page can be set to, each with the time it is compared with.

use chrono::{Days, Months, NaiveDate};
use chrono_tz::Tz;

use super::span::{SpanError, Step, day_start, month_start};
use crate::domain::time::{BUCKET_MS, DAY_MS, Timestamp};

/// A time that a page is set to, as its URL names it (`?range=30d`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Range {
    /// The minute that runs and the 59 before it.
    Hour,
    /// The hour that runs and the 23 before it.
    Day,
    /// Today and the six days before it.
    Week,
    /// Today and the 29 days before it.
    #[default]
    ThirtyDays,
    /// The calendar month that runs.
    Month,
    /// Today and the 89 days before it.
    NinetyDays,
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

/// How far back the time lies that another one is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    /// So many milliseconds.
    Millis(i64),
    /// So many dates, at the same time of day.
    Days(u64),
    /// So many calendar months, at the same time of the same day, or of a shorter month's last.
    Months(u32),
}

impl Shift {
    /// The instant that `at` is compared with.
    pub fn back(self, at: Timestamp, zone: Tz) -> Timestamp {
        let date = || at.to_utc().with_timezone(&zone).date_naive();
        match self {
            Self::Millis(span) => at.plus_millis(-span),
            // The clock may have been put forward or back in between.
            Self::Days(days) => moved(at, zone, date().checked_sub_days(Days::new(days))).bucket(),
            Self::Months(months) => moved(at, zone, date().checked_sub_months(Months::new(months))).bucket(),
        }
    }
}

impl Range {
    /// All, in the order in which they are offered.
    pub const ALL: [Range; 7] =
        [Self::Hour, Self::Day, Self::Week, Self::ThirtyDays, Self::Month, Self::NinetyDays, Self::Year];

    /// Those of pages that are read from the buckets of 15 minutes and show everything at once.
    pub const OF_PAGES: [Range; 5] = [Self::Day, Self::Week, Self::ThirtyDays, Self::Month, Self::Year];

    /// As URLs name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::Week => "7d",
            Self::ThirtyDays => "30d",
            Self::Month => "month",
            Self::NinetyDays => "90d",
            Self::Year => "12m",
        }
    }

    /// Reads [`Range::as_str`] of one of `offered`.
    pub fn parse(text: &str, offered: &[Self]) -> Option<Self> {
        offered.iter().copied().find(|range| range.as_str() == text)
    }

    /// As buttons name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hour => "1 h",
            Self::Day => "24 h",
            Self::Week => "7 d",
            Self::ThirtyDays => "30 d",
            Self::Month => "month",
            Self::NinetyDays => "90 d",
            Self::Year => "12 m",
        }
    }

    /// The steps it is cut into where nobody asks for others.
    pub const fn step(self) -> Step {
        match self {
            Self::Hour => Step::Minute,
            Self::Day => Step::Hour,
            Self::Week | Self::ThirtyDays | Self::Month | Self::NinetyDays => Step::Day,
            Self::Year => Step::Month,
        }
    }

    /// What it is compared with.
    pub const fn shift(self) -> Shift {
        match self {
            Self::Hour => Shift::Millis(DAY_MS / 24),
            Self::Day => Shift::Millis(DAY_MS),
            Self::Week => Shift::Days(7),
            Self::ThirtyDays => Shift::Days(30),
            Self::Month => Shift::Months(1),
            Self::NinetyDays => Shift::Days(90),
            Self::Year => Shift::Months(12),
        }
    }

    /// From when to when it is at `now`: to the end of the step that holds `now`. Every bound lies on a quarter of an hour,
    /// but those of [`Range::Hour`].
    pub fn bounds(self, now: Timestamp, zone: Tz) -> (Timestamp, Timestamp) {
        let today = now.to_utc().with_timezone(&zone).date_naive();
        let days_ago = |days| day_start(today.checked_sub_days(Days::new(days)).unwrap_or(today), zone);
        let (this, until) = self.step().around(zone, now);
        let since = match self {
            Self::Hour => this.plus_millis(-(DAY_MS / 24 - this_ms((this, until)))),
            Self::Day => Step::Hour.around(zone, now.plus_millis(-(DAY_MS - DAY_MS / 24))).0,
            Self::Week => days_ago(6),
            Self::ThirtyDays => days_ago(29),
            Self::Month => month_start(zone, now, 0),
            Self::NinetyDays => days_ago(89),
            Self::Year => month_start(zone, now, 11),
        };
        (since, until)
    }

    /// The range at `now`, in its usual steps.
    pub fn at(self, now: Timestamp, zone: Tz) -> Result<Stretch, SpanError> {
        let (since, until) = self.bounds(now, zone);
        let earlier = |at: Timestamp| self.shift().back(at, zone);
        let before_since = earlier(since);
        let before = (before_since, earlier(so_far(self.step(), now)).clamp(before_since, since));
        Ok(Stretch { step: self.step(), steps: self.step().spans(zone, since, until)?, before })
    }
}

/// Up to when a time that runs is compared: the end of the minute, or of the quarter of an hour, that holds `now`.
pub fn so_far(step: Step, now: Timestamp) -> Timestamp {
    let finest = if step.about_ms() < BUCKET_MS { Step::Minute } else { Step::QuarterHour };
    finest.around(Tz::UTC, now).1
}

fn this_ms((start, end): (Timestamp, Timestamp)) -> i64 {
    end.millis() - start.millis()
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
        assert_eq!(Range::Hour.at(now, zone).unwrap().steps.len(), 60);
        assert_eq!(Range::NinetyDays.at(now, zone).unwrap().steps.len(), 90);
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
                for range in Range::ALL.into_iter().filter(|range| *range != Range::Hour) {
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
