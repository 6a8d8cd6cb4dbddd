//! Schedules: crontab's grammar, and runs where clocks are changed.

use chrono::Timelike as _;
use chrono_tz::TZ_VARIANTS;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// The next `count` runs after `after`, in local time with offset.
fn runs(text: &str, zone: Tz, after: &str, count: usize) -> Vec<String> {
    let schedule = Schedule::parse(text, zone).unwrap();
    let mut last = at(after);
    std::iter::repeat_with(|| {
        last = schedule.next_after(last).unwrap();
        zone::to_rfc3339(zone, last)
    })
    .take(count)
    .collect()
}

#[test]
fn crontabs_grammar_is_read_as_crontab_reads_it() {
    let next = |text: &str| runs(text, Tz::UTC, "2026-11-22T16:05:00Z", 3).join(" ").replace(":00+00:00", "");
    for (text, expected) in [
        ("5 16 * * *", "2026-11-23T16:05 2026-11-24T16:05 2026-11-25T16:05"),
        ("*/20 * * * *", "2026-11-22T16:20 2026-11-22T16:40 2026-11-22T17:00"),
        ("0 8-10/2 * * *", "2026-11-23T08:00 2026-11-23T10:00 2026-11-24T08:00"),
        // The 22nd is a Sunday: 0, 7 and the name.
        ("0 9 * * 0", "2026-11-29T09:00 2026-12-06T09:00 2026-12-13T09:00"),
        ("0 9 * * 7", "2026-11-29T09:00 2026-12-06T09:00 2026-12-13T09:00"),
        ("0 9 * * Sun", "2026-11-29T09:00 2026-12-06T09:00 2026-12-13T09:00"),
        ("0 9 * * 5-7", "2026-11-27T09:00 2026-11-28T09:00 2026-11-29T09:00"),
        ("0 9 * * fri-sun", "2026-11-27T09:00 2026-11-28T09:00 2026-11-29T09:00"),
        ("0 9 * * mon-fri", "2026-11-23T09:00 2026-11-24T09:00 2026-11-25T09:00"),
        ("0 9 1 jan,JUL *", "2027-01-01T09:00 2027-07-01T09:00 2028-01-01T09:00"),
        // Both days restricted: either is enough. One of them with a star: both must hold.
        ("0 9 1 * mon", "2026-11-23T09:00 2026-11-30T09:00 2026-12-01T09:00"),
        ("0 9 */2 * mon", "2026-11-23T09:00 2026-12-07T09:00 2026-12-21T09:00"),
        ("0 0 29 2 *", "2028-02-29T00:00 2032-02-29T00:00 2036-02-29T00:00"),
        ("@hourly", "2026-11-22T17:00 2026-11-22T18:00 2026-11-22T19:00"),
        ("@Daily", "2026-11-23T00:00 2026-11-24T00:00 2026-11-25T00:00"),
        ("@weekly", "2026-11-29T00:00 2026-12-06T00:00 2026-12-13T00:00"),
        ("@monthly", "2026-12-01T00:00 2027-01-01T00:00 2027-02-01T00:00"),
        ("@yearly", "2027-01-01T00:00 2028-01-01T00:00 2029-01-01T00:00"),
    ] {
        assert_eq!(next(text), expected, "{text}");
    }
}

#[test]
fn what_is_no_schedule_is_told_with_its_field() {
    let told = |text: &str| Schedule::parse(text, Tz::UTC).unwrap_err().to_string();
    for (text, part) in [
        ("", "write five fields"),
        ("* * * *", "write five fields"),
        ("0 0 * * * *", "write five fields"),
        ("@reboot", "write five fields"),
        ("60 * * * *", "minute: \"60\" is not 0 to 59"),
        ("+5 * * * *", "minute: \"+5\""),
        ("5/10 * * * *", "minute: \"5/10\""),
        ("*/0 * * * *", "minute: \"*/0\""),
        ("0 24 * * *", "hour: \"24\" is not 0 to 23"),
        ("0 22-2 * * *", "hour: \"22-2\""),
        ("0 0 0 * *", "day of month: \"0\" is not 1 to 31"),
        ("0 0 * foo *", "month: \"foo\" is not 1 to 12 or jan to dec"),
        ("0 0 * * 8", "day of week: \"8\""),
        ("0 0 1,,2 * *", "day of month: \"1,,2\""),
        ("0 0 30 2 *", "never runs"),
    ] {
        assert!(told(text).contains(part), "{text}: {}", told(text));
    }
    assert!(told(&"1,".repeat(1_000_000)).len() < 1_000);
}

#[test]
fn a_fixed_hour_runs_once_a_day_whatever_berlins_clock_does() {
    let berlin = Tz::Europe__Berlin;
    // 02:30 does not exist on 29 March 2026: it runs at the first instant after the gap.
    assert_eq!(
        runs("30 2 * * *", berlin, "2026-03-28T00:00:00Z", 3),
        ["2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]
    );
    // Several that are skipped together, and one due at that instant, are one run.
    assert_eq!(
        runs("*/15 2-3 * * *", berlin, "2026-03-29T00:00:00Z", 3),
        ["2026-03-29T03:00:00+02:00", "2026-03-29T03:15:00+02:00", "2026-03-29T03:30:00+02:00"]
    );
    // 02:30 comes twice on 25 October 2026: the first counts, from whatever instant it is asked.
    assert_eq!(
        runs("30 2 * * *", berlin, "2026-10-25T00:00:00Z", 2),
        ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]
    );
    assert_eq!(runs("30 2 * * *", berlin, "2026-10-25T01:10:00Z", 1), ["2026-10-26T02:30:00+01:00"]);
}

#[test]
fn wildcard_hours_follow_elapsed_time_over_berlins_changes() {
    let berlin = Tz::Europe__Berlin;
    assert_eq!(
        runs("30 * * * *", berlin, "2026-10-24T23:45:00Z", 4),
        [
            "2026-10-25T02:30:00+02:00",
            "2026-10-25T02:30:00+01:00",
            "2026-10-25T03:30:00+01:00",
            "2026-10-25T04:30:00+01:00"
        ]
    );
    assert_eq!(
        runs("30 * * * *", berlin, "2026-03-29T00:00:00Z", 2),
        ["2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"]
    );
    // At the instant of the change itself.
    assert_eq!(
        runs("0 * * * *", berlin, "2026-10-25T00:00:00Z", 2),
        ["2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"]
    );
}

#[test]
fn lord_howes_half_hour_skips_and_doubles_half_hours() {
    let howe = Tz::Australia__Lord_Howe;
    // Back from 02:00 to 01:30, 5 April 2026: 01:45 comes twice.
    assert_eq!(
        runs("45 1 * * *", howe, "2026-04-04T14:00:00Z", 2),
        ["2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"]
    );
    assert_eq!(
        runs("45 * * * *", howe, "2026-04-04T14:00:00Z", 3),
        ["2026-04-05T01:45:00+11:00", "2026-04-05T01:45:00+10:30", "2026-04-05T02:45:00+10:30"]
    );
    // Forward from 02:00 to 02:30, 4 October 2026.
    assert_eq!(
        runs("15 2 * * *", howe, "2026-10-03T14:00:00Z", 2),
        ["2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"]
    );
    assert_eq!(
        runs("0,30 * * * *", howe, "2026-10-03T14:45:00Z", 3),
        ["2026-10-04T01:30:00+10:30", "2026-10-04T02:30:00+11:00", "2026-10-04T03:00:00+11:00"]
    );
}

#[test]
fn a_midnight_or_a_date_that_is_skipped_runs_when_the_day_begins() {
    assert_eq!(
        runs("0 0 * * *", Tz::Africa__Cairo, "2026-04-23T12:00:00Z", 2),
        ["2026-04-24T01:00:00+03:00", "2026-04-25T00:00:00+03:00"]
    );
    // Samoa had no 30 December 2011; its runs and those of the 31st's first instant are one.
    assert_eq!(
        runs("0 0 * * *", Tz::Pacific__Apia, "2011-12-29T12:00:00Z", 2),
        ["2011-12-31T00:00:00+14:00", "2012-01-01T00:00:00+14:00"]
    );
}

#[test]
fn milliseconds_after_a_run_the_next_one_is_not_the_same() {
    let hourly = Schedule::parse("@hourly", Tz::UTC).unwrap();
    let run = at("2026-11-22T17:00:00Z");
    assert_eq!(hourly.next_after(run.plus_millis(-1)), Some(run));
    assert_eq!(hourly.next_after(run.plus_millis(1)), Some(at("2026-11-22T18:00:00Z")));
    assert_eq!(hourly.next_after(at("2150-01-01T00:00:00Z")), None);
}

#[test]
fn a_schedule_shows_its_fields_and_equals_one_of_the_same_text_and_zone() {
    let daily = Schedule::parse(" 0  0 * * * ", Tz::UTC).unwrap();
    assert_eq!(daily.to_string(), "0 0 * * *");
    assert_eq!(Ok(daily.clone()), Schedule::parse("@daily", Tz::UTC));
    assert_ne!(Ok(daily), Schedule::parse("@daily", Tz::Europe__Berlin));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn in_every_zone_a_wildcard_schedule_runs_at_each_matching_minute_and_no_other(
        zone in select(&TZ_VARIANTS[..]),
        from in at("2020-01-01T00:00:00Z").millis()..at("2030-01-01T00:00:00Z").millis(),
        minute in 0_u32..60,
    ) {
        let from = Timestamp(from);
        // Where the clock changes within half a year, look there.
        let from = zone::next_change(zone, from, from.plus_millis(183 * 86_400_000)).unwrap_or(from).plus_millis(-7_200_000);
        let next = Schedule::parse(&format!("{minute} * * * *"), zone).unwrap().next_after(from).unwrap();
        let first_minute = from.millis().div_euclid(60_000) + 1;
        let expected = (first_minute..first_minute + 24 * 60)
            .map(|n| Timestamp(n * 60_000))
            .find(|instant| zone::local_time(zone, *instant).minute() == minute);
        prop_assert_eq!(Some(next), expected);
    }

    #[test]
    fn in_every_zone_a_fixed_time_runs_once_a_day(
        zone in select(&TZ_VARIANTS[..]),
        from in at("2020-01-01T00:00:00Z").millis()..at("2030-01-01T00:00:00Z").millis(),
        minute in 0_u32..60,
        hour in 0_u32..24,
    ) {
        let from = Timestamp(from);
        let from = zone::next_change(zone, from, from.plus_millis(183 * 86_400_000)).unwrap_or(from).plus_millis(-172_800_000);
        let schedule = Schedule::parse(&format!("{minute} {hour} * * *"), zone).unwrap();
        let mut run = schedule.next_after(from).unwrap();
        for _ in 0..4 {
            let next = schedule.next_after(run).unwrap();
            // No clock of these years is set by more than three hours.
            let hours = (next.millis() - run.millis()) / 3_600_000;
            prop_assert!((21..=27).contains(&hours), "{run} {next}");
            let local = zone::local_time(zone, next);
            prop_assert!(
                (local.hour(), local.minute()) == (hour, minute)
                    || zone::offset_ms(zone, next) != zone::offset_ms(zone, next.plus_millis(-1))
            );
            run = next;
        }
    }
}

#[test]
fn the_run_before_is_the_one_that_leads_to_this() {
    let berlin: Tz = "Europe/Berlin".parse().unwrap();
    let before = |text: &str, zone: Tz, at_text: &str| {
        Schedule::parse(text, zone).unwrap().last_before(at(at_text)).map(|run| zone::to_rfc3339(zone, run))
    };
    let run = |text: &str| Some(text.to_owned());
    assert_eq!(before("0 8 * * *", berlin, "2026-11-19T07:00:00Z"), run("2026-11-18T08:00:00+01:00"), "not itself");
    assert_eq!(before("0 8 * * *", berlin, "2026-11-19T07:00:00.001Z"), run("2026-11-19T08:00:00+01:00"));
    assert_eq!(before("*/5 * * * *", Tz::UTC, "2026-11-19T07:02:00Z"), run("2026-11-19T07:00:00+00:00"));
    assert_eq!(before("0 6 1 * *", Tz::UTC, "2026-11-30T00:00:00Z"), run("2026-11-01T06:00:00+00:00"));
    assert_eq!(before("0 0 29 2 *", Tz::UTC, "2026-11-30T00:00:00Z"), run("2024-02-29T00:00:00+00:00"));
    // A fixed hour that was skipped ran at the first instant after the gap.
    assert_eq!(before("30 2 * * *", berlin, "2026-03-29T12:00:00Z"), run("2026-03-29T03:00:00+02:00"));
}

proptest! {
    #[test]
    fn nothing_lies_between_the_run_before_and_the_instant(
        zone in select(TZ_VARIANTS.as_slice()),
        text in select(["*/20 * * * *", "30 2 * * *", "0 8,20 * * *", "15 6 * * mon-fri", "0 0 1 * *"].as_slice()),
        at in 1_600_000_000_000_i64..1_900_000_000_000,
    ) {
        let schedule = Schedule::parse(text, zone).unwrap();
        let last = schedule.last_before(Timestamp(at)).unwrap();
        prop_assert!(last < Timestamp(at));
        prop_assert!(schedule.next_after(last).unwrap() >= Timestamp(at));
    }
}
