//! Why a webhook was not told, by what the caller can do about it. No text holds a URL, which may be a secret.

use std::error::Error as _;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::domain::discreet::discreet;

/// The longest wait that a receiver may ask for.
const LONGEST_ASKED: Duration = Duration::from_hours(24);

/// Why a webhook was not told, as far as we know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Nobody answered, or not to the end. Try again later.
    #[error("the webhook could not be reached: {0}")]
    Unreachable(String),
    /// It answered that it cannot take this now (408, 425, 429, 5xx). Try again later.
    #[error("the webhook said to try again later: {reply}")]
    Later {
        /// Its status and the begin of its reply.
        reply: String,
        /// How long it asks to be left alone; `None`: it does not say.
        after: Option<Duration>,
    },
    /// It refuses this (any other 4xx; 410: it is gone). Trying again is no use.
    #[error("the webhook refused this: {0}; check its url, and resend it")]
    Refused(String),
    /// It answered with a redirect, which is not followed. Trying again is no use.
    #[error("the webhook answered with a redirect ({0}), which is not followed; write the new address as its url")]
    Redirected(StatusCode),
    /// No webhook has this name.
    #[error("there is no [webhooks.{0}] in the configuration")]
    Unknown(String),
    /// What was stored cannot be told in this form: a mistake of ours.
    #[error("the message cannot be put into the webhook's form: {0}")]
    Form(String),
}

impl SendError {
    /// Whether the same message may be taken later.
    pub fn is_worth_retrying(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Later { .. })
    }

    /// How long the receiver asks to be left alone; `None` where it does not say.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Later { after, .. } => *after,
            _ => None,
        }
    }

    pub(super) fn unreachable(error: &reqwest::Error) -> Self {
        // The error's own text holds the URL; its causes do not.
        let mut said = "the connection failed".to_owned();
        let mut cause = error.source();
        while let Some(next) = cause {
            said = next.to_string();
            cause = next.source();
        }
        Self::Unreachable(discreet(&said))
    }

    pub(super) fn answered(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let reply = discreet(&format!("{} {}", status.as_u16(), String::from_utf8_lossy(body)));
        match status.as_u16() {
            300..=399 => Self::Redirected(status),
            408 | 425 | 429 | 500.. => {
                let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
                Self::Later { reply, after: seconds.map(|s| Duration::from_secs(s).min(LONGEST_ASKED)) }
            }
            _ => Self::Refused(reply),
        }
    }
}

/// Why webhooks cannot be made of the configuration.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The TLS library refuses our settings.
    #[error("TLS could not be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The HTTP library refuses our settings.
    #[error("the HTTP client of webhooks could not be set up: {0}")]
    Http(#[from] reqwest::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_told_apart_by_what_can_be_done() {
        let answered = |status: u16, after: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(after) = after {
                headers.insert(RETRY_AFTER, after.parse().unwrap());
            }
            SendError::answered(StatusCode::from_u16(status).unwrap(), &headers, b"no_service for lena@example.com")
        };
        for (status, retried) in
            [(301, false), (400, false), (404, false), (408, true), (410, false), (429, true), (503, true)]
        {
            assert_eq!(answered(status, None).is_worth_retrying(), retried, "{status}");
            assert!(!answered(status, None).to_string().contains("lena"));
        }
        assert_eq!(answered(429, Some("90")).retry_after(), Some(Duration::from_secs(90)));
        assert_eq!(answered(429, Some("99999999")).retry_after(), Some(LONGEST_ASKED));
        assert_eq!(answered(429, Some("soon")).retry_after(), None);
    }
}
