//! Where amounts and instants lie on a chart. Integers throughout; lengths are hundredths of a percent or pixel.

use std::fmt;

use crate::domain::money::{PICOS_PER_USD, Total};
use crate::domain::time::Timestamp;

/// Most lines above the base line.
const MAX_LINES: i128 = 5;

/// A length in hundredths, printed with two decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hundredths(pub i64);

impl fmt::Display for Hundredths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:02}", magnitude / 100, magnitude % 100)
    }
}

/// `part` of `whole` on a length of `length`, held within it; nothing on no whole.
pub fn along(part: Total, whole: Total, length: i64) -> i64 {
    if whole <= Total::ZERO || part <= Total::ZERO {
        return 0;
    }
    let at = part.picos().saturating_mul(i128::from(length)) / whole.picos();
    i64::try_from(at).unwrap_or(length).min(length)
}

/// Where `at` lies between `from` and `until`, on a length of `length`, held within it.
pub fn between(at: Timestamp, from: Timestamp, until: Timestamp, length: i64) -> i64 {
    let span = i128::from(until.millis()) - i128::from(from.millis());
    if span <= 0 {
        return 0;
    }
    let gone = (i128::from(at.millis()) - i128::from(from.millis())).clamp(0, span);
    i64::try_from(gone * i128::from(length) / span).unwrap_or(0)
}

/// An axis of dollars from zero: lines at 1, 2, 2.5 or 5 times a power of ten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// The amount at the highest line; above zero.
    pub top: Total,
    /// Amounts and their labels, from zero up; the highest carries the unit.
    pub ticks: Vec<(Total, String)>,
}

impl Axis {
    /// The smallest axis that holds `max`; up to one dollar where there is nothing.
    pub fn holding(max: Total) -> Self {
        let max = if max > Total::ZERO { max.picos() } else { PICOS_PER_USD.into() };
        let step = step(max);
        let lines = (max + step - 1) / step;
        let places = places(step);
        let label = |line: i128| {
            let text = grouped(&Total::from_picos(line * step).to_fixed(places));
            match line {
                0 => "0".to_owned(),
                _ if line == lines => format!("${text}"),
                _ => text,
            }
        };
        let ticks = (0..=lines).map(|line| (Total::from_picos(line * step), label(line))).collect();
        Self { top: Total::from_picos(lines * step), ticks }
    }
}

fn step(max: i128) -> i128 {
    let mut power: i128 = 1;
    loop {
        // 2.5 is written as a quarter of ten, so that every step is whole.
        for step in [power, 2 * power, 5 * power / 2, 5 * power] {
            if step > 0 && step * MAX_LINES >= max {
                return step;
            }
        }
        power *= 10;
    }
}

/// Decimals that a step needs, at most twelve.
fn places(step: i128) -> u32 {
    let unit = i128::from(PICOS_PER_USD);
    let needed = (0..12).find(|places| step % (unit / 10_i128.pow(*places)) == 0).unwrap_or(12);
    if needed == 1 && step < unit { 2 } else { needed }
}

fn grouped(fixed: &str) -> String {
    let (whole, fraction) = fixed.split_at(fixed.find('.').unwrap_or(fixed.len()));
    let mut out = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + fraction
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Money;

    fn usd(text: &str) -> Total {
        Money::parse(text).unwrap().into()
    }

    fn labels(max: &str) -> Vec<String> {
        Axis::holding(usd(max)).ticks.into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn axes_begin_at_zero_and_have_round_lines() {
        assert_eq!(labels("38.2"), ["0", "10", "20", "30", "$40"]);
        assert_eq!(labels("4.07"), ["0", "1", "2", "3", "4", "$5"]);
        assert_eq!(labels("12"), ["0", "2.5", "5.0", "7.5", "10.0", "$12.5"]);
        assert_eq!(labels("0.0003"), ["0", "0.0001", "0.0002", "$0.0003"]);
        assert_eq!(labels("4100"), ["0", "1,000", "2,000", "3,000", "4,000", "$5,000"]);
        assert_eq!(labels("0"), ["0", "0.20", "0.40", "0.60", "0.80", "$1.00"]);
    }

    #[test]
    fn lengths_stay_within_their_bounds() {
        assert_eq!(along(usd("5"), usd("10"), 10_000), 5_000);
        assert_eq!(along(usd("15"), usd("10"), 10_000), 10_000);
        assert_eq!(along(usd("-1"), usd("10"), 10_000), 0);
        assert_eq!(between(Timestamp(5), Timestamp(0), Timestamp(10), 100), 50);
        assert_eq!(between(Timestamp(5), Timestamp(9), Timestamp(9), 100), 0);
        assert_eq!(Hundredths(-5).to_string(), "-0.05");
    }
}
