//! A budget: which calls it counts, in what window, up to what limit, and what it says or stops on the way.
//!
//! A [`BudgetSpec`] is a budget as people write it; [`BudgetSpec::into_budget`] checks it. Nothing
//! here knows what has been spent but what it is told.

use std::fmt;
use std::str::FromStr;

use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, Serialize};

use super::money::{Money, Total};
use super::scope::{Scope, ScopeError};
use super::window::WindowKind;
use super::zone;

mod limit;
mod threshold;

pub use limit::{MAX_USD, parse_limit};
pub use threshold::{MAX_PERCENT, Threshold};

/// Longest budget name, in bytes.
pub const MAX_NAME: usize = 64;

/// Most thresholds one budget may have.
pub const MAX_THRESHOLDS: usize = 20;

/// Most addresses one budget may write to.
pub const MAX_NOTIFY: usize = 50;

/// Why a budget, or a part of one, is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BudgetError {
    /// The name has another form.
    #[error(
        "\"{0}\" is not a budget name: 1 to {MAX_NAME} of a-z, 0-9, '.', '_' and '-', the first a letter or digit, such as \"growth-bot\""
    )]
    Name(String),
    /// The limit is no amount.
    #[error("\"{0}\" is not a limit: write dollars as a string or a whole number, such as \"500.00\" or 500")]
    Limit(String),
    /// The limit is below zero or above [`MAX_USD`].
    #[error("a limit is 0 to {MAX_USD} dollars; \"{0}\" is not")]
    LimitRange(String),
    /// The limit was written as a float, which cannot hold every decimal amount.
    #[error("write the limit as a string, so that it is exact: \"{0}\"")]
    LimitFloat(String),
    /// The threshold is neither a percentage nor an amount.
    #[error(
        "\"{0}\" is not a threshold: write a share of the limit with at most two decimals, such as \"80%\", or an amount, such as \"$120.00\""
    )]
    Threshold(String),
    /// The threshold is zero, or too high.
    #[error("\"{0}\" is out of range: a threshold is above 0 and at most 1000% or ${MAX_USD}")]
    ThresholdRange(String),
    /// The same threshold stands twice.
    #[error("alert_at names {0} twice; remove one")]
    ThresholdTwice(Threshold),
    /// More than [`MAX_THRESHOLDS`].
    #[error("alert_at has at most {MAX_THRESHOLDS} thresholds")]
    TooManyThresholds,
    /// An address mail could not be sent to.
    #[error("notify: \"{0}\" is not a mail address; write it as name@example.com")]
    Address(String),
    /// The same address stands twice.
    #[error("notify names \"{0}\" twice; remove one")]
    AddressTwice(String),
    /// More than [`MAX_NOTIFY`].
    #[error("notify has at most {MAX_NOTIFY} addresses; use a mailing list")]
    TooManyAddresses,
    /// `when_exceeded` is neither `alert` nor `block`.
    #[error("\"{0}\" is not known for when_exceeded; write \"alert\" or \"block\"")]
    WhenExceeded(String),
    /// The scope can never match.
    #[error("scope: {0}")]
    Scope(#[from] ScopeError),
    /// Who will answer is not known when a call is admitted.
    #[error(
        "scope: a budget that blocks cannot look at the provider alone, which is known only after the answer; put model beside it, or write when_exceeded = \"alert\""
    )]
    BlocksByProvider,
}

/// A budget's name, unique among those in force: `[a-z0-9][a-z0-9._-]{0,63}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BudgetName(String);

impl BudgetName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BudgetName {
    type Err = BudgetError;
    fn from_str(text: &str) -> Result<Self, BudgetError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let good = text.len() <= MAX_NAME
            && text.bytes().next().is_some_and(plain)
            && text.bytes().all(|b| plain(b) || matches!(b, b'.' | b'_' | b'-'));
        if good { Ok(Self(text.to_owned())) } else { Err(BudgetError::Name(text.to_owned())) }
    }
}

impl TryFrom<String> for BudgetName {
    type Error = BudgetError;
    fn try_from(text: String) -> Result<Self, BudgetError> {
        text.parse()
    }
}

impl From<BudgetName> for String {
    fn from(name: BudgetName) -> Self {
        name.0
    }
}

impl fmt::Display for BudgetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who owns a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The configuration file: read-only elsewhere.
    File,
    /// The dashboard or the shell.
    Own,
}

impl Origin {
    /// The text in `budget_status.origin`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Own => "own",
        }
    }
}

/// What happens to calls once the limit is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum WhenExceeded {
    /// They go on; people are told.
    #[default]
    Alert,
    /// They are refused until the window ends or the limit is raised.
    Block,
}

impl WhenExceeded {
    /// The text in the configuration and in `budget_status.when_exceeded`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Block => "block",
        }
    }
}

impl FromStr for WhenExceeded {
    type Err = BudgetError;
    fn from_str(text: &str) -> Result<Self, BudgetError> {
        match text.trim() {
            "alert" => Ok(Self::Alert),
            "block" => Ok(Self::Block),
            _ => Err(BudgetError::WhenExceeded(text.to_owned())),
        }
    }
}

impl TryFrom<String> for WhenExceeded {
    type Error = BudgetError;
    fn try_from(text: String) -> Result<Self, BudgetError> {
        text.parse()
    }
}

impl From<WhenExceeded> for String {
    fn from(when: WhenExceeded) -> Self {
        when.as_str().to_owned()
    }
}

/// A budget in force, checked. As JSON it is what the store keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Its name.
    pub name: BudgetName,
    /// Who owns it.
    pub origin: Origin,
    /// Which calls it counts.
    pub scope: Scope,
    /// How long it counts before it begins anew.
    pub window: WindowKind,
    /// The zone of its calendar.
    #[serde(rename = "time_zone", with = "zone")]
    pub zone: Tz,
    /// The most that shall be spent in one window.
    #[serde(rename = "limit_usd", with = "limit")]
    pub limit: Money,
    /// Where it speaks up, lowest first as far as the limit tells.
    pub alert_at: Vec<Threshold>,
    /// Whom it writes to; may be nobody.
    pub notify: Vec<String>,
    /// What happens once the limit is reached.
    pub when_exceeded: WhenExceeded,
}

impl Budget {
    /// Whether calls that may count are refused at this spend: it blocks, and the limit is reached. A limit of 0 refuses all.
    pub fn refuses(&self, spent: Total) -> bool {
        self.when_exceeded == WhenExceeded::Block && spent >= self.limit.into()
    }
}

/// A budget as people write it in the file, on a form or to the API.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetSpec {
    /// Its name.
    pub name: BudgetName,
    /// Which calls it counts; all, when left out.
    #[serde(default)]
    pub scope: Scope,
    /// How long it counts.
    pub window: WindowKind,
    /// Its zone; `None`: the daemon's `time_zone`.
    #[serde(default, deserialize_with = "optional_zone")]
    pub time_zone: Option<Tz>,
    /// The limit.
    #[serde(with = "limit")]
    pub limit_usd: Money,
    /// Where it speaks up; [`Threshold::DEFAULT`] when left out, never when the list is empty.
    #[serde(default = "default_thresholds")]
    pub alert_at: Vec<Threshold>,
    /// Whom it writes to.
    #[serde(default)]
    pub notify: Vec<String>,
    /// What happens once the limit is reached.
    #[serde(default)]
    pub when_exceeded: WhenExceeded,
}

fn optional_zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Tz>, D::Error> {
    zone::deserialize(deserializer).map(Some)
}

fn default_thresholds() -> Vec<Threshold> {
    Threshold::DEFAULT.to_vec()
}

impl BudgetSpec {
    /// The budget this describes, owned by `origin`, in `default_zone` if it names none.
    pub fn into_budget(self, origin: Origin, default_zone: Tz) -> Result<Budget, BudgetError> {
        self.scope.check()?;
        if self.when_exceeded == WhenExceeded::Block && self.scope.provider.is_some() && self.scope.model.is_none() {
            return Err(BudgetError::BlocksByProvider);
        }
        if self.alert_at.len() > MAX_THRESHOLDS {
            return Err(BudgetError::TooManyThresholds);
        }
        if let Some(twice) = repeated(&self.alert_at) {
            return Err(BudgetError::ThresholdTwice(*twice));
        }
        if self.notify.len() > MAX_NOTIFY {
            return Err(BudgetError::TooManyAddresses);
        }
        if let Some(wrong) = self.notify.iter().find(|address| address.parse::<lettre::Address>().is_err()) {
            return Err(BudgetError::Address(wrong.clone()));
        }
        if let Some(twice) = repeated(&self.notify) {
            return Err(BudgetError::AddressTwice(twice.clone()));
        }
        let mut alert_at = self.alert_at;
        alert_at.sort_by_key(|threshold| (threshold.amount(self.limit_usd), *threshold));
        Ok(Budget {
            name: self.name,
            origin,
            scope: self.scope,
            window: self.window,
            zone: self.time_zone.unwrap_or(default_zone),
            limit: self.limit_usd,
            alert_at,
            notify: self.notify,
            when_exceeded: self.when_exceeded,
        })
    }
}

/// The first item that equals one before it.
fn repeated<T: PartialEq>(items: &[T]) -> Option<&T> {
    items.iter().enumerate().find(|(at, item)| items[..*at].contains(item)).map(|(_, item)| item)
}

#[cfg(test)]
mod tests;
