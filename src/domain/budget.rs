//! A budget: which calls it counts, in what window, up to what limit, and what it says or stops on the way.
//!
//! A [`BudgetSpec`] is a budget as people write it; [`BudgetSpec::into_budget`] checks it. Nothing
//! here knows what has been spent but what it is told.

use std::fmt;
use std::str::FromStr;

use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::money::{Money, Total};
use super::recipient;
use super::scope::{Scope, ScopeError};
use super::time::Timestamp;
use super::window::{BillingDay, Calendar, CutError, WeekStart, Window, WindowKind};
use super::zone;

pub mod change;
mod each;
mod limit;
pub mod terms;
mod threshold;

pub use each::{Each, MAX_VALUES, OTHER};
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
    /// An amount that no limit can be topped up by.
    #[error("\"{0}\" is not an amount to add: write dollars above 0, such as \"25.00\", or \"-25.00\" to take back")]
    TopUp(String),
    /// A reason or note above [`terms::MAX_REASON`].
    #[error("a reason or note has at most {} characters", terms::MAX_REASON)]
    ReasonTooLong,
    /// The threshold is neither a percentage nor an amount.
    #[error(
        "\"{0}\" is not a threshold: write a share of the limit with at most two decimals, such as \"80%\", an amount, such as \"$120.00\", or a share that the forecast shall not reach, such as \"forecast 100%\""
    )]
    Threshold(String),
    /// The threshold is zero, or too high.
    #[error("\"{0}\" is out of range: a threshold is above 0 and at most 1000% or ${MAX_USD}")]
    ThresholdRange(String),
    /// The same threshold stands twice.
    #[error("alert_at names {0} twice; remove one")]
    ThresholdTwice(Threshold),
    /// The window has no end that could be forecast.
    #[error("alert_at: a {1} window has no end to forecast; remove \"{0}\"")]
    ForecastWithoutEnd(Threshold, WindowKind),
    /// More than [`MAX_THRESHOLDS`].
    #[error("alert_at has at most {MAX_THRESHOLDS} thresholds")]
    TooManyThresholds,
    /// Neither a mail address nor a webhook.
    #[error(
        "notify: \"{0}\" is not a mail address; write name@example.com, or webhook:NAME for a webhook of [webhooks.NAME]"
    )]
    Address(String),
    /// The webhook of this name is not configured.
    #[error(
        "notify: there is no [webhooks.{0}] in the configuration; write it there first, or correct \"webhook:{0}\""
    )]
    NoSuchWebhook(String),
    /// The same address stands twice.
    #[error("notify names \"{0}\" twice; remove one")]
    AddressTwice(String),
    /// More than [`MAX_NOTIFY`].
    #[error("notify has at most {MAX_NOTIFY} addresses; use a mailing list")]
    TooManyAddresses,
    /// `when_exceeded` is neither `alert` nor `block`.
    #[error("\"{0}\" is not known for when_exceeded; write \"alert\" or \"block\"")]
    WhenExceeded(String),
    /// `on_ledger_failure` is neither `forward` nor `refuse`.
    #[error("\"{0}\" is not known for on_ledger_failure; write \"forward\" or \"refuse\"")]
    OnLedgerFailure(String),
    /// `each` names no field whose values can have a budget each.
    #[error("\"{0}\" is not known for each; write \"app\", \"key\", \"user\" or \"tag.NAME\"")]
    Each(String),
    /// What one value leaves unspent is not the others' to spend.
    #[error("each: a budget of each value does not roll over; leave rollover out")]
    EachRollsOver,
    /// Values are not looked ahead one by one.
    #[error("each: a budget of each value has no forecast; leave \"{0}\" out of alert_at")]
    EachForecast(Threshold),
    /// The scope can never match.
    #[error("scope: {0}")]
    Scope(#[from] ScopeError),
    /// No weekday, or no day of a month.
    #[error(transparent)]
    Cut(#[from] CutError),
    /// `week_starts` stands beside a window that has no weeks.
    #[error("week_starts says where weeks begin; with window = \"{0}\" remove it, or write window = \"week\"")]
    WeekStartsOf(WindowKind),
    /// `billing_day` stands beside a window that has no billing months.
    #[error(
        "billing_day says where months begin; with window = \"{0}\" remove it, or write window = \"month\" (quarters and years are those of the calendar)"
    )]
    BillingDayOf(WindowKind),
    /// `rollover` stands beside a window that has none before it.
    #[error(
        "rollover adds what the window before left unspent; \"{0}\" has no window before that has ended, so remove it"
    )]
    RolloverOf(WindowKind),
    /// Who will answer is not known when a call is admitted.
    #[error(
        "scope: a budget that blocks cannot look at the provider alone, which is known only after the answer; put model beside it, or write when_exceeded = \"alert\""
    )]
    BlocksByProvider,
}

impl BudgetError {
    /// The field of the budget that it is about.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Name(_) => "name",
            Self::Limit(_) | Self::LimitRange(_) | Self::LimitFloat(_) => "limit_usd",
            Self::Threshold(_)
            | Self::ThresholdRange(_)
            | Self::ThresholdTwice(_)
            | Self::ForecastWithoutEnd(..)
            | Self::TooManyThresholds => "alert_at",
            Self::Address(_) | Self::NoSuchWebhook(_) | Self::AddressTwice(_) | Self::TooManyAddresses => "notify",
            Self::Each(_) | Self::EachRollsOver | Self::EachForecast(_) => "each",
            Self::WhenExceeded(_) => "when_exceeded",
            Self::OnLedgerFailure(_) => "on_ledger_failure",
            Self::Scope(_) | Self::BlocksByProvider => "scope",
            Self::Cut(CutError::Weekday(_)) | Self::WeekStartsOf(_) => "week_starts",
            Self::Cut(CutError::Day(_)) | Self::BillingDayOf(_) => "billing_day",
            Self::RolloverOf(_) => "rollover",
            Self::TopUp(_) => "amount_usd",
            Self::ReasonTooLong => "reason",
        }
    }
}

/// A budget's name, unique among those in force: `[a-z0-9][a-z0-9._-]{0,63}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, pattern = "^[a-z0-9][a-z0-9._-]{0,63}$")]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(rename_all = "lowercase")]
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

/// What becomes of new calls when the journal is full or can not be written; the later one is the stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(rename_all = "lowercase")]
pub enum OnLedgerFailure {
    /// They pass, uncounted; pages and metrics say how many.
    Forward,
    /// They are answered 503 `ledger_unavailable`.
    Refuse,
}

impl OnLedgerFailure {
    /// The text in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Refuse => "refuse",
        }
    }
}

impl FromStr for OnLedgerFailure {
    type Err = BudgetError;
    fn from_str(text: &str) -> Result<Self, BudgetError> {
        match text.trim() {
            "forward" => Ok(Self::Forward),
            "refuse" => Ok(Self::Refuse),
            _ => Err(BudgetError::OnLedgerFailure(text.to_owned())),
        }
    }
}

impl TryFrom<String> for OnLedgerFailure {
    type Error = BudgetError;
    fn try_from(text: String) -> Result<Self, BudgetError> {
        text.parse()
    }
}

impl From<OnLedgerFailure> for String {
    fn from(failure: OnLedgerFailure) -> Self {
        failure.as_str().to_owned()
    }
}

/// A budget in force, checked. As JSON it is what the store keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Budget {
    /// Its name.
    pub name: BudgetName,
    /// Who owns it.
    pub origin: Origin,
    /// Which calls it counts.
    pub scope: Scope,
    /// The field each of whose values has the whole limit to itself; `None`: all calls share it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "tag.team")]
    pub each: Option<Each>,
    /// How long it counts before it begins anew.
    #[schema(value_type = String, pattern = "^(hour|day|week|month|quarter|year|total|rolling (24h|7d|30d))$", example = "month")]
    pub window: WindowKind,
    /// The zone of its calendar.
    #[serde(rename = "time_zone", with = "zone")]
    #[schema(value_type = String, example = "Europe/Berlin")]
    pub zone: Tz,
    /// Where its weeks begin; looked at by `week` alone.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schema(value_type = String, example = "monday")]
    pub week_starts: WeekStart,
    /// Where its months begin; looked at by `month` alone.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schema(value_type = i64, minimum = 1, maximum = 31)]
    pub billing_day: BillingDay,
    /// Whether what a window leaves unspent is added to the limit of the next one, and of that one alone.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rollover: bool,
    /// The most that shall be spent in one window.
    #[serde(rename = "limit_usd", with = "limit")]
    #[schema(value_type = String, example = "500.00")]
    pub limit: Money,
    /// Where it speaks up, lowest first as far as the limit tells.
    #[schema(value_type = Vec<String>)]
    pub alert_at: Vec<Threshold>,
    /// Whom it tells ([`recipient`]); may be nobody.
    pub notify: Vec<String>,
    /// What happens once the limit is reached.
    pub when_exceeded: WhenExceeded,
    /// What becomes of calls that it may count when the ledger can not be written; `None`: as `journal.on_ledger_failure` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_ledger_failure: Option<OnLedgerFailure>,
}

impl Budget {
    /// How its windows are cut.
    pub fn calendar(&self) -> Calendar {
        let Self { window, zone, week_starts, billing_day, .. } = *self;
        Calendar { kind: window, zone, week_starts, billing_day }
    }

    /// Its window that holds `at`.
    pub fn window_at(&self, at: Timestamp) -> Window {
        self.calendar().window_at(at)
    }

    /// The window before `window`; see [`Calendar::previous`].
    pub fn window_before(&self, window: &Window) -> Option<Window> {
        self.calendar().previous(window)
    }

    /// Whether both count the same calls in the same windows, whatever limit they measure them against.
    pub fn counts_as(&self, other: &Self) -> bool {
        self.calendar() == other.calendar() && self.scope == other.scope && self.each == other.each
    }

    /// Whether calls that may count are refused at this spend: it blocks, and `limit`, that of the window, is reached.
    /// A limit of 0 refuses all.
    pub fn refuses(&self, limit: Money, spent: Total) -> bool {
        self.when_exceeded == WhenExceeded::Block && spent >= limit.into()
    }
}

/// A budget as people write it in the file, on a form or to the API.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetSpec {
    /// Its name; in a request's body it may be left out, as the path names it.
    #[schema(required = false)]
    pub name: BudgetName,
    /// Which calls it counts; all, when left out.
    #[serde(default)]
    pub scope: Scope,
    /// The field each of whose values has the whole limit to itself; `None`: all calls share it.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "tag.team")]
    pub each: Option<Each>,
    /// How long it counts: hour, day, week, month, quarter, year, total, rolling 24h, rolling 7d or rolling 30d.
    #[schema(value_type = String, pattern = "^(hour|day|week|month|quarter|year|total|rolling (24h|7d|30d))$", example = "month")]
    pub window: WindowKind,
    /// Its zone; `None`: the daemon's `time_zone`.
    #[serde(default, deserialize_with = "optional_zone")]
    #[schema(value_type = String, required = false, example = "Europe/Berlin")]
    pub time_zone: Option<Tz>,
    /// Where its weeks begin; `None`: on Monday. Refused for other windows than `week`.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "monday")]
    pub week_starts: Option<WeekStart>,
    /// Where its months begin; `None`: with their first day. Refused for other windows than `month`.
    #[serde(default)]
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 31)]
    pub billing_day: Option<BillingDay>,
    /// Whether what a window leaves unspent is added to the next one's limit. Refused for windows that do not begin anew.
    #[serde(default)]
    pub rollover: bool,
    /// The limit: a string such as "500.00", or whole dollars.
    #[serde(with = "limit")]
    #[schema(value_type = String, pattern = r"^[0-9]{1,6}(\.[0-9]{1,12})?$", example = "500.00")]
    pub limit_usd: Money,
    /// Where it speaks up; [`Threshold::DEFAULT`] when left out, never when the list is empty.
    #[serde(default = "default_thresholds")]
    #[schema(value_type = Vec<String>, max_items = 20, example = json!(["80%", "$120.00", "forecast 100%"]))]
    pub alert_at: Vec<Threshold>,
    /// Whom it tells: mail addresses, and `webhook:NAME`.
    #[serde(default)]
    pub notify: Vec<String>,
    /// What happens once the limit is reached.
    #[serde(default)]
    pub when_exceeded: WhenExceeded,
    /// What becomes of calls that it may count when the ledger can not be written; `None`: as the journal is set.
    #[serde(default)]
    pub on_ledger_failure: Option<OnLedgerFailure>,
}

fn optional_zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Tz>, D::Error> {
    zone::deserialize(deserializer).map(Some)
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
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
        if self.week_starts.is_some() && self.window != WindowKind::Week {
            return Err(BudgetError::WeekStartsOf(self.window));
        }
        if self.billing_day.is_some() && self.window != WindowKind::Month {
            return Err(BudgetError::BillingDayOf(self.window));
        }
        if self.rollover && (self.window == WindowKind::Total || self.window.is_rolling()) {
            return Err(BudgetError::RolloverOf(self.window));
        }
        if self.each.is_some() && self.rollover {
            return Err(BudgetError::EachRollsOver);
        }
        if let (Some(_), Some(forecast)) = (&self.each, self.alert_at.iter().find(|one| one.is_forecast())) {
            return Err(BudgetError::EachForecast(*forecast));
        }
        if self.alert_at.len() > MAX_THRESHOLDS {
            return Err(BudgetError::TooManyThresholds);
        }
        if let Some(twice) = repeated(&self.alert_at) {
            return Err(BudgetError::ThresholdTwice(*twice));
        }
        if let Some(forecast) = self.alert_at.iter().find(|threshold| threshold.is_forecast() && !self.window.ends()) {
            return Err(BudgetError::ForecastWithoutEnd(*forecast, self.window));
        }
        if self.notify.len() > MAX_NOTIFY {
            return Err(BudgetError::TooManyAddresses);
        }
        self.notify.iter().try_for_each(|one| recipient::check(one))?;
        if let Some(twice) = repeated(&self.notify) {
            return Err(BudgetError::AddressTwice(twice.clone()));
        }
        let mut alert_at = self.alert_at;
        alert_at.sort_by_key(|threshold| (threshold.amount(self.limit_usd), *threshold));
        Ok(Budget {
            name: self.name,
            origin,
            scope: self.scope,
            each: self.each,
            window: self.window,
            zone: self.time_zone.unwrap_or(default_zone),
            week_starts: self.week_starts.unwrap_or_default(),
            billing_day: self.billing_day.unwrap_or_default(),
            rollover: self.rollover,
            limit: self.limit_usd,
            alert_at,
            notify: self.notify,
            when_exceeded: self.when_exceeded,
            on_ledger_failure: self.on_ledger_failure,
        })
    }
}

/// The first item that equals one before it.
fn repeated<T: PartialEq>(items: &[T]) -> Option<&T> {
    items.iter().enumerate().find(|(at, item)| items[..*at].contains(item)).map(|(_, item)| item)
}

#[cfg(test)]
mod tests;
