//! Forecasts in words: where a window ends, when a limit is reached, and why that is not told.

use chrono::Timelike as _;
use chrono_tz::Tz;

use super::format;
use super::words;
use crate::domain::forecast::{self, Basis, Forecast, HOUR_MS, LOOKS_BACK_DAYS, NoForecast, Outlook, Question, Reach};
use crate::domain::money::Total;
use crate::domain::time::{DAY_MS, Timestamp};
use crate::domain::window::{Window, WindowKind};
use crate::store::StoreError;

/// How near an instant must be for its time of day to be told.
const TIME_TOLD_WITHIN_MS: i64 = 2 * DAY_MS;

/// How near the two ends of a span must be for its hours to be told.
const HOURS_TOLD_WITHIN_MS: i64 = 12 * HOUR_MS;

/// How near they must be for the part of their days to be told.
const PARTS_TOLD_WITHIN_MS: i64 = 4 * DAY_MS;

/// Dates that a weekday alone tells: today's and those of the six days after it.
const WEEKDAYS: std::ops::Range<i64> = 0..7;

/// The first instant that a forecast at `step` looks back upon; a 15-minute bucket's start.
pub fn looks_back_to(step: Timestamp) -> Timestamp {
    let days = i64::try_from(LOOKS_BACK_DAYS).unwrap_or(i64::MAX);
    step.plus_millis(-days.saturating_mul(DAY_MS))
}

/// The forecast of a calendar window that nobody keeps one for, from the hours before the current step.
pub fn of_window(
    kind: WindowKind,
    zone: Tz,
    window: Window,
    hours: &[(Timestamp, Total)],
    spent: Total,
    step: Timestamp,
) -> Result<Forecast, NoForecast> {
    forecast::forecast(&Question { kind, zone, window, at: step, spent, hours })
}

/// The band: `$376–402`, `$1.83–2.27`.
pub fn band(outlook: &Outlook) -> String {
    let (low, high) = (format::usd_rough(outlook.low), format::usd_rough(outlook.high));
    if low == high { low } else { format!("{low}–{}", high.trim_start_matches('$')) }
}

/// What it stands on: `from the hours of the last 6 weeks`.
pub fn basis(outlook: &Outlook) -> String {
    let count =
        |number: usize, one: &str, plural: &str| words::counted(i64::try_from(number).unwrap_or(i64::MAX), one, plural);
    match outlook.basis {
        Basis::Profile { weeks } => format!("from the hours of the last {}", count(weeks, "week", "weeks")),
        Basis::RunRate { days: 1 } => "from the run rate of the last day".to_owned(),
        Basis::RunRate { days } => format!("from the run rate of the last {}", count(days, "day", "days")),
    }
}

/// Why there is none, short enough for a column.
pub fn why_not(reason: NoForecast) -> &'static str {
    match reason {
        NoForecast::Endless => "no end to forecast",
        NoForecast::NotRunning => "not made yet",
        NoForecast::NothingSpent => "nothing spent yet",
        NoForecast::TooLittle => "too early to tell",
        NoForecast::TooFar => "too far ahead to tell",
    }
}

/// Why there is none, in a sentence.
pub fn why_not_sentence(reason: NoForecast) -> &'static str {
    match reason {
        NoForecast::Endless => "A window without an end to come has no forecast.",
        NoForecast::NotRunning => "The forecast is made within moments of each quarter of an hour.",
        NoForecast::NothingSpent => "Nothing was spent in the last eight weeks that a forecast could be made from.",
        NoForecast::TooLittle => "A forecast needs a whole day of spend.",
        NoForecast::TooFar => "The window runs on longer than five times what is known of its spend.",
    }
}

/// When something is likely reached: `at about 14:59`, `on Wed 25 Nov at about 14:59`, `on Tue 24 Nov`.
pub fn likely(at: Timestamp, now: Timestamp, zone: Tz) -> String {
    let (day, time) = (format::date(at, now, zone), format::minute(at, zone));
    if is_same_day(at, now, zone) {
        format!("at about {time}")
    } else if at.millis() - now.millis() < TIME_TOLD_WITHIN_MS {
        format!("on {day} at about {time}")
    } else {
        format!("on {day}")
    }
}

/// How sure the time is: `between Wed evening and Sat`, `not before Wed evening, if at all`.
pub fn between(reach: &Reach, now: Timestamp, zone: Tz) -> String {
    // An hour that ends at midnight belongs to the day before.
    let early = reach.early.plus_millis(-1);
    let Some(late) = reach.late.map(|late| late.plus_millis(-1)) else {
        return format!("not before {}, if at all", about(early, PARTS_TOLD_WITHIN_MS - 1, now, zone));
    };
    let span = late.millis() - early.millis();
    let (first, last) = (about(early, span, now, zone), about(late, span, now, zone));
    if first == last { format!("{first}, four times in five") } else { format!("between {first} and {last}") }
}

/// `on Thu 26 Nov, between Wed evening and Sat`; `None` where it is not likely before the window ends.
pub fn reached(reach: &Reach, now: Timestamp, zone: Tz) -> Option<String> {
    Some(format!("{}, {}", likely(reach.likely?, now, zone), between(reach, now, zone)))
}

/// An end of a span of `span` milliseconds, as finely as that tells anything.
fn about(at: Timestamp, span: i64, now: Timestamp, zone: Tz) -> String {
    let local = at.to_utc().with_timezone(&zone);
    let today = now.to_utc().with_timezone(&zone).date_naive();
    let day = if WEEKDAYS.contains(&(local.date_naive() - today).num_days()) {
        local.format("%a").to_string()
    } else {
        local.format("%a %-d %b").to_string()
    };
    let part = match local.hour() {
        0..6 => "night",
        6..12 => "morning",
        12..18 => "afternoon",
        _ => "evening",
    };
    let minute = format::minute(at.plus_millis(1), zone);
    if span >= PARTS_TOLD_WITHIN_MS {
        day
    } else if span >= HOURS_TOLD_WITHIN_MS {
        format!("{day} {part}")
    } else if is_same_day(at, now, zone) {
        minute
    } else {
        format!("{day} {minute}")
    }
}

fn is_same_day(one: Timestamp, other: Timestamp, zone: Tz) -> bool {
    let date = |at: Timestamp| at.to_utc().with_timezone(&zone).date_naive();
    date(one) == date(other)
}

/// `$389 for November, $376–402 in four of five cases`.
pub fn ends_at(outlook: &Outlook, noun: &str) -> String {
    format!("{} for {noun}, {} in four of five cases", format::usd_rough(outlook.projected), band(outlook))
}

/// What a threshold of the forecast looks at: `100 %` of `forecast 100 %`.
pub fn share_of(threshold: crate::domain::budget::Threshold) -> String {
    words::threshold(threshold).trim_start_matches("forecast").trim_start().to_owned()
}

/// Hours of all spend up to the current step, for forecasts of more than one window.
pub async fn hours_of_all(
    store: &crate::store::Store,
    step: Timestamp,
) -> Result<crate::store::forecasts::Hours, StoreError> {
    crate::store::forecasts::ledger_hours(store, crate::store::forecasts::Whose::default(), looks_back_to(step), step)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn told(early: &str, likely: Option<&str>, late: Option<&str>) -> Option<String> {
        let reach = Reach { early: at(early), likely: likely.map(at), late: late.map(at) };
        reached(&reach, at("2026-11-22T10:00:00Z"), Tz::Europe__Berlin)
    }

    #[test]
    fn the_time_is_told_as_finely_as_it_is_known() {
        assert_eq!(
            told("2026-11-25T19:00:00Z", Some("2026-11-26T12:00:00Z"), Some("2026-11-28T15:00:00Z")).unwrap(),
            "on Thu 26 Nov, between Wed evening and Sat afternoon"
        );
        assert_eq!(
            told("2026-11-25T19:00:00Z", Some("2026-11-27T12:00:00Z"), Some("2026-11-30T15:00:00Z")).unwrap(),
            "on Fri 27 Nov, between Wed and Mon 30 Nov"
        );
        assert_eq!(
            told("2026-11-22T13:00:00Z", Some("2026-11-22T14:00:00Z"), Some("2026-11-22T17:00:00Z")).unwrap(),
            "at about 15:00, between 14:00 and 18:00"
        );
        assert_eq!(
            told("2026-11-22T20:00:00Z", Some("2026-11-23T00:30:00Z"), Some("2026-11-23T05:00:00Z")).unwrap(),
            "on Mon 23 Nov at about 01:30, between 21:00 and Mon 06:00"
        );
        assert_eq!(
            told("2026-11-25T19:00:00Z", Some("2026-11-29T12:00:00Z"), None).unwrap(),
            "on Sun 29 Nov, not before Wed evening, if at all"
        );
        // Midnight ends the day before.
        assert_eq!(
            told("2026-11-25T23:00:00Z", Some("2026-11-26T12:00:00Z"), Some("2026-11-27T23:00:00Z")).unwrap(),
            "on Thu 26 Nov, between Wed evening and Fri evening"
        );
        assert_eq!(told("2026-11-25T19:00:00Z", None, None), None);
    }
}
