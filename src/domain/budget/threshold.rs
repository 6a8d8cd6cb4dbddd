//! The points at which a budget speaks up: shares of its limit, and sums.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::BudgetError;
use super::limit::{is_plain_decimal, within_max};
use crate::domain::money::{Money, MoneyError, Total};

/// Highest percent threshold, in basis points: ten times the limit.
pub const MAX_PERCENT: i64 = 100_000;

/// A point on the way to the limit, and beyond.
///
/// Its text is its identity in alerts. It is written canonically (`80%`, `12.5%`, `$120.00`, `forecast 100%`), so
/// that `80.0%` in an edited file is not a new threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Threshold {
    /// A share of the limit, in basis points: 8,000 is 80 %.
    Percent(i64),
    /// A sum, whatever the limit.
    Amount(Money),
    /// A share of the limit, in basis points, that the window's forecast reaches long before spend does.
    Forecast(i64),
}

impl Threshold {
    /// What a budget has that names none: 50 %, 80 %, 100 %.
    pub const DEFAULT: [Threshold; 3] = [Self::Percent(5_000), Self::Percent(8_000), Self::LIMIT];

    /// The limit itself.
    pub const LIMIT: Threshold = Self::Percent(10_000);

    /// The sum at which the threshold lies under `limit`.
    ///
    /// A share that is no whole number of pico-dollars is rounded up; spend is whole pico-dollars,
    /// so this moves no crossing.
    pub fn amount(self, limit: Money) -> Total {
        match self {
            Self::Percent(share) | Self::Forecast(share) => {
                let scaled = i128::from(limit.picos()) * i128::from(share);
                Total::from_picos(-((-scaled).div_euclid(10_000)))
            }
            Self::Amount(amount) => amount.into(),
        }
    }

    /// Whether `spent` has reached the threshold. Nothing is reached while nothing is spent, whatever the limit, and spend
    /// alone reaches no forecast.
    pub fn is_reached(self, spent: Total, limit: Money) -> bool {
        !self.is_forecast() && spent > Total::ZERO && spent >= self.amount(limit)
    }

    /// Whether it looks at where the window will end and not at what is spent.
    pub const fn is_forecast(self) -> bool {
        matches!(self, Self::Forecast(_))
    }
}

/// What stands before the share of a forecast.
const FORECAST: &str = "forecast";

/// A share in percent with at most two decimals, without its sign, in basis points; `None`: it is no such number.
fn parse_share(percent: &str) -> Option<Result<i64, OutOfRange>> {
    let (whole, fraction) = percent.split_once('.').unwrap_or((percent, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 2 || percent.ends_with('.') {
        return None;
    }
    // A number too long for i64 is out of range like any other that is too high.
    let share = format!("{whole}{fraction:0<2}").parse::<i64>().ok();
    Some(share.filter(|share| (1..=MAX_PERCENT).contains(share)).ok_or(OutOfRange))
}

/// A share of nothing, or above [`MAX_PERCENT`].
struct OutOfRange;

fn write_share(f: &mut fmt::Formatter<'_>, share: i64) -> fmt::Result {
    let (whole, hundredths) = (share / 100, share % 100);
    match (hundredths % 10, hundredths / 10) {
        (0, 0) => write!(f, "{whole}%"),
        (0, tenths) => write!(f, "{whole}.{tenths}%"),
        _ => write!(f, "{whole}.{hundredths:02}%"),
    }
}

impl FromStr for Threshold {
    type Err = BudgetError;
    fn from_str(text: &str) -> Result<Self, BudgetError> {
        let wrong = || BudgetError::Threshold(text.to_owned());
        let range = || BudgetError::ThresholdRange(text.to_owned());
        let trimmed = text.trim();
        if let Some(percent) = trimmed.strip_suffix('%').map(str::trim_end) {
            let (forecast, percent) = match percent.strip_prefix(FORECAST) {
                Some(rest) if rest.starts_with(char::is_whitespace) => (true, rest.trim_start()),
                _ => (false, percent),
            };
            let share = parse_share(percent).ok_or_else(wrong)?.map_err(|OutOfRange| range())?;
            return Ok(if forecast { Self::Forecast(share) } else { Self::Percent(share) });
        }
        let amount = trimmed.strip_prefix('$').ok_or_else(wrong)?;
        if !is_plain_decimal(amount) {
            return Err(wrong());
        }
        match Money::parse(amount) {
            Ok(amount) if amount > Money::ZERO && within_max(amount) => Ok(Self::Amount(amount)),
            Ok(_) | Err(MoneyError::OutOfRange) => Err(range()),
            Err(MoneyError::NotANumber) => Err(wrong()),
        }
    }
}

impl TryFrom<String> for Threshold {
    type Error = BudgetError;
    fn try_from(text: String) -> Result<Self, BudgetError> {
        text.parse()
    }
}

impl From<Threshold> for String {
    fn from(threshold: Threshold) -> Self {
        threshold.to_string()
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(share) => write_share(f, *share),
            Self::Forecast(share) => {
                write!(f, "{FORECAST} ")?;
                write_share(f, *share)
            }
            Self::Amount(amount) => write!(f, "${amount}"),
        }
    }
}
