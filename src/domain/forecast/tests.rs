use proptest::prelude::*;

use super::*;

/// Monday, 2 November 2026, in UTC.
const MONDAY: Timestamp = Timestamp(1_793_577_600_000);

fn usd(usd: i64) -> Total {
    Money::from_usd(usd).unwrap().into()
}

/// `days` of spend before `at`, by what each hour of the week costs in dollars.
fn hours(at: Timestamp, days: i64, cost: impl Fn(i64) -> i64) -> Vec<(Timestamp, Total)> {
    (1..=days * 24)
        .map(|back| at.plus_millis(-back * HOUR_MS))
        .map(|start| (start, usd(cost((start.millis() - MONDAY.millis()).div_euclid(HOUR_MS).rem_euclid(168)))))
        .collect()
}

fn ask(kind: WindowKind, at: Timestamp, spent: Total, hours: &[(Timestamp, Total)]) -> Result<Forecast, NoForecast> {
    let window = kind.window_at(Tz::UTC, at);
    forecast(&Question { kind, zone: Tz::UTC, window, at, spent, hours })
}

fn near(told: Total, wanted: Total) -> bool {
    (told.picos() - wanted.picos()).abs() * 100 <= wanted.picos()
}

#[test]
fn a_week_that_repeats_is_told_to_the_dollar() {
    // $10 an hour from 8 to 18 on workdays: $500 a week.
    let office = |hour: i64| if hour < 120 && (8..18).contains(&(hour % 24)) { 10 } else { 0 };
    let wednesday = MONDAY.plus_millis(2 * DAY_MS + 13 * HOUR_MS);
    let past = hours(wednesday, 40, office);
    let told = ask(WindowKind::Week, wednesday, usd(250), &past).unwrap();
    assert_eq!(told.basis, Basis::Profile { weeks: 5 });
    assert!(near(told.projected, usd(500)) && near(told.low, usd(500)) && near(told.high, usd(500)), "{told:?}");
    // $400 are spent on Thursday at 18:00.
    let reach = told.reaches(usd(395)).unwrap();
    let thursday = MONDAY.plus_millis(3 * DAY_MS + 18 * HOUR_MS);
    assert_eq!((reach.early, reach.likely, reach.late), (thursday, Some(thursday), Some(thursday)));
    assert_eq!((told.chance_of(usd(450)), told.chance_of(usd(550)), told.chance_of(usd(250))), (100, 0, 100));
    assert!(told.reaches(usd(550)).is_none() && told.reaches(usd(250)).is_none());
    // A straight line would have gone on through the weekend.
    let day = ask(
        WindowKind::Day,
        MONDAY.plus_millis(5 * DAY_MS + HOUR_MS),
        Total::ZERO,
        &hours(MONDAY.plus_millis(5 * DAY_MS + HOUR_MS), 40, office),
    )
    .unwrap();
    assert!(day.high < usd(1), "nothing on a Saturday: {day:?}");
}

#[test]
fn without_two_weeks_the_run_rate_is_told_with_a_wide_band_and_without_a_day_nothing() {
    let at = MONDAY.plus_millis(4 * DAY_MS + 12 * HOUR_MS);
    let told = ask(WindowKind::Month, at, usd(108), &hours(at, 6, |_| 1)).unwrap();
    assert_eq!(told.basis, Basis::RunRate { days: 6 });
    let (low, high) = (usd(108) + usd(460), usd(108) + usd(760));
    assert!(told.low < told.projected && told.projected < told.high, "{told:?}");
    assert!(low < told.projected && told.projected < high, "{told:?}");
    let hour =
        |hours: i64| ask(WindowKind::Day, at, usd(1), &[(at.plus_millis(-hours * HOUR_MS), usd(1))]).unwrap_err();
    assert_eq!(hour(23), NoForecast::TooLittle);
    assert_eq!(ask(WindowKind::Year, at, usd(9), &hours(at, 6, |_| 1)).unwrap_err(), NoForecast::TooFar);
    assert_eq!(ask(WindowKind::Day, at, Total::ZERO, &hours(at, 30, |_| 0)).unwrap_err(), NoForecast::NothingSpent);
    assert_eq!(ask(WindowKind::Rolling7d, at, usd(1), &hours(at, 30, |_| 1)).unwrap_err(), NoForecast::Endless);
    assert_eq!(ask(WindowKind::Total, at, usd(1), &hours(at, 30, |_| 1)).unwrap_err(), NoForecast::Endless);
    let window = WindowKind::Day.window_at(Tz::UTC, at.plus_millis(DAY_MS));
    let past = hours(at, 30, |_| 1);
    let early = Question { kind: WindowKind::Day, zone: Tz::UTC, window, at, spent: Total::ZERO, hours: &past };
    assert_eq!(forecast(&early).unwrap_err(), NoForecast::NotRunning);
}

#[test]
fn growth_goes_on_and_one_burst_is_no_new_level() {
    let at = MONDAY.plus_millis(3 * DAY_MS);
    let grows: Vec<(Timestamp, Total)> = (1..=1_344_i64)
        .map(|back| (at.plus_millis(-back * HOUR_MS), Total::from_picos(10_000_000_000 * (2_000 - i128::from(back)))))
        .collect();
    let told = ask(WindowKind::Month, at, Total::ZERO, &grows).unwrap();
    let end = WindowKind::Month.window_at(Tz::UTC, at).end.unwrap();
    let ahead = (end.millis() - at.millis()) / HOUR_MS;
    let flat = Total::from_picos(10_000_000_000 * 2_000 * i128::from(ahead));
    assert!(told.projected > flat, "{told:?} goes on growing beyond {flat}");
    let mut burst = hours(at, 56, |_| 1);
    burst.push((at.plus_millis(-DAY_MS), usd(240)));
    let told = ask(WindowKind::Month, at, Total::ZERO, &burst).unwrap();
    assert!(told.projected < Total::from_picos(usd(ahead).picos() * 14 / 10), "{told:?}");
}

#[test]
fn a_local_week_is_read_by_its_own_clock() {
    // One dollar at 09:00 in Kathmandu, which is 5:45 ahead of UTC.
    let zone = Tz::Asia__Kathmandu;
    let at = Timestamp::parse("2026-11-18T12:15:00Z").unwrap();
    let past: Vec<_> = (1..40_i64)
        .map(|day| (Timestamp::parse("2026-11-18T03:15:00Z").unwrap().plus_millis(-(day - 1) * DAY_MS), usd(1)))
        .collect();
    let window = WindowKind::Day.window_at(zone, at);
    let told = forecast(&Question { kind: WindowKind::Day, zone, window, at, spent: usd(1), hours: &past }).unwrap();
    assert!(near(told.projected, usd(1)), "{told:?}");
    let tomorrow = Question {
        kind: WindowKind::Day,
        zone,
        window: WindowKind::Day.window_at(zone, at.plus_millis(DAY_MS)),
        at: window.end.unwrap(),
        spent: Total::ZERO,
        hours: &past,
    };
    assert!(near(forecast(&tomorrow).unwrap().projected, usd(1)));
}

#[test]
fn what_was_spent_since_lifts_a_forecast_or_belies_it() {
    let told = Outlook {
        at: Timestamp(0),
        basis: Basis::RunRate { days: 3 },
        projected: usd(60),
        low: usd(50),
        high: usd(70),
        reaches_limit: None,
    };
    let lifted = told.unless_belied(usd(65)).unwrap();
    assert_eq!((lifted.low, lifted.projected, lifted.high), (usd(65), usd(65), usd(70)));
    assert!(told.unless_belied(usd(71)).is_none(), "nine in ten courses end below");
}

proptest! {
    #[test]
    fn a_forecast_is_in_order_never_below_what_is_spent_and_the_same_twice(
        costs in prop::collection::vec(0_i64..2_000_000_000_000, 30..1_400), spent in 0_i64..9_000_000,
        into in 0_i64..2_600, amount in 1_i64..5_000,
    ) {
        let at = MONDAY.plus_millis(into * 900_000);
        let past: Vec<_> = (1..).zip(&costs)
            .map(|(back, picos): (i64, &i64)| (at.plus_millis(-back * HOUR_MS), Total::from_picos(i128::from(*picos)))).collect();
        for kind in [WindowKind::Hour, WindowKind::Day, WindowKind::Week, WindowKind::Month] {
            let Ok(told) = ask(kind, at, usd(spent), &past) else { continue };
            prop_assert!(usd(spent) <= told.low && told.low <= told.projected && told.projected <= told.high);
            let again = ask(kind, at, usd(spent), &past).unwrap();
            prop_assert_eq!((told.low, told.projected, told.high), (again.low, again.projected, again.high));
            let amount = usd(spent) + usd(amount);
            if let Some(reach) = told.reaches(amount) {
                let end = kind.window_at(Tz::UTC, at).end.unwrap();
                let times = [Some(reach.early), reach.likely, reach.late];
                prop_assert!(times.iter().flatten().is_sorted() && times.iter().flatten().all(|t| at < *t && *t <= end));
                prop_assert!(told.chance_of(amount) >= 10);
                prop_assert_eq!(reach.likely.is_some(), told.chance_of(amount) >= 50);
            } else {
                prop_assert!(told.chance_of(amount) < 10);
            }
        }
    }
}
