//! The simulator's own money: whole pico-dollars and their JSON number text.
//!
//! It knows nothing of the ledger's money, so that a test that compares the two compares two computations.

use std::fmt::Write as _;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

/// Pico-dollars in a dollar.
pub const PICOS_PER_DOLLAR: i128 = 1_000_000_000_000;

/// An amount in pico-dollars (10⁻¹² USD); wide enough that no sum of bills overflows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Picos(pub i128);

/// How a JSON writer prints a small number; all three are seen on OpenRouter's wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Notation {
    /// JavaScript's: plain down to a millionth, `1.6e-7` below.
    #[default]
    JavaScript,
    /// Python's: plain down to a ten-thousandth, `8.41005e-05` below.
    Python,
    /// Never an exponent.
    Plain,
}

impl Picos {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// `count` tokens at `price` each.
    #[must_use]
    pub fn times(self, count: u32) -> Self {
        Self(self.0 * i128::from(count))
    }

    /// `percent` hundredths of the amount, cut to whole pico-dollars.
    #[must_use]
    pub const fn percent(self, percent: u32) -> Self {
        Self(self.0 * percent as i128 / 100)
    }

    /// The amount in dollars as a plain decimal without trailing zeros: `0.0000057915`.
    pub fn plain(self) -> String {
        let magnitude = self.0.unsigned_abs();
        let unit = PICOS_PER_DOLLAR.unsigned_abs();
        let mut text = String::with_capacity(24);
        if self.0 < 0 {
            text.push('-');
        }
        let _ = write!(text, "{}", magnitude / unit);
        let fraction = magnitude % unit;
        if fraction != 0 {
            let _ = write!(text, ".{fraction:012}");
            text.truncate(text.trim_end_matches('0').len());
        }
        text
    }

    /// The amount in dollars as the JSON number that `notation`'s writer would print.
    pub fn json(self, notation: Notation) -> String {
        let magnitude = self.0.unsigned_abs();
        // The smallest power of ten (in pico-dollars) that the writer still prints without an exponent.
        let (floor, width) = match notation {
            Notation::JavaScript => (1_000_000, 1),
            Notation::Python => (100_000_000, 2),
            Notation::Plain => (0, 1),
        };
        if magnitude == 0 || magnitude >= floor {
            return self.plain();
        }
        let digits = magnitude.to_string();
        let exponent = 13 - digits.len();
        let mantissa = digits.trim_end_matches('0');
        let (first, rest) = mantissa.split_at(1);
        let sign = if self.0 < 0 { "-" } else { "" };
        let point = if rest.is_empty() { "" } else { "." };
        format!("{sign}{first}{point}{rest}e-{exponent:0width$}")
    }
}

impl Add for Picos {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for Picos {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl AddAssign for Picos {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sum for Picos {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_print_as_each_writer_would() {
        let cases = [
            (0, "0", "0", "0"),
            (5_791_500, "0.0000057915", "5.7915e-06", "0.0000057915"),
            (160_000, "1.6e-7", "1.6e-07", "0.00000016"),
            (84_100_500, "0.0000841005", "8.41005e-05", "0.0000841005"),
            (-216_000_000, "-0.000216", "-0.000216", "-0.000216"),
            (1, "1e-12", "1e-12", "0.000000000001"),
            (3_000_000_000_000, "3", "3", "3"),
            (1_500_000_000_000, "1.5", "1.5", "1.5"),
        ];
        for (picos, javascript, python, plain) in cases {
            assert_eq!(Picos(picos).json(Notation::JavaScript), javascript);
            assert_eq!(Picos(picos).json(Notation::Python), python);
            assert_eq!(Picos(picos).json(Notation::Plain), plain);
        }
    }
}
