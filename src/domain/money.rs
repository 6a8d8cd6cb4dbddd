//! Exact money: integer pico-dollars, parsed from a number's own text.
//!
//! No float touches an amount before it is printed. One row's amount is a [`Money`] (`i64`
//! pico-dollars, at most ±$9.2 million); a sum over many rows is a [`Total`] (`i128`).

use std::fmt;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};

use serde::{Deserialize, Serialize};

/// Pico-dollars in one dollar.
pub const PICOS_PER_USD: i64 = 1_000_000_000_000;

/// Decimal places a pico-dollar amount has.
const SCALE: i64 = 12;

/// Longest number text looked at; a longer one is refused rather than walked.
const MAX_TEXT: usize = 256;

/// An amount of US dollars in integer pico-dollars (10⁻¹² USD); may be negative (a discount).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Money(i64);

/// Why a text is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The text is not a decimal number.
    #[error("not a decimal number")]
    NotANumber,
    /// The number does not fit into ±$9.2 million.
    #[error("beyond ±$9.2 million")]
    OutOfRange,
}

impl Money {
    /// Nothing.
    pub const ZERO: Money = Money(0);

    /// The amount of `picos` pico-dollars.
    pub const fn from_picos(picos: i64) -> Self {
        Self(picos)
    }

    /// Whole dollars; `None` beyond ±$9.2 million.
    pub const fn from_usd(usd: i64) -> Option<Self> {
        match usd.checked_mul(PICOS_PER_USD) {
            Some(picos) => Some(Self(picos)),
            None => None,
        }
    }

    /// The amount in pico-dollars.
    pub const fn picos(self) -> i64 {
        self.0
    }

    /// Parses a JSON number's (or a decimal string's) own text, plain or with an exponent.
    ///
    /// Digits beyond the twelfth place are rounded half to even.
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        let picos = parse_scaled(text, SCALE, i128::from(i64::MAX) + 1)?;
        i64::try_from(picos).map(Self).map_err(|_| MoneyError::OutOfRange)
    }

    /// The sum, or `None` beyond ±$9.2 million.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The sum, held at ±$9.2 million: for one row's parts, which a hostile reply may inflate.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The exact decimal text with all significant digits and at least two decimals: `12.30`, `0.0000057915`.
    pub fn to_decimal(self) -> String {
        Total::from(self).to_decimal()
    }
}

/// A decimal text, plain or with an exponent, as an integer of 10^-`scale`, digits beyond rounded half to even; its
/// magnitude is at most `most`, which leaves room for one more digit in 128 bits.
pub(super) fn parse_scaled(text: &str, scale: i64, most: i128) -> Result<i128, MoneyError> {
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_TEXT {
        return Err(MoneyError::NotANumber);
    }
    let (negative, rest) = match text.as_bytes()[0] {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], parse_exponent(&rest[at + 1..])?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return Err(MoneyError::NotANumber);
    }
    let mut digits = Vec::with_capacity(whole.len() + fraction.len());
    for byte in whole.bytes().chain(fraction.bytes()) {
        if !byte.is_ascii_digit() {
            return Err(MoneyError::NotANumber);
        }
        digits.push(byte - b'0');
    }
    // Position of the unit's digit, counted from the start of `digits`.
    let whole_len = i64::try_from(whole.len()).map_err(|_| MoneyError::NotANumber)?;
    let kept = whole_len.saturating_add(exponent).saturating_add(scale);
    let magnitude = round_half_even(&digits, kept, most)?;
    Ok(if negative { -magnitude } else { magnitude })
}

fn parse_exponent(text: &str) -> Result<i64, MoneyError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(MoneyError::NotANumber);
    }
    // An exponent that does not fit i64 is as good as the nearest one: zero or out of range.
    Ok(text.parse::<i64>().unwrap_or(if text.starts_with('-') { -100_000 } else { 100_000 }).clamp(-100_000, 100_000))
}

/// The first `kept` of `digits` as an integer (zeros appended if there are fewer), the rest rounded half to even.
fn round_half_even(digits: &[u8], kept: i64, most: i128) -> Result<i128, MoneyError> {
    let len = i64::try_from(digits.len()).map_err(|_| MoneyError::NotANumber)?;
    let mut value: i128 = 0;
    let push = |value: i128, digit: u8| -> Result<i128, MoneyError> {
        let next = value * 10 + i128::from(digit);
        if next > most { Err(MoneyError::OutOfRange) } else { Ok(next) }
    };
    if kept < 0 {
        return Ok(0);
    }
    let split = usize::try_from(kept.min(len)).map_err(|_| MoneyError::NotANumber)?;
    for &digit in &digits[..split] {
        value = push(value, digit)?;
    }
    if kept >= len {
        if value == 0 {
            return Ok(0);
        }
        for _ in len..kept {
            value = push(value, 0)?;
        }
        return Ok(value);
    }
    let dropped = &digits[split..];
    let above_half = dropped[0] > 5 || (dropped[0] == 5 && dropped[1..].iter().any(|&d| d != 0));
    let half = dropped[0] == 5 && !above_half;
    Ok(if above_half || (half && value % 2 == 1) { value + 1 } else { value })
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_decimal())
    }
}

impl Neg for Money {
    type Output = Self;
    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

/// A sum of many amounts, in pico-dollars; wide enough for any number of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Total(i128);

impl Total {
    /// Nothing.
    pub const ZERO: Total = Total(0);

    /// The sum of `picos` pico-dollars.
    pub const fn from_picos(picos: i128) -> Self {
        Self(picos)
    }

    /// The sum in pico-dollars.
    pub const fn picos(self) -> i128 {
        self.0
    }

    /// Joins whole dollars and the pico-dollars beside them, as the store adds them apart.
    pub const fn from_parts(dollars: i64, picos: i64) -> Self {
        Self(dollars as i128 * PICOS_PER_USD as i128 + picos as i128)
    }

    /// Whole dollars and the remaining pico-dollars (0 ≤ remainder < one dollar), as the store keeps them.
    pub fn to_parts(self) -> (i64, i64) {
        let unit = i128::from(PICOS_PER_USD);
        let dollars = self.0.div_euclid(unit);
        let picos = self.0.rem_euclid(unit);
        // A sum beyond 9·10¹⁸ dollars is not money any more; holding it there is the honest thing left.
        (
            i64::try_from(dollars).unwrap_or(if dollars < 0 { i64::MIN } else { i64::MAX }),
            i64::try_from(picos).unwrap_or(0),
        )
    }

    /// The exact decimal text with all significant digits and at least two decimals.
    pub fn to_decimal(self) -> String {
        let full = self.to_fixed(12);
        let point = full.len() - 12;
        let keep = full[point..].trim_end_matches('0').len().max(2);
        full[..point + keep].to_owned()
    }

    /// The decimal text with exactly `places` (0 to 12) decimals, rounded half to even.
    pub fn to_fixed(self, places: u32) -> String {
        let places = places.min(12);
        let step = 10_i128.pow(12 - places);
        let magnitude = self.0.unsigned_abs();
        let (quotient, rest) = (magnitude / step.unsigned_abs(), magnitude % step.unsigned_abs());
        let half = step.unsigned_abs() / 2;
        let up = rest > half || (rest == half && half > 0 && quotient % 2 == 1);
        let rounded = quotient + u128::from(up);
        let sign = if self.0 < 0 && rounded != 0 { "-" } else { "" };
        let unit = 10_u128.pow(places);
        if places == 0 {
            return format!("{sign}{rounded}");
        }
        format!("{sign}{}.{:0width$}", rounded / unit, rounded % unit, width = places as usize)
    }

    /// The share of `limit` in basis points (1/100 of a percent), rounded down; `None` when the limit is zero.
    pub fn basis_points_of(self, limit: Money) -> Option<i64> {
        if limit.picos() == 0 {
            return None;
        }
        let share = (self.0 * 10_000).div_euclid(i128::from(limit.picos()));
        Some(i64::try_from(share).unwrap_or(i64::MAX))
    }
}

impl From<Money> for Total {
    fn from(money: Money) -> Self {
        Self(i128::from(money.0))
    }
}

impl Add for Total {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for Total {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl AddAssign for Total {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl SubAssign for Total {
    fn sub_assign(&mut self, other: Self) {
        self.0 -= other.0;
    }
}

impl Neg for Total {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl std::iter::Sum for Total {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_decimal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_wires_own_numbers_are_exact() {
        for (text, picos) in [
            ("0.0000057915", 5_791_500),
            ("8.41005e-05", 84_100_500),
            ("4.5e-08", 45_000),
            ("0.000001979964", 1_979_964),
            ("48.987305431", 48_987_305_431_000),
            ("0", 0),
            ("-0.000216", -216_000_000),
            ("1E2", 100 * PICOS_PER_USD),
            ("0.0000000000005", 0),
            ("0.0000000000015", 2),
            ("0.00000000000050001", 1),
        ] {
            assert_eq!(Money::parse(text).map(Money::picos), Ok(picos), "{text}");
        }
        for text in ["", "-", ".", "1e", "abc", "1.2.3", "NaN", "0x10", "1 2"] {
            assert_eq!(Money::parse(text), Err(MoneyError::NotANumber), "{text}");
        }
        assert_eq!(Money::parse("9300000"), Err(MoneyError::OutOfRange));
        assert_eq!(Money::parse("1e400"), Err(MoneyError::OutOfRange));
        assert_eq!(Money::parse("1e-400"), Ok(Money::ZERO));
        assert_eq!(Money::parse("0e400"), Ok(Money::ZERO));
    }

    #[test]
    fn printing_rounds_half_to_even_once() {
        assert_eq!(Total::from_picos(5_000_000_000).to_fixed(2), "0.00");
        assert_eq!(Total::from_picos(15_000_000_000).to_fixed(2), "0.02");
        assert_eq!(Total::from_picos(-1).to_fixed(2), "0.00");
        assert_eq!(Money::from_picos(5_791_500).to_decimal(), "0.0000057915");
        assert_eq!(Money::from_usd(500).unwrap().to_decimal(), "500.00");
    }

    proptest! {
        #[test]
        fn any_amount_survives_its_own_text(picos in any::<i64>()) {
            let money = Money::from_picos(picos);
            prop_assert_eq!(Money::parse(&money.to_decimal()), Ok(money));
        }

        #[test]
        fn exponent_and_plain_text_agree(digits in 1_i64..1_000_000_000, shift in 0_i32..12) {
            let plain = Total::from_picos(i128::from(digits) * 10_i128.pow(12 - shift.unsigned_abs())).to_decimal();
            prop_assert_eq!(Money::parse(&format!("{digits}e-{shift}")), Money::parse(&plain));
        }

        #[test]
        fn parts_join_again(picos in any::<i64>(), n in 1_i128..1000) {
            let total = Total::from_picos(i128::from(picos) * n);
            let (dollars, rest) = total.to_parts();
            prop_assert_eq!(Total::from_parts(dollars, rest), total);
        }
    }
}
