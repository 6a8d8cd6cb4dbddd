//! Instants as unix milliseconds: the one form in which time is stored, compared and sent.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeZone, Utc};
use serde::{Deserialize, Serialize};

/// Length of a roll-up bucket in milliseconds: 15 minutes, the finest step of any IANA zone's offset since 1972.
pub const BUCKET_MS: i64 = 15 * 60 * 1000;

/// Milliseconds in a UTC day.
pub const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// An instant in unix milliseconds (UTC).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Unix milliseconds.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// The instant `ms` milliseconds later (earlier, if negative), held at the ends of time.
    #[must_use]
    pub const fn plus_millis(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// How long ago it was at `now`; nothing for what is yet to come.
    pub fn age(self, now: Self) -> Duration {
        Duration::from_millis(u64::try_from(now.0.saturating_sub(self.0)).unwrap_or(0))
    }

    /// The start of the 15-minute UTC bucket that holds this instant.
    #[must_use]
    pub const fn bucket(self) -> Self {
        Self(self.0 - self.0.rem_euclid(BUCKET_MS))
    }

    /// As chrono's UTC time; instants beyond chrono's range are held at the epoch.
    pub fn to_utc(self) -> DateTime<Utc> {
        Utc.timestamp_millis_opt(self.0).single().unwrap_or_default()
    }

    /// `YYYY-MM-DDTHH:MM:SS.mmmZ`, the only form in which an instant leaves the program as text.
    pub fn to_iso(self) -> String {
        self.to_utc().to_rfc3339_opts(SecondsFormat::Millis, true)
    }

    /// Reads RFC 3339 with any offset, and OpenRouter's `2024-07-15T23:33:19.433273+00:00`.
    pub fn parse(text: &str) -> Option<Self> {
        DateTime::parse_from_rfc3339(text.trim()).ok().map(|at| Self(at.timestamp_millis()))
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(at: DateTime<Utc>) -> Self {
        Self(at.timestamp_millis())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_iso())
    }
}
