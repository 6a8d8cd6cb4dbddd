//! Windows over every zone of the tz database: they tile time, hold the instant and lie on buckets.

use std::collections::BTreeMap;

use chrono::Timelike as _;
use chrono_tz::TZ_VARIANTS;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const CALENDAR: [WindowKind; 6] =
    [WindowKind::Hour, WindowKind::Day, WindowKind::Week, WindowKind::Month, WindowKind::Quarter, WindowKind::Year];

/// The ten years in which random instants lie.
const DECADE: (&str, &str) = ("2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z");

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn window(start: &str, end: &str) -> Window {
    Window { start: at(start), end: Some(at(end)) }
}

/// Every instant in (`from`, `until`] at which the zone's offset changes, looking once a week: what makes all zones affordable.
fn changes(zone: Tz, from: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    let mut found = Vec::new();
    let mut last = from;
    while last < until {
        let next = last.plus_millis(7 * DAY_MS).min(until);
        if zone::offset_ms(zone, last) != zone::offset_ms(zone, next) {
            found.extend(zone::next_change(zone, last, next));
        }
        last = next;
    }
    found
}

/// Whether the window holds the instant, joins its neighbours without gap or overlap, is found from
/// both its ends, and lies on buckets. Returns its end.
fn check(kind: WindowKind, zone: Tz, at: Timestamp) -> Timestamp {
    check_cut(Calendar::plain(kind, zone), at).end.unwrap()
}

fn check_cut(calendar: Calendar, at: Timestamp) -> Window {
    let window = calendar.window_at(at);
    let end = window.end.unwrap();
    let told = || format!("{calendar:?} at {at}: {window:?}");
    assert!(window.contains(at), "{}", told());
    assert!(window.start < end, "{}", told());
    assert_eq!(window.start.bucket(), window.start, "{}", told());
    assert_eq!(end.bucket(), end, "{}", told());
    assert_eq!(calendar.window_at(window.start), window, "{}", told());
    assert_eq!(calendar.window_at(end.plus_millis(-1)), window, "{}", told());
    assert_eq!(calendar.window_at(end).start, end, "{}", told());
    assert_eq!(calendar.previous(&window).unwrap().end, Some(window.start), "{}", told());
    window
}

#[test]
fn windows_tile_time_around_every_change_of_every_clock_since_1980() {
    for zone in TZ_VARIANTS {
        for change in changes(zone, at("1980-01-02T00:00:00Z"), at("2040-01-01T00:00:00Z")) {
            check(WindowKind::Hour, zone, change.plus_millis(-1));
            check(WindowKind::Hour, zone, change);
            check(WindowKind::Day, zone, change.plus_millis(-1));
            check(WindowKind::Day, zone, change);
            check(WindowKind::Month, zone, change);
        }
    }
}

#[test]
fn weeks_months_quarters_and_years_tile_ten_years_in_every_zone() {
    let until = at(DECADE.1);
    for zone in TZ_VARIANTS {
        for kind in [WindowKind::Week, WindowKind::Month, WindowKind::Quarter, WindowKind::Year] {
            let mut next = at(DECADE.0);
            while next < until {
                next = check(kind, zone, next);
            }
        }
    }
}

/// Every way in which windows of dates can be cut in a zone.
fn cuts(zone: Tz) -> Vec<Calendar> {
    let plain = CALENDAR.map(|kind| Calendar::plain(kind, zone));
    let weeks = WeekStart::ALL.map(|week_starts| Calendar { week_starts, ..Calendar::plain(WindowKind::Week, zone) });
    let months = (1..=31).map(|day| Calendar {
        billing_day: BillingDay::try_from(day).unwrap(),
        ..Calendar::plain(WindowKind::Month, zone)
    });
    plain.into_iter().chain(weeks).chain(months).collect()
}

/// Zones by their offsets over the decade: windows depend on nothing else of a zone.
fn zones_by_their_clocks() -> BTreeMap<Vec<(Timestamp, i64)>, Vec<Tz>> {
    let mut clocks: BTreeMap<_, Vec<Tz>> = BTreeMap::new();
    let (from, until) = (at(DECADE.0).plus_millis(-60 * DAY_MS), at(DECADE.1).plus_millis(400 * DAY_MS));
    for zone in TZ_VARIANTS {
        let shown = [from].into_iter().chain(changes(zone, from, until));
        clocks.entry(shown.map(|at| (at, zone::offset_ms(zone, at))).collect()).or_default().push(zone);
    }
    clocks
}

#[test]
fn weeks_and_months_tile_ten_years_wherever_they_begin() {
    let until = at(DECADE.1);
    for zones in zones_by_their_clocks().values() {
        for calendar in
            cuts(zones[0]).iter().filter(|cut| cut.kind == WindowKind::Week || cut.kind == WindowKind::Month)
        {
            let mut window = calendar.window_at(at(DECADE.0));
            while window.start < until {
                let end = window.end.unwrap();
                let next = calendar.window_at(end);
                let told = || format!("{calendar:?}: {window:?}, then {next:?}");
                assert_eq!(next.start, end, "{}", told());
                assert_eq!(calendar.window_at(end.plus_millis(-1)), window, "{}", told());
                assert_eq!(end.bucket(), end, "{}", told());
                window = next;
            }
        }
    }
}

#[test]
fn two_thousand_random_instants_of_ten_years_lie_in_windows_that_tile_in_every_zone() {
    // A generator of its own, so that a failure comes again: the numbers of Knuth's MMIX.
    let mut state = 20_261_122_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let (from, until) = (at(DECADE.0), at(DECADE.1));
    let span = u64::try_from(until.millis() - from.millis()).unwrap();
    for zones in zones_by_their_clocks().values() {
        let cuts = cuts(zones[0]);
        for n in 0..2_000 {
            let at = from.plus_millis(i64::try_from(random(span)).unwrap());
            // Every option has its turn in every clock; in the zones named, every option at every instant.
            check_cut(cuts[n % cuts.len()], at);
        }
    }
    // Half-hour steps, a quarter-hour offset, and clocks that skip midnight in this decade.
    for zone in [
        Tz::Australia__Lord_Howe,
        Tz::Asia__Kathmandu,
        Tz::Africa__Cairo,
        Tz::Asia__Beirut,
        Tz::America__Asuncion,
        Tz::Atlantic__Azores,
    ] {
        for calendar in cuts(zone) {
            for _ in 0..2_000 {
                let at = from.plus_millis(i64::try_from(random(span)).unwrap());
                let window = calendar.window_at(at);
                let (end, told) = (window.end.unwrap(), || format!("{calendar:?} at {at}: {window:?}"));
                assert!(window.contains(at), "{}", told());
                assert_eq!(calendar.window_at(end).start, end, "{}", told());
                assert_eq!(calendar.window_at(window.start.plus_millis(-1)).end, Some(window.start), "{}", told());
            }
        }
    }
}

#[test]
fn billing_months_begin_on_their_day_and_on_the_last_of_a_shorter_month() {
    let month = |day: i64, text| {
        let billing_day = BillingDay::try_from(day).unwrap();
        Calendar { billing_day, ..Calendar::plain(WindowKind::Month, Tz::UTC) }.window_at(at(text))
    };
    let from = |day, text| month(day, text).start.to_iso()[..10].to_owned();
    assert_eq!(month(15, "2026-11-14T23:59:59.999Z"), window("2026-10-15T00:00:00Z", "2026-11-15T00:00:00Z"));
    assert_eq!(month(15, "2026-11-15T00:00:00Z"), window("2026-11-15T00:00:00Z", "2026-12-15T00:00:00Z"));
    assert_eq!(month(31, "2026-02-27T12:00:00Z"), window("2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z"));
    assert_eq!(month(31, "2026-02-28T12:00:00Z"), window("2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"));
    assert_eq!(from(30, "2028-02-29T00:00:00Z"), "2028-02-29");
    assert_eq!(from(29, "2026-03-28T00:00:00Z"), "2026-02-28");
    assert_eq!(from(1, "2026-03-28T00:00:00Z"), "2026-03-01");
    // Samoa had no 30 December 2011: that month began a day later.
    let samoa = Calendar {
        billing_day: BillingDay::try_from(30).unwrap(),
        ..Calendar::plain(WindowKind::Month, Tz::Pacific__Apia)
    };
    assert_eq!(check_cut(samoa, at("2011-12-30T10:00:00Z")).start, at("2011-12-30T10:00:00Z"));
    assert_eq!(check_cut(samoa, at("2011-12-30T09:59:59Z")).end, Some(at("2011-12-30T10:00:00Z")));
    assert!(
        BillingDay::try_from(0).is_err() && BillingDay::try_from(32).is_err() && "1.5".parse::<BillingDay>().is_err()
    );
}

#[test]
fn weeks_begin_on_the_weekday_that_is_named() {
    let week = |day: &str, text| {
        let week_starts = day.parse().unwrap();
        Calendar { week_starts, ..Calendar::plain(WindowKind::Week, Tz::UTC) }.window_at(at(text))
    };
    // 22 November 2026 is a Sunday.
    assert_eq!(week("sunday", "2026-11-22T00:00:00Z"), window("2026-11-22T00:00:00Z", "2026-11-29T00:00:00Z"));
    assert_eq!(week("sunday", "2026-11-21T23:59:59Z"), window("2026-11-15T00:00:00Z", "2026-11-22T00:00:00Z"));
    assert_eq!(week("monday", "2026-11-22T00:00:00Z"), window("2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"));
    for day in WeekStart::ALL {
        assert_eq!(day.as_str().parse(), Ok(day));
    }
    assert!("Sun".parse::<WeekStart>().unwrap_err().to_string().contains("sunday"));
}

#[test]
fn the_hours_and_days_of_a_year_tile_it_where_clocks_are_odd() {
    for zone in
        [Tz::Australia__Lord_Howe, Tz::Asia__Kathmandu, Tz::America__St_Johns, Tz::Pacific__Apia, Tz::Africa__Cairo]
    {
        for kind in [WindowKind::Hour, WindowKind::Day] {
            let mut next = at("2011-01-01T00:00:00Z");
            while next < at("2012-01-01T00:00:00Z") {
                next = check(kind, zone, next);
            }
        }
    }
}

/// The window by walking buckets: a period begins at the first bucket whose local date lies in it or later.
fn walked(kind: WindowKind, zone: Tz, at: Timestamp, reach_ms: i64) -> Window {
    let calendar = Calendar::plain(kind, zone);
    let period = |bucket: Timestamp| calendar.first_date(zone::local_time(zone, bucket).date());
    let mut bucket = at.bucket().plus_millis(-reach_ms);
    let (mut latest, mut start) = (period(bucket), bucket);
    loop {
        bucket = bucket.plus_millis(BUCKET_MS);
        if period(bucket) > latest {
            if bucket > at {
                return Window { start, end: Some(bucket) };
            }
            (latest, start) = (period(bucket), bucket);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn random_instants_of_ten_years_lie_in_a_window_that_joins_its_neighbours(
        zone in select(&TZ_VARIANTS[..]),
        kind in select(&CALENDAR[..]),
        ms in at(DECADE.0).millis()..at(DECADE.1).millis(),
    ) {
        check(kind, zone, Timestamp(ms));
    }

    #[test]
    fn a_day_is_what_walking_its_buckets_finds(
        zone in select(&TZ_VARIANTS[..]),
        ms in at(DECADE.0).millis()..at(DECADE.1).millis(),
    ) {
        let at = Timestamp(ms);
        prop_assert_eq!(WindowKind::Day.window_at(zone, at), walked(WindowKind::Day, zone, at, 2 * DAY_MS));
    }

    #[test]
    fn an_hour_begins_where_the_clock_stands_at_a_full_hour_or_its_offset_changes(
        zone in select(&TZ_VARIANTS[..]),
        ms in at(DECADE.0).millis()..at(DECADE.1).millis(),
    ) {
        let window = WindowKind::Hour.window_at(zone, Timestamp(ms));
        let end = window.end.unwrap();
        for bound in [window.start, end] {
            let full_hour = zone::local_time(zone, bound).minute() == 0;
            prop_assert!(full_hour || zone::offset_ms(zone, bound) != zone::offset_ms(zone, bound.plus_millis(-1)));
        }
        prop_assert!(end.millis() - window.start.millis() <= HOUR_MS);
        if zone::next_change(zone, window.start, end.plus_millis(-1)).is_none() {
            let hour = |at| zone::local_time(zone, at).hour();
            prop_assert_eq!(hour(window.start), hour(Timestamp(ms)));
        }
    }

    #[test]
    fn a_rolling_window_holds_the_whole_bucket_of_the_instant_one_span_ago(
        kind in select(&[WindowKind::Rolling24h, WindowKind::Rolling7d, WindowKind::Rolling30d][..]),
        ms in at(DECADE.0).millis()..at(DECADE.1).millis(),
    ) {
        let (now, span) = (Timestamp(ms), kind.rolling_span().unwrap());
        let window = kind.window_at(Tz::UTC, now);
        prop_assert!(window.contains(now));
        prop_assert_eq!(window.start, now.plus_millis(-span).bucket());
        prop_assert_eq!(window.end.unwrap().millis() - window.start.millis(), span + BUCKET_MS);
        prop_assert_eq!(kind.window_at(Tz::UTC, now.bucket()), window);
        let step = kind.window_at(Tz::UTC, window.end.unwrap());
        prop_assert_eq!(step.start, window.start.plus_millis(BUCKET_MS));
        prop_assert_eq!(Calendar::plain(kind, Tz::UTC).previous(&window), Some(kind.window_at(Tz::UTC, now.plus_millis(-span))));
    }
}

#[test]
fn a_day_starts_at_the_first_instant_of_its_local_date() {
    let day = |zone, text| WindowKind::Day.window_at(zone, at(text));
    // Cairo's clock goes from 00:00 to 01:00: the day begins at one.
    let cairo = day(Tz::Africa__Cairo, "2026-04-24T12:00:00Z");
    assert_eq!(cairo, window("2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"));
    // Havana shows the hour after midnight twice: the day begins with the first and has 25 hours.
    let havana = day(Tz::America__Havana, "2026-11-01T12:00:00Z");
    assert_eq!(havana, window("2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"));
    // St John's went back from 00:01 to 23:01: the new day had begun, and goes on through yesterday's last hour.
    let st_johns = window("2009-11-01T02:30:00Z", "2009-11-02T03:30:00Z");
    for text in ["2009-11-01T02:30:00Z", "2009-11-01T03:00:00Z", "2009-11-01T12:00:00Z"] {
        assert_eq!(day(Tz::America__St_Johns, text), st_johns, "{text}");
    }
    let month = WindowKind::Month.window_at(Tz::America__St_Johns, at("2009-11-01T03:00:00Z"));
    assert_eq!(month.start, at("2009-11-01T02:30:00Z"));
    // Samoa had no 30 December 2011: the 31st follows the 29th.
    assert_eq!(day(Tz::Pacific__Apia, "2011-12-30T09:59:00Z"), window("2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"));
    assert_eq!(day(Tz::Pacific__Apia, "2011-12-30T10:00:00Z"), window("2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"));
}

#[test]
fn a_doubled_hour_is_two_windows_and_a_half_one_stands_alone() {
    let hour = |zone, text| WindowKind::Hour.window_at(zone, at(text));
    let berlin = Tz::Europe__Berlin;
    assert_eq!(hour(berlin, "2026-10-25T00:30:00Z"), window("2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"));
    assert_eq!(hour(berlin, "2026-10-25T01:30:00Z"), window("2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"));
    assert_eq!(
        hour(Tz::Asia__Kathmandu, "2026-06-01T12:00:00Z"),
        window("2026-06-01T11:15:00Z", "2026-06-01T12:15:00Z")
    );
    // Lord Howe goes back from 02:00 to 01:30: half an hour more of one o'clock, by the new offset.
    let howe = Tz::Australia__Lord_Howe;
    assert_eq!(hour(howe, "2026-04-04T14:59:00Z"), window("2026-04-04T14:00:00Z", "2026-04-04T15:00:00Z"));
    assert_eq!(hour(howe, "2026-04-04T15:00:00Z"), window("2026-04-04T15:00:00Z", "2026-04-04T15:30:00Z"));
    assert_eq!(hour(howe, "2026-04-04T15:30:00Z"), window("2026-04-04T15:30:00Z", "2026-04-04T16:30:00Z"));
    // And forward from 02:00 to 02:30: two o'clock has half an hour.
    assert_eq!(hour(howe, "2026-10-03T15:29:00Z"), window("2026-10-03T14:30:00Z", "2026-10-03T15:30:00Z"));
    assert_eq!(hour(howe, "2026-10-03T15:30:00Z"), window("2026-10-03T15:30:00Z", "2026-10-03T16:00:00Z"));
    // Casey went from 00:01 to 03:01: the minutes run on, and so does the window.
    let casey = window("2020-10-03T16:00:00Z", "2020-10-03T17:00:00Z");
    assert_eq!(hour(Tz::Antarctica__Casey, "2020-10-03T16:00:30Z"), casey);
    assert_eq!(hour(Tz::Antarctica__Casey, "2020-10-03T16:30:00Z"), casey);
}

#[test]
fn calendar_windows_are_those_of_the_zone() {
    let berlin = |kind: WindowKind| kind.window_at(Tz::Europe__Berlin, at("2026-11-22T23:30:00Z"));
    assert_eq!(berlin(WindowKind::Week), window("2026-11-22T23:00:00Z", "2026-11-29T23:00:00Z"));
    assert_eq!(berlin(WindowKind::Month), window("2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z"));
    assert_eq!(berlin(WindowKind::Quarter), window("2026-09-30T22:00:00Z", "2026-12-31T23:00:00Z"));
    assert_eq!(berlin(WindowKind::Year), window("2025-12-31T23:00:00Z", "2026-12-31T23:00:00Z"));
    let total = berlin(WindowKind::Total);
    assert_eq!(total, Window { start: Timestamp(0), end: None });
    assert_eq!(Calendar::plain(WindowKind::Total, Tz::UTC).previous(&total), None);
}

#[test]
fn instants_beyond_the_ends_of_time_are_held_there() {
    for kind in WindowKind::ALL {
        for zone in [Tz::Pacific__Kiritimati, Tz::Pacific__Pago_Pago] {
            assert_eq!(kind.window_at(zone, Timestamp(i64::MIN)), kind.window_at(zone, Timestamp(0)));
            assert!(kind.window_at(zone, Timestamp(i64::MAX)).contains(LAST));
        }
    }
}

#[test]
fn the_share_that_has_gone_is_between_none_and_all() {
    let day = window("2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z");
    assert_eq!(day.elapsed_share(at("2026-11-21T00:00:00Z")), Some(0));
    assert_eq!(day.elapsed_share(at("2026-11-22T06:00:00Z")), Some(2_500));
    assert_eq!(day.elapsed_share(at("2026-11-24T00:00:00Z")), Some(10_000));
    assert_eq!(Window { start: Timestamp(0), end: None }.elapsed_share(Timestamp(1)), None);
}

#[test]
fn a_kind_reads_back_and_a_wrong_one_is_told_them_all() {
    for kind in WindowKind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    let told = "fortnight".parse::<WindowKind>().unwrap_err().to_string();
    for kind in WindowKind::ALL {
        assert!(told.contains(kind.as_str()), "{told}");
    }
}
