//! Why a reading gave nothing, in terms of what the caller can do about it.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime};

use crate::domain::time::Timestamp;

/// Why a reading gave nothing. Its texts are shown to people; none carries a key or a body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// 404: not written yet, no such generation, or another key's; only time tells them apart.
    #[error("OpenRouter has no record of it (HTTP 404)")]
    NotYet,
    /// 401 or 403: the key is not (or no longer) allowed this.
    #[error("OpenRouter refuses the key (HTTP {status})")]
    Refused {
        /// The HTTP status.
        status: u16,
    },
    /// 429: every reading with this key has to wait.
    #[error("OpenRouter asks to slow down (HTTP 429)")]
    RateLimited {
        /// The wait asked for, if one was.
        retry_after: Option<Duration>,
    },
    /// The network or OpenRouter is in trouble: asking again later may help.
    #[error("{reason}")]
    Temporary {
        /// What happened, in words for people.
        reason: String,
        /// The wait asked for, if one was.
        retry_after: Option<Duration>,
    },
    /// It answered 200 with something that is no answer.
    #[error("{reason}")]
    Garbled {
        /// What was wrong, in words for people.
        reason: String,
    },
}

impl ReadError {
    /// The wait that OpenRouter asked for, if it asked for one.
    pub fn asked_wait(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } | Self::Temporary { retry_after, .. } => *retry_after,
            Self::NotYet | Self::Refused { .. } | Self::Garbled { .. } => None,
        }
    }

    pub(super) fn temporary(reason: impl Into<String>) -> Self {
        Self::Temporary { reason: reason.into(), retry_after: None }
    }

    pub(super) fn garbled(reason: impl Into<String>) -> Self {
        Self::Garbled { reason: reason.into() }
    }
}

/// Reads `Retry-After`: seconds, or an HTTP date seen from `now`.
pub(super) fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let wait = http_date(value)?.millis().saturating_sub(now.millis());
    Some(Duration::from_millis(u64::try_from(wait).unwrap_or(0)))
}

/// Reads an HTTP date in any of its three forms (RFC 9110 section 5.6.7).
pub(super) fn http_date(value: &str) -> Option<Timestamp> {
    let value = value.trim();
    let of_old = |form| NaiveDateTime::parse_from_str(value, form).ok().map(|at| at.and_utc());
    let date = DateTime::parse_from_rfc2822(value)
        .map(|at| at.to_utc())
        .ok()
        .or_else(|| of_old("%A, %d-%b-%y %H:%M:%S GMT"))
        .or_else(|| of_old("%a %b %e %H:%M:%S %Y"))?;
    Some(date.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_in_three_forms() {
        let now = Timestamp::parse("1994-11-06T08:49:07Z").unwrap();
        for (value, seconds) in [
            ("0", Some(0)),
            (" 90 ", Some(90)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(30)),
            ("Sun Nov  6 08:49:37 1994", Some(30)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("-5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(value, now), seconds.map(Duration::from_secs), "{value}");
        }
    }
}
