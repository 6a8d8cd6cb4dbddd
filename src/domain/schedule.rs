//! When recurring work runs: crontab's five fields, evaluated in a zone's local time.
//!
//! The fields are read here and handed to the `cron` crate as plain lists of numbers: its own
//! grammar has seconds first, Sunday as 1, and joins day of month and day of week by AND where
//! crontab says OR. It walks the calendar; the rules for clocks that are changed stand here:
//!
//! - A schedule with fixed hours runs once for each local time it names: one that the clock skips
//!   runs at the first instant after the gap, one that the clock shows twice runs the first time.
//! - A schedule whose hour field begins with `*` follows elapsed time: it runs at every instant at
//!   which the clock shows a matching time, in a doubled hour twice and in a skipped one not at all.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, NaiveDateTime, Utc};
use chrono_tz::Tz;

use super::time::{DAY_MS, Timestamp};
use super::zone;

/// Longest schedule looked at, in bytes.
const MAX_TEXT: usize = 256;

/// Local times that may lie behind an instant before one lies ahead: a doubled day of minutes.
const MAX_REPEATED: usize = 24 * 60;

/// Changes of the clock looked across for the next run; twice a year over the 8 years to a 29 February, and some.
const MAX_CHANGES: usize = 64;

/// How far back the run before an instant is looked for, nearest first, in milliseconds: an hour, two days (in which a
/// schedule that has no run in an hour has at most some dozens), five weeks, thirteen months, nine years.
const LOOKS_BACK: [i64; 5] = [DAY_MS / 24, 2 * DAY_MS, 35 * DAY_MS, 397 * DAY_MS, 9 * 366 * DAY_MS];

/// Why a text is not a schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Not five fields, and no known name.
    #[error(
        "\"{0}\" is not a schedule: write five fields (minute hour day-of-month month day-of-week), such as \"30 8 * * mon-fri\", or @hourly, @daily, @weekly, @monthly, @yearly"
    )]
    Form(String),
    /// One field cannot be read.
    #[error(
        "{field}: \"{text}\" is not {expected}; write *, a value, a range a-b, a list of these, or a step such as */2 or a-b/2"
    )]
    Field {
        /// Which field.
        field: &'static str,
        /// What it says.
        text: String,
        /// What its values may be.
        expected: &'static str,
    },
    /// No date matches, such as 30 February.
    #[error("\"{0}\" never runs: no date matches its day and month")]
    Never(String),
}

/// A crontab schedule in a zone. Two are the same when their texts and zones are.
#[derive(Clone, Debug)]
pub struct Schedule {
    text: String,
    zone: Tz,
    /// One, or two where day of month and day of week are both restricted: either is enough.
    calendars: Vec<cron::Schedule>,
    wildcard_hours: bool,
}

/// A field's place, its values and their names.
struct Field {
    name: &'static str,
    expected: &'static str,
    first: u32,
    last: u32,
    /// Names of the values from `first` on, three letters each.
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", expected: "0 to 59", first: 0, last: 59, names: &[] },
    Field { name: "hour", expected: "0 to 23", first: 0, last: 23, names: &[] },
    Field { name: "day of month", expected: "1 to 31", first: 1, last: 31, names: &[] },
    Field {
        name: "month",
        expected: "1 to 12 or jan to dec",
        first: 1,
        last: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Field {
        name: "day of week",
        expected: "0 to 7 (0 and 7 are Sunday) or sun to sat",
        first: 0,
        last: 7,
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    },
];

impl Schedule {
    /// Reads crontab's five fields, or one of its `@` names, to be evaluated in `zone`.
    pub fn parse(text: &str, zone: Tz) -> Result<Self, ScheduleError> {
        let form = || ScheduleError::Form(text.chars().take(MAX_TEXT).collect());
        if text.len() > MAX_TEXT {
            return Err(form());
        }
        let fields: Vec<&str> = named(text.trim()).unwrap_or(text).split_whitespace().collect();
        let &[minute, hour, day, month, weekday] = fields.as_slice() else { return Err(form()) };
        let [minutes, hours, days, months, weekdays] = FIELDS;
        let weekday_list = in_crons_weekdays(&weekdays.read(weekday)?);
        let (minute_list, hour_list) = (list(&minutes.read(minute)?), list(&hours.read(hour)?));
        let (day_list, month_list) = (list(&days.read(day)?), list(&months.read(month)?));

        let restricted = |field: &str| !field.starts_with('*');
        let days_of = match (restricted(day), restricted(weekday)) {
            (true, true) => vec![(day_list.as_str(), "*"), ("*", weekday_list.as_str())],
            _ => vec![(day_list.as_str(), weekday_list.as_str())],
        };
        let calendars = days_of
            .into_iter()
            .map(|(day, weekday)| format!("0 {minute_list} {hour_list} {day} {month_list} {weekday}").parse())
            .collect::<Result<Vec<cron::Schedule>, _>>()
            .map_err(|_| form())?;
        let schedule = Self { text: fields.join(" "), zone, calendars, wildcard_hours: !restricted(hour) };
        if schedule.next_local(DateTime::UNIX_EPOCH.naive_utc()).is_none() {
            return Err(ScheduleError::Never(schedule.text));
        }
        Ok(schedule)
    }

    /// The zone it is evaluated in.
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The first run after `at`; `None` after the year 2100, where the calendar of the `cron` crate ends.
    pub fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        if self.wildcard_hours { self.next_shown(at) } else { self.next_named(at) }
    }

    /// The last run before `at`; `None` where there was none in the nine years before.
    pub fn last_before(&self, at: Timestamp) -> Option<Timestamp> {
        // Looks back far enough to meet a run, and walks from there: a month has at most as many runs as minutes.
        for back in LOOKS_BACK {
            let mut last = None;
            let mut next = self.next_after(at.plus_millis(-back));
            while let Some(run) = next.filter(|run| *run < at) {
                last = Some(run);
                next = self.next_after(run);
            }
            if last.is_some() {
                return last;
            }
        }
        None
    }

    /// The first local time after `after` that the fields name, whatever the zone's clock does with it.
    fn next_local(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        let after = after.and_utc();
        let next = |calendar: &cron::Schedule| calendar.after(&after).next().as_ref().map(DateTime::<Utc>::naive_utc);
        self.calendars.iter().filter_map(next).min()
    }

    /// Fixed hours: the first instant after `at` at which a named local time is first shown, or made up for.
    fn next_named(&self, at: Timestamp) -> Option<Timestamp> {
        // No local time up to the one shown at `at` is first shown after `at`. Later ones may have
        // been shown before: when the clock was set back, those until the hour is over.
        let mut local = zone::local_time(self.zone, at);
        for _ in 0..=MAX_REPEATED {
            local = self.next_local(local)?;
            let instant = zone::first_showing(self.zone, local);
            if instant > at {
                return Some(instant);
            }
        }
        None
    }

    /// Wildcard hours: the first instant after `at` at which the clock shows a matching time.
    fn next_shown(&self, at: Timestamp) -> Option<Timestamp> {
        // Between two changes of the clock local and elapsed time run alike: look there, then beyond.
        let mut from = at;
        let mut local = zone::local_time(self.zone, at);
        for _ in 0..=MAX_CHANGES {
            let offset = zone::offset_ms(self.zone, from);
            let next = Timestamp::from(self.next_local(local)?.and_utc()).plus_millis(-offset);
            let Some(change) = zone::next_change(self.zone, from, next) else { return Some(next) };
            from = change;
            // A time shown at the very instant of the change counts: look from just before it.
            local = zone::local_time(self.zone, change) - chrono::Duration::milliseconds(1);
        }
        None
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.zone == other.zone
    }
}

impl Eq for Schedule {}

impl fmt::Display for Schedule {
    /// The five fields, one space apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The five fields that a name of crontab's stands for.
fn named(text: &str) -> Option<&'static str> {
    Some(match text.to_ascii_lowercase().as_str() {
        "@hourly" => "0 * * * *",
        "@daily" | "@midnight" => "0 0 * * *",
        "@weekly" => "0 0 * * 0",
        "@monthly" => "0 0 1 * *",
        "@yearly" | "@annually" => "0 0 1 1 *",
        _ => return None,
    })
}

impl Field {
    /// The values a field's text stands for.
    fn read(&self, text: &str) -> Result<BTreeSet<u32>, ScheduleError> {
        let mut values = BTreeSet::new();
        for part in text.split(',') {
            let (first, last, step) = self.part(part).ok_or_else(|| ScheduleError::Field {
                field: self.name,
                text: text.to_owned(),
                expected: self.expected,
            })?;
            values.extend((first..=last).step_by(step));
        }
        Ok(values)
    }

    /// First value, last value and step of one part of a list; a step needs a range or `*` before it.
    fn part(&self, part: &str) -> Option<(u32, u32, usize)> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, number(step).filter(|step| (1..=self.last).contains(step))?),
            None => (part, 1),
        };
        let step = usize::try_from(step).ok()?;
        if range == "*" {
            return Some((self.first, self.last, step));
        }
        let Some((first, last)) = range.split_once('-') else {
            let value = self.value(range)?;
            return (!part.contains('/')).then_some((value, value, 1));
        };
        let (first, mut last) = (self.value(first)?, self.value(last)?);
        // A week may end with its Sunday: fri-sun.
        if self.last == 7 && last == 0 && first > 0 {
            last = 7;
        }
        (first <= last).then_some((first, last, step))
    }

    fn value(&self, text: &str) -> Option<u32> {
        let named = || {
            let at = self.names.iter().position(|name| name.eq_ignore_ascii_case(text))?;
            Some(self.first + u32::try_from(at).ok()?)
        };
        number(text).or_else(named).filter(|value| (self.first..=self.last).contains(value))
    }
}

/// Digits alone: `u32`'s own reader would take a sign.
fn number(text: &str) -> Option<u32> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn list(values: &BTreeSet<u32>) -> String {
    values.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

/// Weekdays as the `cron` crate counts them: Sunday, crontab's 0 and 7, is 1.
fn in_crons_weekdays(values: &BTreeSet<u32>) -> String {
    list(&values.iter().map(|day| day % 7 + 1).collect())
}

#[cfg(test)]
mod tests;
