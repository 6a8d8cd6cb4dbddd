//! Where amounts and instants lie on a chart. Integers throughout; lengths are hundredths of a percent or pixel.

use std::fmt;

use super::format::{MINUS, NBSP};
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
    portion(part.picos(), whole.picos(), length)
}

/// As [`along`], for figures of any unit.
pub fn portion(part: i128, whole: i128, length: i64) -> i64 {
    if whole <= 0 || part <= 0 {
        return 0;
    }
    let at = part.saturating_mul(i128::from(length)) / whole;
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

/// What the figures of a chart are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Pico-dollars.
    Dollars,
    /// Whole things: calls, tokens.
    Count,
    /// Milliseconds.
    Millis,
    /// Thousandths of tokens a second.
    Speed,
}

/// Lines across a chart, at 1, 2, 2.5 or 5 times a power of ten; zero is always among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruler {
    /// The figure at the lowest line; 0, or below where there are figures below.
    pub low: i128,
    /// The figure at the highest line; above `low`.
    pub top: i128,
    /// Figures and their labels, from the lowest up; the highest carries the unit.
    pub lines: Vec<(i128, String)>,
}

impl Ruler {
    /// The smallest that holds 0 and all from `low` to `high`; up to one of the unit where there is nothing.
    pub fn holding(low: i128, high: i128, unit: Unit) -> Self {
        let (low, high) = (low.min(0), high.max(0));
        let one = match unit {
            Unit::Dollars => PICOS_PER_USD.into(),
            Unit::Count | Unit::Millis => 1,
            Unit::Speed => 1_000,
        };
        let high = if low == 0 && high == 0 { one } else { high };
        let mut size = step(high.max(-low));
        // Both sides together have no more lines than one may have, and one for each side's beginning.
        while above(high, size) + above(-low, size) > MAX_LINES + 1 {
            size = step(size * MAX_LINES + 1);
        }
        let (first, last) = (-above(-low, size), above(high, size));
        let (per, name) = shown(unit, (last * size).max(-first * size));
        let places = places(size, per, unit);
        let lines = (first..=last).map(|line| (line * size, label(line * size, per, name, places, line == last, unit)));
        Self { low: first * size, top: last * size, lines: lines.collect() }
    }

    /// How far above the lowest line a figure lies, on a length of `length` between the lowest and the highest.
    pub fn along(&self, figure: i128, length: i64) -> i64 {
        portion(figure - self.low, self.top - self.low, length)
    }
}

/// How many lines of that size it takes to reach `figure`.
fn above(figure: i128, size: i128) -> i128 {
    if figure <= 0 { 0 } else { (figure + size - 1) / size }
}

/// What figures are divided by before they are written, and what stands behind them.
fn shown(unit: Unit, most: i128) -> (i128, &'static str) {
    match unit {
        Unit::Dollars => (PICOS_PER_USD.into(), ""),
        Unit::Speed => (1_000, "/s"),
        Unit::Millis if most < 10_000 => (1, "ms"),
        Unit::Millis => (1_000, "s"),
        Unit::Count => [(1_000_000_000, "B"), (1_000_000, "M"), (1_000, "k")]
            .into_iter()
            .find(|(per, _)| most >= 10 * per || (most >= *per && *per > 1_000))
            .unwrap_or((1, "")),
    }
}

fn label(figure: i128, per: i128, name: &str, places: u32, highest: bool, unit: Unit) -> String {
    if figure == 0 && !highest {
        return "0".to_owned();
    }
    let scale = 10_i128.pow(places);
    let magnitude = figure.unsigned_abs() * scale.unsigned_abs() / per.unsigned_abs();
    let whole = magnitude / scale.unsigned_abs();
    let fraction = magnitude % scale.unsigned_abs();
    let text = match places {
        0 => whole.to_string(),
        places => format!("{whole}.{fraction:0width$}", width = places as usize),
    };
    let sign = if figure < 0 { MINUS.to_string() } else { String::new() };
    let text = format!("{sign}{}", grouped(&text));
    match unit {
        Unit::Dollars if highest => format!("${text}"),
        // Thousands are no unit that a reader could guess.
        Unit::Count if !name.is_empty() => format!("{text}{NBSP}{name}"),
        Unit::Millis | Unit::Speed if highest => format!("{text}{NBSP}{name}"),
        _ => text,
    }
}

/// An axis of dollars from zero.
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
        let ruler = Ruler::holding(0, max.picos(), Unit::Dollars);
        let ticks = ruler.lines.into_iter().map(|(figure, label)| (Total::from_picos(figure), label)).collect();
        Self { top: Total::from_picos(ruler.top), ticks }
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

/// Decimals that a line needs, at most twelve.
fn places(step: i128, per: i128, unit: Unit) -> u32 {
    let needed = (0..12).find(|places| step * 10_i128.pow(*places) % per == 0).unwrap_or(12);
    // Cents are two.
    if unit == Unit::Dollars && needed == 1 && step < per { 2 } else { needed }
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
    fn every_unit_is_written_its_own_way() {
        let labels = |low, high, unit| -> Vec<String> {
            Ruler::holding(low, high, unit).lines.into_iter().map(|(_, label)| label.replace(NBSP, " ")).collect()
        };
        assert_eq!(labels(0, 3, Unit::Count), ["0", "1", "2", "3"]);
        assert_eq!(labels(0, 41_000, Unit::Count), ["0", "10 k", "20 k", "30 k", "40 k", "50 k"]);
        assert_eq!(labels(0, 2_400_000, Unit::Count), ["0", "0.5 M", "1.0 M", "1.5 M", "2.0 M", "2.5 M"]);
        assert_eq!(labels(0, 1_800, Unit::Millis), ["0", "500", "1,000", "1,500", "2,000 ms"]);
        assert_eq!(labels(0, 24_000, Unit::Millis), ["0", "5", "10", "15", "20", "25 s"]);
        assert_eq!(labels(0, 61_500, Unit::Speed), ["0", "20", "40", "60", "80 /s"]);
        let usd = i128::from(PICOS_PER_USD);
        assert_eq!(labels(-usd, 4 * usd, Unit::Dollars), ["\u{2212}1", "0", "1", "2", "3", "$4"]);
        assert_eq!(Ruler::holding(-usd, 4 * usd, Unit::Dollars).along(0, 10_000), 2_000);
        let wide = Ruler::holding(-39 * usd, 38 * usd, Unit::Dollars);
        assert!(wide.lines.len() <= 8 && wide.low <= -39 * usd && wide.top >= 38 * usd, "{wide:?}");
        assert_eq!(labels(-usd, 0, Unit::Dollars).last().unwrap(), "$0.00");
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
