//! How figures are written wherever people read them: pages, mails, tables in the terminal.
//!
//! One rule a kind of figure, so that the same amount reads the same everywhere. Money is rounded
//! half to even, once, here; an unknown figure never reaches these functions: it is written
//! "unknown" by whoever holds the `None`. Machine forms (JSON, CSV, SQL) do not come through here.

use chrono::{DateTime, Datelike as _};
use chrono_tz::Tz;

use crate::domain::money::{Money, Total};
use crate::domain::time::Timestamp;

/// The no-break space that stands before `%` and units.
pub const NBSP: char = '\u{a0}';

/// The minus sign of printed figures.
pub const MINUS: char = '\u{2212}';

/// Pico-dollars in one cent.
const CENT: i128 = 10_000_000_000;

/// Pico-dollars in a millionth of a dollar, the last place a completion's cost shows.
const MICRO: i128 = 1_000_000;

const SECOND_MS: i64 = 1000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// A sum, a budget or a limit, in cents: `$1,234.00`. A sum above nothing that would round to nothing is `<$0.01`.
pub fn usd(amount: impl Into<Total>) -> String {
    let amount = amount.into();
    let text = dollars(amount, 2);
    if amount != Total::ZERO && text == "$0.00" { "<$0.01".to_owned() } else { text }
}

/// A headline sum in two parts, so that its cents can be dimmed: `("$1,234", ".00")`.
pub fn usd_parts(amount: impl Into<Total>) -> (String, String) {
    let text = usd(amount);
    let point = text.find('.').unwrap_or(text.len());
    (text[..point].to_owned(), text[point..].to_owned())
}

/// A change of a sum, signed: `+$21.45`, `−$3.00`, `$0.00`.
pub fn usd_change(change: Total) -> String {
    let text = usd(change);
    if change > Total::ZERO && text.starts_with('$') { format!("+{text}") } else { text }
}

/// An amount that is only roughly known (a forecast, an axis): whole dollars from $10, cents below.
pub fn usd_rough(amount: Total) -> String {
    if amount.picos().unsigned_abs() >= 1000 * CENT.unsigned_abs() { dollars(amount, 0) } else { usd(amount) }
}

/// One completion's cost in a column, six decimals: `$0.000437`; less than the last place is `<$0.000001`, never zero.
pub fn completion_usd(cost: Money) -> String {
    let total = Total::from(cost);
    if total != Total::ZERO && total.picos().abs() < MICRO { "<$0.000001".to_owned() } else { dollars(total, 6) }
}

/// One completion's cost in running text or a mail: four decimals from one cent (`$0.4484`), else six.
pub fn call_usd(cost: Money) -> String {
    let total = Total::from(cost);
    if total.picos().abs() >= CENT { dollars(total, 4) } else { completion_usd(cost) }
}

/// A part of a cost, without the sign: seven decimals, or as many as are exact: `0.0001845`.
pub fn part_usd(cost: Money) -> String {
    let exact = cost.to_decimal();
    let decimals = exact.len() - exact.find('.').map_or(exact.len(), |point| point + 1);
    let text = if decimals > 7 { exact } else { Total::from(cost).to_fixed(7) };
    with_minus(&text)
}

/// A whole number with thousands parted: `21,480`.
pub fn count(number: i64) -> String {
    let digits = grouped(&number.unsigned_abs().to_string());
    if number < 0 { format!("{MINUS}{digits}") } else { digits }
}

/// A sum of tokens or calls in three digits: `999`, `21.5 k`, `53.1 M`, `1.20 B`.
pub fn short_count(number: i64) -> String {
    const UNITS: [(u128, &str); 3] = [(1_000, "k"), (1_000_000, "M"), (1_000_000_000, "B")];
    let magnitude = u128::from(number.unsigned_abs());
    let sign = if number < 0 { MINUS.to_string() } else { String::new() };
    if magnitude < 1_000 {
        return format!("{sign}{magnitude}");
    }
    for (position, (unit, name)) in UNITS.iter().enumerate() {
        for places in [2, 1, 0_usize] {
            let scale = 10_u128.pow(u32::try_from(places).unwrap_or(0));
            let rounded = half_even(magnitude * scale, *unit);
            // Three digits, or the last unit, which takes whatever comes.
            if rounded < 1_000 || (position == UNITS.len() - 1 && places == 0) {
                let whole = grouped(&(rounded / scale).to_string());
                let figure = if places == 0 { whole } else { format!("{whole}.{:0places$}", rounded % scale) };
                return format!("{sign}{figure}{NBSP}{name}");
            }
        }
    }
    format!("{sign}{magnitude}")
}

/// A share given in basis points (1/100 of a percent): `27.3 %`.
pub fn share(basis_points: i64) -> String {
    let tenths = half_even(u128::from(basis_points.unsigned_abs()), 10);
    let sign = if basis_points < 0 && tenths > 0 { MINUS.to_string() } else { String::new() };
    format!("{sign}{}.{}{NBSP}%", grouped(&(tenths / 10).to_string()), tenths % 10)
}

/// The share of `part` in `whole`: `27.3 %`; `None` when there is no whole.
pub fn share_of(part: Total, whole: Total) -> Option<String> {
    if whole <= Total::ZERO {
        return None;
    }
    let scaled = half_even(part.picos().unsigned_abs().saturating_mul(10_000), whole.picos().unsigned_abs());
    let points = i64::try_from(scaled).unwrap_or(i64::MAX);
    Some(share(if part < Total::ZERO { -points } else { points }))
}

/// The change from `before` to `after` in whole percent: `+17 %`, `−5 %`, `0 %`; `new` where there was nothing.
pub fn change(before: Total, after: Total) -> String {
    if before <= Total::ZERO {
        return if after > Total::ZERO { "new".to_owned() } else { format!("0{NBSP}%") };
    }
    let moved = after - before;
    let percent = half_even(moved.picos().unsigned_abs().saturating_mul(100), before.picos().unsigned_abs());
    let sign = match (percent, moved < Total::ZERO) {
        (0, _) => String::new(),
        (_, true) => MINUS.to_string(),
        (_, false) => "+".to_owned(),
    };
    format!("{sign}{}{NBSP}%", grouped(&percent.to_string()))
}

/// A measured duration: milliseconds below 10,000, then one decimal of s, min, h or d: `1,874 ms`, `22.1 s`.
pub fn duration(milliseconds: i64) -> String {
    let magnitude = milliseconds.max(0);
    if magnitude < 10 * SECOND_MS {
        return format!("{}{NBSP}ms", count(magnitude));
    }
    let units = [(SECOND_MS, "s", MINUTE_MS), (MINUTE_MS, "min", HOUR_MS), (HOUR_MS, "h", DAY_MS)];
    let fitting = units.into_iter().find(|(_, _, below)| magnitude < *below);
    let (unit, name) = fitting.map_or((DAY_MS, "d"), |(unit, name, _)| (unit, name));
    let tenths = half_even(u128::from(magnitude.unsigned_abs()) * 10, u128::from(unit.unsigned_abs()));
    format!("{}.{}{NBSP}{name}", grouped(&(tenths / 10).to_string()), tenths % 10)
}

/// A speed in thousandths of a thing a second, one decimal: `61.5 /s`.
pub fn speed(thousandths: i64) -> String {
    let tenths = half_even(u128::from(thousandths.max(0).unsigned_abs()), 100);
    format!("{}.{}{NBSP}/s", grouped(&(tenths / 10).to_string()), tenths % 10)
}

/// What is left, in words of two units at most: `11 days and 12 hours`, `3 hours`, `less than a minute`.
pub fn left(milliseconds: i64) -> String {
    if milliseconds < MINUTE_MS {
        return "less than a minute".to_owned();
    }
    let (days, hours, minutes) =
        (milliseconds / DAY_MS, milliseconds % DAY_MS / HOUR_MS, milliseconds % HOUR_MS / MINUTE_MS);
    let named = |number: i64, name: &str| match number {
        0 => None,
        1 => Some(format!("1 {name}")),
        _ => Some(format!("{} {name}s", count(number))),
    };
    let (first, second) = if days > 0 {
        (named(days, "day"), named(hours, "hour"))
    } else {
        (named(hours, "hour"), named(minutes, "minute"))
    };
    [first, second].into_iter().flatten().collect::<Vec<_>>().join(" and ")
}

/// The time of day to the second, as the zone's clock shows it: `14:31:52`.
pub fn clock_time(at: Timestamp, zone: Tz) -> String {
    local(at, zone).format("%H:%M:%S").to_string()
}

/// The time of day to the minute: `14:31`.
pub fn minute(at: Timestamp, zone: Tz) -> String {
    local(at, zone).format("%H:%M").to_string()
}

/// A date with its weekday, and with its year when that is not the year of `now`: `Tue 24 Nov`, `Tue 24 Nov 2025`.
pub fn date(at: Timestamp, now: Timestamp, zone: Tz) -> String {
    let (at, now) = (local(at, zone), local(now, zone));
    let pattern = if at.year() == now.year() { "%a %-d %b" } else { "%a %-d %b %Y" };
    at.format(pattern).to_string()
}

/// Date and time of day: `Thu 12 Nov 14:45`.
pub fn date_time(at: Timestamp, now: Timestamp, zone: Tz) -> String {
    format!("{} {}", date(at, now, zone), minute(at, zone))
}

/// An instant in a column: today's to the second alone (`14:31:52`), another day's as [`date_time`].
pub fn moment(at: Timestamp, now: Timestamp, zone: Tz) -> String {
    if local(at, zone).date_naive() == local(now, zone).date_naive() {
        clock_time(at, zone)
    } else {
        date_time(at, now, zone)
    }
}

fn local(at: Timestamp, zone: Tz) -> DateTime<Tz> {
    at.to_utc().with_timezone(&zone)
}

/// `$1,234.00` with `places` decimals and the minus, if any, before the dollar sign.
fn dollars(amount: Total, places: u32) -> String {
    let fixed = amount.to_fixed(places);
    let (sign, magnitude) = match fixed.strip_prefix('-') {
        Some(magnitude) => (MINUS.to_string(), magnitude),
        None => (String::new(), fixed.as_str()),
    };
    let (whole, fraction) = magnitude.split_at(magnitude.find('.').unwrap_or(magnitude.len()));
    format!("{sign}${}{fraction}", grouped(whole))
}

fn with_minus(text: &str) -> String {
    text.strip_prefix('-').map_or_else(|| text.to_owned(), |magnitude| format!("{MINUS}{magnitude}"))
}

/// Digits parted into thousands.
fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `number / unit`, rounded half to even; `unit` is above zero.
fn half_even(number: u128, unit: u128) -> u128 {
    let (quotient, rest) = (number / unit, number % unit);
    let up = rest > unit - rest || (rest == unit - rest && quotient % 2 == 1);
    quotient + u128::from(up)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(text: &str) -> Money {
        Money::parse(text).unwrap()
    }

    fn total(text: &str) -> Total {
        money(text).into()
    }

    fn plain(text: &str) -> String {
        text.replace(NBSP, " ").replace(MINUS, "-")
    }

    #[test]
    fn sums_are_written_in_cents_and_never_lost() {
        for (amount, text) in [
            ("12.3", "$12.30"),
            ("1234", "$1,234.00"),
            ("1234567.895", "$1,234,567.90"),
            ("0", "$0.00"),
            ("0.004", "<$0.01"),
            ("0.005", "<$0.01"),
            ("0.0051", "$0.01"),
            ("-3", "-$3.00"),
        ] {
            assert_eq!(plain(&usd(money(amount))), text, "{amount}");
        }
        assert_eq!(usd_parts(money("1240.5")), ("$1,240".to_owned(), ".50".to_owned()));
        assert_eq!(plain(&usd_change(total("21.45"))), "+$21.45");
        assert_eq!(plain(&usd_change(total("-0.5"))), "-$0.50");
        assert_eq!(plain(&usd_change(Total::ZERO)), "$0.00");
        assert_eq!([usd_rough(total("829.4")), usd_rough(total("9.994"))], ["$829", "$9.99"]);
    }

    #[test]
    fn one_completion_shows_what_it_cost_however_little() {
        assert_eq!(completion_usd(money("0.0004370")), "$0.000437");
        assert_eq!(completion_usd(money("0.0000004")), "<$0.000001");
        assert_eq!(completion_usd(Money::ZERO), "$0.000000");
        assert_eq!(call_usd(money("0.44841")), "$0.4484");
        assert_eq!(call_usd(money("0.0048196")), "$0.004820");
        assert_eq!(part_usd(money("0.0001845")), "0.0001845");
        assert_eq!(part_usd(money("0.00018")), "0.0001800");
        assert_eq!(part_usd(money("0.000184512345")), "0.000184512345");
        assert_eq!(plain(&part_usd(money("-0.000216"))), "-0.0002160");
    }

    #[test]
    fn counts_have_three_digits_in_sums_and_all_in_rows() {
        assert_eq!(count(21_480), "21,480");
        assert_eq!(plain(&count(-1_000)), "-1,000");
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1.00 k"),
            (21_480, "21.5 k"),
            (999_499, "999 k"),
            (999_500, "1.00 M"),
            (53_149_999, "53.1 M"),
            (1_200_000_000, "1.20 B"),
            (1_234_567_000_000, "1,235 B"),
        ] {
            assert_eq!(plain(&short_count(number)), text, "{number}");
        }
    }

    #[test]
    fn shares_have_one_decimal_and_changes_none() {
        assert_eq!(plain(&share(2_734)), "27.3 %");
        assert_eq!(plain(&share(100_000)), "1,000.0 %");
        assert_eq!(share_of(total("1.74"), total("240")).map(|text| plain(&text)), Some("0.7 %".to_owned()));
        assert_eq!(share_of(total("1"), Total::ZERO), None);
        for (before, after, text) in [
            ("203.18", "240", "+18 %"),
            ("10", "9.5", "-5 %"),
            ("10", "10.04", "0 %"),
            ("0", "3", "new"),
            ("0", "0", "0 %"),
            ("1", "41", "+4,000 %"),
        ] {
            assert_eq!(plain(&change(total(before), total(after))), text, "{before} {after}");
        }
    }

    #[test]
    fn durations_keep_the_unit_people_read_them_in() {
        for (ms, text) in [
            (0, "0 ms"),
            (1_874, "1,874 ms"),
            (22_140, "22.1 s"),
            (90_000, "1.5 min"),
            (9_000_000, "2.5 h"),
            (216_000_000, "2.5 d"),
        ] {
            assert_eq!(plain(&duration(ms)), text);
        }
        assert_eq!(left(11 * DAY_MS + 12 * HOUR_MS + MINUTE_MS), "11 days and 12 hours");
        assert_eq!(left(DAY_MS), "1 day");
        assert_eq!(left(HOUR_MS + MINUTE_MS), "1 hour and 1 minute");
        assert_eq!(left(59_999), "less than a minute");
    }

    #[test]
    fn times_stand_in_the_zone_and_say_only_what_is_not_plain() {
        let at = Timestamp::parse("2026-11-19T10:47:09Z").unwrap();
        let (berlin, kolkata) = (Tz::Europe__Berlin, Tz::Asia__Kolkata);
        assert_eq!(clock_time(at, berlin), "11:47:09");
        assert_eq!(moment(at, at, berlin), "11:47:09");
        assert_eq!(moment(at, at.plus_millis(DAY_MS), kolkata), "Thu 19 Nov 16:17");
        assert_eq!(date(at, at.plus_millis(60 * DAY_MS), berlin), "Thu 19 Nov 2026");
    }
}
