//! The limit of a budget: dollars as a string or a whole number, never as a float.

use std::fmt;

use serde::{Deserializer, Serializer};

use super::BudgetError;
use crate::domain::money::{Money, MoneyError};

/// Highest limit and highest amount threshold, in whole dollars; a pico-dollar `i64` holds little more.
pub const MAX_USD: i64 = 9_000_000;

/// Digits with at most one point among them: what people write, without sign or exponent.
pub(super) fn is_plain_decimal(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// Whether an amount is 0 to [`MAX_USD`].
pub(super) fn within_max(amount: Money) -> bool {
    Money::from_usd(MAX_USD).is_some_and(|max| Money::ZERO <= amount && amount <= max)
}

/// Reads a limit in dollars: 0 to [`MAX_USD`], with up to twelve decimals.
pub fn parse_limit(text: &str) -> Result<Money, BudgetError> {
    let trimmed = text.trim();
    if !is_plain_decimal(trimmed.strip_prefix('-').unwrap_or(trimmed)) {
        return Err(BudgetError::Limit(text.to_owned()));
    }
    match Money::parse(trimmed) {
        Ok(limit) if within_max(limit) => Ok(limit),
        Ok(_) | Err(MoneyError::OutOfRange) => Err(BudgetError::LimitRange(text.to_owned())),
        Err(MoneyError::NotANumber) => Err(BudgetError::Limit(text.to_owned())),
    }
}

/// Writes a limit as a decimal string; with [`deserialize`] for `#[serde(with = "limit")]`.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands the field by reference")]
pub(super) fn serialize<S: Serializer>(limit: &Money, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&limit.to_decimal())
}

/// Reads a limit from a string or an integer; a float is refused with the string to write instead.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Money, D::Error> {
    deserializer.deserialize_any(Visitor)
}

struct Visitor;

impl serde::de::Visitor<'_> for Visitor {
    type Value = Money;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dollars as a string or a whole number, such as \"500.00\" or 500")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Money, E> {
        parse_limit(text).map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, usd: i64) -> Result<Money, E> {
        parse_limit(&usd.to_string()).map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, usd: u64) -> Result<Money, E> {
        parse_limit(&usd.to_string()).map_err(E::custom)
    }

    fn visit_f64<E: serde::de::Error>(self, usd: f64) -> Result<Money, E> {
        // The shortest text that reads back as this float is what was typed; pad it to cents.
        let text = usd.to_string();
        let exact = parse_limit(&text).map_or(text, Money::to_decimal);
        Err(E::custom(BudgetError::LimitFloat(exact)))
    }
}
