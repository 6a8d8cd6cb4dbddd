//! The windows in which a budget counts: calendar windows in a zone of their own, and rolling ones.
//!
//! Calendar windows of one kind and zone tile time: every instant lies in exactly one. All their
//! bounds, and those of rolling windows, lie on 15-minute UTC buckets for every zone since 1980, so
//! a window's sum is a sum of whole buckets.

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike as _, Days, Months, NaiveDate, Weekday};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::time::{BUCKET_MS, DAY_MS, Timestamp};
use super::zone;

/// Milliseconds in an hour.
const HOUR_MS: i64 = 60 * 60 * 1000;

/// Instants before this one and after [`LAST`] are held there: no row lies outside 1970 to 9999.
const FIRST: Timestamp = Timestamp(0);

/// The last millisecond of the year 9999.
const LAST: Timestamp = Timestamp(253_402_300_799_999);

/// How long a budget counts before it begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum WindowKind {
    /// A local hour by UTC offset; an hour that the clock shows twice is two windows.
    Hour,
    /// A local date, from its first instant on.
    Day,
    /// Seven dates from Monday on, or from another [`WeekStart`].
    Week,
    /// A calendar month, or from one [`BillingDay`] to the next.
    Month,
    /// January to March, April to June, July to September, October to December.
    Quarter,
    /// A calendar year.
    Year,
    /// All of time; never begins anew.
    Total,
    /// The last 24 hours, in 15-minute steps.
    Rolling24h,
    /// The last 7 times 24 hours, in 15-minute steps.
    Rolling7d,
    /// The last 30 times 24 hours, in 15-minute steps.
    Rolling30d,
}

/// Why a text is not a window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a window; write one of hour, day, week, month, quarter, year, total, \"rolling 24h\", \"rolling 7d\", \"rolling 30d\""
)]
pub struct WindowError(String);

/// The weekday on which weeks begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WeekStart(Weekday);

/// The day of the month on which billing months begin, 1 to 31; in a shorter month its last day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct BillingDay(u8);

/// Why something is not a weekday or a day of the month.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CutError {
    /// No weekday.
    #[error("\"{0}\" is not a weekday; write one of monday, tuesday, wednesday, thursday, friday, saturday, sunday")]
    Weekday(String),
    /// No day of a month.
    #[error("{0} is not a day of the month; write a whole number from 1 to 31 (in a shorter month, its last day)")]
    Day(String),
}

/// The windows of one kind: in which zone's calendar, and where its weeks and months begin.
///
/// They tile time: every instant lies in exactly one, whatever the options are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Calendar {
    /// How long a window is.
    pub kind: WindowKind,
    /// Whose dates and hours count; rolling windows and `total` do not look at it.
    pub zone: Tz,
    /// Where weeks begin; of other windows nothing.
    pub week_starts: WeekStart,
    /// Where months begin; of other windows nothing: quarters and years are those of the calendar.
    pub billing_day: BillingDay,
}

/// A span of time, half open: `start` lies in it, `end` does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// The first instant in the window; the epoch for [`WindowKind::Total`].
    pub start: Timestamp,
    /// The first instant after the window; `None` when it never ends.
    pub end: Option<Timestamp>,
}

impl Window {
    /// Whether `at` lies in the window.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.start <= at && self.end.is_none_or(|end| at < end)
    }

    /// The share of the window that has gone at `now`, in basis points, 0 to 10,000; `None` when it never ends.
    pub fn elapsed_share(&self, now: Timestamp) -> Option<i64> {
        let length = i128::from(self.end?.millis()) - i128::from(self.start.millis());
        let gone = (i128::from(now.millis()) - i128::from(self.start.millis())).clamp(0, length.max(0));
        // An empty window has gone whole.
        i64::try_from((gone * 10_000).checked_div(length).unwrap_or(10_000)).ok()
    }
}

impl WindowKind {
    /// Every kind, in the order in which they are offered.
    pub const ALL: [WindowKind; 10] = [
        Self::Hour,
        Self::Day,
        Self::Week,
        Self::Month,
        Self::Quarter,
        Self::Year,
        Self::Total,
        Self::Rolling24h,
        Self::Rolling7d,
        Self::Rolling30d,
    ];

    /// The kind as the configuration and the views write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
            Self::Total => "total",
            Self::Rolling24h => "rolling 24h",
            Self::Rolling7d => "rolling 7d",
            Self::Rolling30d => "rolling 30d",
        }
    }

    /// Milliseconds a rolling window looks back from the start of the current step; `None` for the others.
    pub const fn rolling_span(self) -> Option<i64> {
        match self {
            Self::Rolling24h => Some(DAY_MS),
            Self::Rolling7d => Some(7 * DAY_MS),
            Self::Rolling30d => Some(30 * DAY_MS),
            _ => None,
        }
    }

    /// Whether the window moves with time instead of beginning anew.
    pub const fn is_rolling(self) -> bool {
        self.rolling_span().is_some()
    }

    /// Whether each window has an end of its own, at which the next begins.
    pub const fn ends(self) -> bool {
        !self.is_rolling() && !matches!(self, Self::Total)
    }

    /// The window of this kind that holds `at` in `zone`, with weeks from Monday on and months from the first.
    pub fn window_at(self, zone: Tz, at: Timestamp) -> Window {
        Calendar::plain(self, zone).window_at(at)
    }
}

impl Calendar {
    /// Weeks begin on Monday, months with their first day.
    pub fn plain(kind: WindowKind, zone: Tz) -> Self {
        Self { kind, zone, week_starts: WeekStart::default(), billing_day: BillingDay::default() }
    }

    /// The window that holds `at`.
    ///
    /// A rolling window is the span that ends in the current 15-minute step: from the start of the
    /// bucket that holds `at - span`, whole, to the end of the bucket that holds `at`. It thus holds
    /// one bucket more than its span, and is the same for every instant of one step.
    ///
    /// `total` is everything since the epoch. Instants outside 1970 to 9999 are held at those ends.
    pub fn window_at(&self, at: Timestamp) -> Window {
        let at = at.clamp(FIRST, LAST);
        if let Some(span) = self.kind.rolling_span() {
            let step = at.bucket();
            return Window { start: step.plus_millis(-span), end: Some(step.plus_millis(BUCKET_MS)) };
        }
        match self.kind {
            WindowKind::Total => Window { start: FIRST, end: None },
            WindowKind::Hour => hour_at(self.zone, at),
            _ => self.dates_at(at),
        }
    }

    /// The window before `window`; `None` for `total`.
    ///
    /// For calendar windows the one that ends where `window` starts; for rolling ones the window as
    /// it stood one span earlier, so that the two compare at the same time of day.
    pub fn previous(&self, window: &Window) -> Option<Window> {
        match (self.kind, self.kind.rolling_span()) {
            (WindowKind::Total, _) => None,
            (_, Some(span)) => Some(Window {
                start: window.start.plus_millis(-span),
                end: window.end.map(|end| end.plus_millis(-span)),
            }),
            _ => Some(self.window_at(window.start.plus_millis(-1))),
        }
    }

    fn dates_at(self, at: Timestamp) -> Window {
        let zone = self.zone;
        let mut first = self.first_date(zone::local_time(zone, at).date());
        let mut next = self.next_first_date(first);
        let mut end = zone::first_of_date(zone, next);
        // A clock that is set back over midnight shows yesterday's date again after today has begun.
        while end <= at {
            first = next;
            next = self.next_first_date(first);
            end = zone::first_of_date(zone, next);
        }
        Window { start: zone::first_of_date(zone, first), end: Some(end) }
    }

    /// The first date of the period that holds `date`.
    fn first_date(self, date: NaiveDate) -> NaiveDate {
        let first_of = |month| NaiveDate::from_ymd_opt(date.year(), month, 1).unwrap_or(date);
        match self.kind {
            WindowKind::Week => date - Days::new(u64::from(date.weekday().days_since(self.week_starts.0))),
            WindowKind::Month => {
                let first = first_of(date.month());
                let this = self.billing_day.of_month(first);
                if this <= date { this } else { self.billing_day.of_month(first - Months::new(1)) }
            }
            WindowKind::Quarter => first_of(date.month0() / 3 * 3 + 1),
            WindowKind::Year => first_of(1),
            _ => date,
        }
    }

    /// The first date of the period after the one that begins with `first`.
    fn next_first_date(self, first: NaiveDate) -> NaiveDate {
        match self.kind {
            WindowKind::Week => first + Days::new(7),
            WindowKind::Month => {
                let month = NaiveDate::from_ymd_opt(first.year(), first.month(), 1).unwrap_or(first);
                self.billing_day.of_month(month + Months::new(1))
            }
            WindowKind::Quarter => first + Months::new(3),
            WindowKind::Year => first + Months::new(12),
            _ => first + Days::new(1),
        }
    }
}

impl WeekStart {
    /// Every one, as a week goes that begins on Monday.
    pub const ALL: [WeekStart; 7] = [
        Self(Weekday::Mon),
        Self(Weekday::Tue),
        Self(Weekday::Wed),
        Self(Weekday::Thu),
        Self(Weekday::Fri),
        Self(Weekday::Sat),
        Self(Weekday::Sun),
    ];

    /// The weekday as the configuration writes it.
    pub const fn as_str(self) -> &'static str {
        match self.0 {
            Weekday::Mon => "monday",
            Weekday::Tue => "tuesday",
            Weekday::Wed => "wednesday",
            Weekday::Thu => "thursday",
            Weekday::Fri => "friday",
            Weekday::Sat => "saturday",
            Weekday::Sun => "sunday",
        }
    }
}

impl Default for WeekStart {
    fn default() -> Self {
        Self(Weekday::Mon)
    }
}

impl FromStr for WeekStart {
    type Err = CutError;
    fn from_str(text: &str) -> Result<Self, CutError> {
        let wanted = text.trim();
        Self::ALL.into_iter().find(|day| day.as_str() == wanted).ok_or_else(|| CutError::Weekday(text.to_owned()))
    }
}

impl TryFrom<String> for WeekStart {
    type Error = CutError;
    fn try_from(text: String) -> Result<Self, CutError> {
        text.parse()
    }
}

impl From<WeekStart> for String {
    fn from(day: WeekStart) -> Self {
        day.as_str().to_owned()
    }
}

impl BillingDay {
    /// The day of the month, 1 to 31.
    pub const fn day(self) -> u8 {
        self.0
    }

    /// Its date in the month that begins with `first`: the last one where the month is shorter.
    fn of_month(self, first: NaiveDate) -> NaiveDate {
        let last = first + Months::new(1) - Days::new(1);
        last.with_day(u32::from(self.0)).unwrap_or(last)
    }
}

impl Default for BillingDay {
    fn default() -> Self {
        Self(1)
    }
}

impl TryFrom<i64> for BillingDay {
    type Error = CutError;
    fn try_from(day: i64) -> Result<Self, CutError> {
        match u8::try_from(day) {
            Ok(day @ 1..=31) => Ok(Self(day)),
            _ => Err(CutError::Day(day.to_string())),
        }
    }
}

impl From<BillingDay> for i64 {
    fn from(day: BillingDay) -> Self {
        day.0.into()
    }
}

impl FromStr for BillingDay {
    type Err = CutError;
    fn from_str(text: &str) -> Result<Self, CutError> {
        text.trim().parse::<i64>().map_err(|_| CutError::Day(format!("\"{text}\"")))?.try_into()
    }
}

/// The hour window that holds `at`: from one instant at which the clock stands at a full hour to the next.
///
/// Where the offset changes by whole hours the clock's minutes run on, and so does the window: a
/// doubled hour is two windows of 60 minutes. Where it changes by less (Lord Howe: 30 minutes) the
/// change itself is a bound, and the hours beside it are shorter.
fn hour_at(zone: Tz, at: Timestamp) -> Window {
    let phase = |at| zone::offset_ms(zone, at).rem_euclid(HOUR_MS);
    let here = phase(at);
    let into_hour = (at.millis() + here).rem_euclid(HOUR_MS);
    let mut start = at.plus_millis(-into_hour);
    let mut end = start.plus_millis(HOUR_MS);
    if phase(start) != here {
        start = zone::next_change(zone, start, at).unwrap_or(start);
    }
    if phase(end.plus_millis(-1)) != here {
        end = zone::next_change(zone, at, end).unwrap_or(end);
    }
    Window { start, end: Some(end) }
}

impl FromStr for WindowKind {
    type Err = WindowError;
    fn from_str(text: &str) -> Result<Self, WindowError> {
        let wanted = text.trim();
        Self::ALL.into_iter().find(|kind| kind.as_str() == wanted).ok_or_else(|| WindowError(text.to_owned()))
    }
}

impl TryFrom<String> for WindowKind {
    type Error = WindowError;
    fn try_from(text: String) -> Result<Self, WindowError> {
        text.parse()
    }
}

impl From<WindowKind> for String {
    fn from(kind: WindowKind) -> Self {
        kind.as_str().to_owned()
    }
}

impl fmt::Display for WindowKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
