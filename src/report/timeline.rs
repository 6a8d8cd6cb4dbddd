//! Steps of time as charts name them: which of them are labelled, what each is called, from when to when all reach.

use chrono::{DateTime, Datelike as _, Timelike as _};
use chrono_tz::Tz;

use super::span::Step;
use crate::domain::time::{DAY_MS, Timestamp};

/// A step, or any stretch of time.
pub type Between = (Timestamp, Timestamp);

/// Most labels under a chart; on narrow screens every second goes.
const MAX_TICKS: usize = 13;

/// Days from which on a range is labelled by dates and not by weekdays.
const WEEKDAYS_UP_TO: usize = 10;

/// A label of the time axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    /// The label.
    pub text: String,
    /// It goes on narrow screens.
    pub minor: bool,
}

/// What labels can stand at, the finest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Minutes(i64),
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

const MARKS: [Mark; 13] = [
    Mark::Minutes(1),
    Mark::Minutes(5),
    Mark::Minutes(15),
    Mark::Minutes(30),
    Mark::Minutes(60),
    Mark::Minutes(180),
    Mark::Minutes(360),
    Mark::Minutes(720),
    Mark::Day,
    Mark::Week,
    Mark::Month,
    Mark::Quarter,
    Mark::Year,
];

impl Mark {
    /// How long one is at most, in milliseconds: days on which the clock changes are longer.
    const fn most_ms(self) -> i64 {
        const HOUR_MS: i64 = 3_600_000;
        match self {
            Self::Minutes(minutes) => minutes * 60_000,
            Self::Day => 25 * HOUR_MS,
            Self::Week => 7 * DAY_MS + HOUR_MS,
            Self::Month => 31 * DAY_MS + HOUR_MS,
            Self::Quarter => 92 * DAY_MS + HOUR_MS,
            Self::Year => 366 * DAY_MS,
        }
    }

    /// The number of the stretch that holds this local time; neighbours differ by one.
    fn number(self, local: &DateTime<Tz>) -> i64 {
        let date = local.date_naive();
        let day = i64::from(date.num_days_from_ce());
        let month = i64::from(date.year()) * 12 + i64::from(date.month0());
        match self {
            Self::Minutes(minutes) => (day * 1_440 + i64::from(local.hour() * 60 + local.minute())) / minutes,
            Self::Day => day,
            // The first day of the common era was a Monday.
            Self::Week => (day - 1).div_euclid(7),
            Self::Month => month,
            Self::Quarter => month.div_euclid(3),
            Self::Year => date.year().into(),
        }
    }

    fn is_at_its_beginning(self, local: &DateTime<Tz>) -> bool {
        let before = *local - chrono::TimeDelta::milliseconds(1);
        self.number(&before) != self.number(local)
    }

    fn text(self, local: &DateTime<Tz>, days: usize) -> String {
        let pattern = match self {
            Self::Minutes(_) if local.hour() == 0 && local.minute() == 0 && days > 1 => "%a %-d",
            Self::Minutes(_) => "%H:%M",
            Self::Day if days <= WEEKDAYS_UP_TO => "%a %-d",
            Self::Day => "%-d %b",
            Self::Week => "Mon %-d %b",
            Self::Month | Self::Quarter if local.month() == 1 => "%b %Y",
            Self::Month | Self::Quarter => "%b",
            Self::Year => "%Y",
        };
        local.format(pattern).to_string()
    }
}

/// The labels of the steps; most have none.
pub fn ticks(steps: &[Between], zone: Tz) -> Vec<Option<Tick>> {
    let local: Vec<DateTime<Tz>> = steps.iter().map(|(start, _)| start.to_utc().with_timezone(&zone)).collect();
    let begins = |mark: Mark, place: usize| match place.checked_sub(1) {
        None => mark.is_at_its_beginning(&local[place]),
        Some(before) => mark.number(&local[before]) != mark.number(&local[place]),
    };
    let count = |mark: Mark| (0..local.len()).filter(|place| begins(mark, *place)).count();
    let longest = steps.iter().map(|(start, end)| end.millis() - start.millis()).max().unwrap_or(0);
    let fits = |mark: &Mark| mark.most_ms() >= longest && count(*mark) <= MAX_TICKS;
    let mark = MARKS.into_iter().find(fits).unwrap_or(Mark::Year);
    let days = match (local.first(), local.last()) {
        (Some(first), Some(last)) => usize::try_from(Mark::Day.number(last) - Mark::Day.number(first)).unwrap_or(0) + 1,
        _ => 0,
    };
    let mut number = 0;
    (0..local.len())
        .map(|place| {
            begins(mark, place).then(|| {
                number += 1;
                Tick { text: mark.text(&local[place], days), minor: number % 2 == 0 }
            })
        })
        .collect()
}

/// A step in a chart's read-out: `Thu 19 Nov 14:30`, `Thu 19 Nov`, `week of Mon 16 Nov`, `November 2026`.
pub fn name(step: Step, at: Timestamp, zone: Tz) -> String {
    let local = at.to_utc().with_timezone(&zone);
    match step {
        Step::Minute | Step::FiveMinutes | Step::QuarterHour | Step::Hour => local.format("%a %-d %b %H:%M"),
        Step::Day => local.format("%a %-d %b"),
        Step::Week => local.format("week of %a %-d %b"),
        Step::Month => local.format("%B %Y"),
    }
    .to_string()
}

/// How long a step is: `a day`, `5 minutes`.
pub const fn length(step: Step) -> &'static str {
    match step {
        Step::FiveMinutes => "5 minutes",
        Step::QuarterHour => "15 minutes",
        step => each(step),
    }
}

/// How often: `a day`.
pub const fn each(step: Step) -> &'static str {
    match step {
        Step::Minute => "a minute",
        Step::FiveMinutes => "in 5 minutes",
        Step::QuarterHour => "in 15 minutes",
        Step::Hour => "an hour",
        Step::Day => "a day",
        Step::Week => "a week",
        Step::Month => "a month",
    }
}

/// The first and the last step, briefly: `21 Oct – 19 Nov`; a year that is not that of `now` is told.
pub fn ends(step: Step, steps: &[Between], now: Timestamp, zone: Tz) -> String {
    let this_year = now.to_utc().with_timezone(&zone).year();
    let name = |at: Timestamp| {
        let local = at.to_utc().with_timezone(&zone);
        let pattern = match step {
            Step::Month => "%b %Y",
            Step::Day | Step::Week if local.year() == this_year => "%-d %b",
            Step::Day | Step::Week => "%-d %b %Y",
            _ if local.year() == this_year => "%a %-d %b %H:%M",
            _ => "%a %-d %b %Y %H:%M",
        };
        local.format(pattern).to_string()
    };
    match steps {
        [] => String::new(),
        [only] => name(only.0),
        [first, .., last] => format!("{} – {}", name(first.0), name(last.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::range::Range;

    fn labels(range: Range) -> Vec<String> {
        let now = Timestamp::parse("2026-11-19T14:32:07Z").unwrap();
        let stretch = range.at(now, Tz::Europe__Berlin).unwrap();
        ticks(&stretch.steps, Tz::Europe__Berlin).into_iter().flatten().map(|tick| tick.text).collect()
    }

    #[test]
    fn every_range_has_a_handful_of_labels_at_round_times() {
        assert_eq!(labels(Range::Hour)[..3], ["14:35", "14:40", "14:45"]);
        assert_eq!(labels(Range::Day), ["18:00", "21:00", "Thu 19", "03:00", "06:00", "09:00", "12:00", "15:00"]);
        assert_eq!(labels(Range::Week)[..2], ["Fri 13", "Sat 14"]);
        assert_eq!(labels(Range::ThirtyDays), ["Mon 26 Oct", "Mon 2 Nov", "Mon 9 Nov", "Mon 16 Nov"]);
        assert_eq!(labels(Range::NinetyDays).len(), 13);
        assert_eq!(labels(Range::Year)[..2], ["Dec", "Jan 2026"]);
    }

    #[test]
    fn a_week_begins_on_monday() {
        let at = |text: &str| Timestamp::parse(text).unwrap().to_utc().with_timezone(&Tz::UTC);
        let (sunday, monday) = (at("2026-11-15T23:59:59Z"), at("2026-11-16T00:00:00Z"));
        assert_eq!(Mark::Week.number(&sunday) + 1, Mark::Week.number(&monday));
        assert!(Mark::Week.is_at_its_beginning(&monday) && !Mark::Week.is_at_its_beginning(&sunday));
    }
}
