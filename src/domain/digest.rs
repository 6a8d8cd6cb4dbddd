//! Reports on a schedule: when one is due, and what it covers.
//!
//! Each run covers what lies between the run before and itself, in whole local days where a day lies between
//! them: a daily report yesterday, a weekly one the last seven days, one on the first the month before, and
//! one that runs from Monday to Friday has the weekend in Monday's. Runs of one report leave no gap and tell
//! nothing twice; a run that makes up for missed ones covers what they would have.

use chrono::{Datelike as _, Days, Months, NaiveDate};
use chrono_tz::Tz;

use super::schedule::Schedule;
use super::time::{BUCKET_MS, DAY_MS, Timestamp};
use super::zone;

/// The longest span one run covers, whatever was missed, in milliseconds.
pub const LONGEST_MS: i64 = 400 * DAY_MS;

/// A report as the file describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its name, unique among the reports.
    pub name: String,
    /// When it runs, and in which zone's days it counts.
    pub schedule: Schedule,
    /// Whom it tells: mail addresses, and `webhook:NAME`.
    pub notify: Vec<String>,
}

/// A span of time, half open.
pub type Covers = (Timestamp, Timestamp);

impl Report {
    /// The run that is due at `now`: the last instant the schedule named after `since` and after the last run. Of several
    /// that were missed it is the last; the others are made up for by it.
    pub fn due(&self, since: Timestamp, last: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let after = last.map_or(since, |last| last.max(since));
        self.schedule.last_before(now.plus_millis(1)).filter(|run| *run > after)
    }

    /// What the run scheduled at `run` covers; `told_until` is where the run before it ended, if there was one.
    pub fn covers(&self, run: Timestamp, told_until: Option<Timestamp>) -> Covers {
        let zone = self.schedule.zone();
        let before = self.schedule.last_before(run).unwrap_or(run.plus_millis(-DAY_MS));
        let (since, until) = (told_until.unwrap_or_else(|| day_of(zone, before)), day_of(zone, run));
        let (since, until) = if since < until {
            (since, until)
        } else {
            let until = run.bucket();
            let since = told_until.unwrap_or_else(|| before.bucket());
            (since.min(until.plus_millis(-BUCKET_MS)), until)
        };
        (since.max(until.plus_millis(-LONGEST_MS)), until)
    }
}

/// What `covers` is compared with: whole months with the months before, a week and more with as many days before, less
/// with the same time a week ago.
pub fn before(zone: Tz, covers: Covers) -> Covers {
    let (since, until) = (date_of(zone, covers.0), date_of(zone, covers.1));
    let whole_days = day_of(zone, covers.0) == covers.0 && day_of(zone, covers.1) == covers.1;
    let start = |date: Option<NaiveDate>| date.map_or(covers.0, |date| zone::first_of_date(zone, date));
    if whole_days && since.day() == 1 && until.day() == 1 {
        let months = (until.year() - since.year()) * 12 + (until.month0().cast_signed() - since.month0().cast_signed());
        return (start(since.checked_sub_months(Months::new(months.unsigned_abs()))), covers.0);
    }
    let days = (until - since).num_days();
    if whole_days && days >= 7 {
        return (start(since.checked_sub_days(Days::new(days.unsigned_abs()))), covers.0);
    }
    // The same local dates and times a week ago; spans of some hours move by elapsed time.
    if whole_days {
        return (start(since.checked_sub_days(Days::new(7))), start(until.checked_sub_days(Days::new(7))));
    }
    (covers.0.plus_millis(-7 * DAY_MS), covers.1.plus_millis(-7 * DAY_MS))
}

fn date_of(zone: Tz, at: Timestamp) -> NaiveDate {
    at.to_utc().with_timezone(&zone).date_naive()
}

/// The first instant of the local date that holds `at`.
fn day_of(zone: Tz, at: Timestamp) -> Timestamp {
    zone::first_of_date(zone, date_of(zone, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn report(schedule: &str, zone: &str) -> Report {
        let schedule = Schedule::parse(schedule, zone.parse().unwrap()).unwrap();
        Report { name: "r".to_owned(), schedule, notify: vec!["x@example.com".to_owned()] }
    }

    fn covers(schedule: &str, zone: &str, run: &str, told: Option<&str>) -> (String, String) {
        let (since, until) = report(schedule, zone).covers(at(run), told.map(at));
        (since.to_iso(), until.to_iso())
    }

    fn span(since: &str, until: &str) -> (String, String) {
        (at(since).to_iso(), at(until).to_iso())
    }

    #[test]
    fn a_run_covers_the_whole_days_since_the_run_before() {
        let berlin = "Europe/Berlin";
        // Yesterday, in the days of its zone.
        assert_eq!(
            covers("0 8 * * *", berlin, "2026-11-19T07:00:00Z", None),
            span("2026-11-17T23:00:00Z", "2026-11-18T23:00:00Z")
        );
        // The week to a Monday morning; winter time began in it.
        assert_eq!(
            covers("0 8 * * mon", berlin, "2026-10-26T07:00:00Z", None),
            span("2026-10-18T22:00:00Z", "2026-10-25T23:00:00Z")
        );
        // The month before.
        assert_eq!(
            covers("0 6 1 * *", "UTC", "2026-03-01T06:00:00Z", None),
            span("2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z")
        );
        // The weekend is in Monday's.
        assert_eq!(
            covers("30 8 * * mon-fri", "UTC", "2026-11-23T08:30:00Z", None),
            span("2026-11-20T00:00:00Z", "2026-11-23T00:00:00Z")
        );
        // Two were missed: what they would have told is in this one.
        assert_eq!(
            covers("0 8 * * *", "UTC", "2026-11-19T08:00:00Z", Some("2026-11-16T00:00:00Z")),
            span("2026-11-16T00:00:00Z", "2026-11-19T00:00:00Z")
        );
        // Several a day tell the hours since.
        assert_eq!(
            covers("0 8,20 * * *", "UTC", "2026-11-19T20:00:00Z", Some("2026-11-19T00:00:00Z")),
            span("2026-11-19T00:00:00Z", "2026-11-19T20:00:00Z")
        );
        assert_eq!(
            covers("*/5 * * * *", "UTC", "2026-11-19T20:05:00Z", Some("2026-11-19T20:00:00Z")),
            span("2026-11-19T19:45:00Z", "2026-11-19T20:00:00Z")
        );
    }

    #[test]
    fn it_is_compared_with_what_is_like_it() {
        let compared = |zone: &str, since: &str, until: &str| {
            let (since, until) = before(zone.parse().unwrap(), (at(since), at(until)));
            (since.to_iso(), until.to_iso())
        };
        assert_eq!(
            compared("UTC", "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"),
            span("2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z")
        );
        assert_eq!(
            compared("Europe/Berlin", "2026-10-18T22:00:00Z", "2026-10-25T23:00:00Z"),
            span("2026-10-11T22:00:00Z", "2026-10-18T22:00:00Z")
        );
        assert_eq!(
            compared("UTC", "2026-11-18T00:00:00Z", "2026-11-19T00:00:00Z"),
            span("2026-11-11T00:00:00Z", "2026-11-12T00:00:00Z")
        );
        assert_eq!(
            compared("UTC", "2026-11-19T08:00:00Z", "2026-11-19T20:00:00Z"),
            span("2026-11-12T08:00:00Z", "2026-11-12T20:00:00Z")
        );
    }

    #[test]
    fn only_the_last_missed_run_is_due_and_only_once() {
        let daily = report("0 8 * * *", "UTC");
        let since = at("2026-11-01T12:00:00Z");
        assert_eq!(
            daily.due(since, None, at("2026-11-02T07:59:59.999Z")),
            None,
            "what lies before it was there is not"
        );
        assert_eq!(daily.due(since, None, at("2026-11-02T08:00:00Z")), Some(at("2026-11-02T08:00:00Z")));
        let last = Some(at("2026-11-02T08:00:00Z"));
        assert_eq!(daily.due(since, last, at("2026-11-02T09:00:00Z")), None);
        assert_eq!(daily.due(since, last, at("2026-11-06T09:00:00Z")), Some(at("2026-11-06T08:00:00Z")));
        let monthly = report("0 6 1 * *", "UTC");
        assert_eq!(monthly.due(since, None, at("2026-11-30T00:00:00Z")), None);
        assert_eq!(monthly.due(since, None, at("2026-12-24T00:00:00Z")), Some(at("2026-12-01T06:00:00Z")));
    }
}
