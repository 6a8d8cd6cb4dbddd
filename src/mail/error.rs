//! Why a mail did not leave, told by what the caller can do about it.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use crate::domain::discreet::discreet;

/// Where in the conversation it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// TCP, the greeting, and TLS where it comes first.
    Connecting,
    /// STARTTLS.
    Encrypting,
    /// AUTH.
    LoggingIn,
    /// MAIL FROM.
    Sender,
    /// RCPT TO.
    Recipient,
    /// DATA and the mail itself.
    Content,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connecting => "connecting",
            Self::Encrypting => "starting TLS",
            Self::LoggingIn => "logging in",
            Self::Sender => "naming the sender",
            Self::Recipient => "naming the recipient",
            Self::Content => "sending the mail",
        })
    }
}

/// Why a mail was not accepted, as far as we know. The texts are bounded and hold no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Nobody answered, or the conversation broke off before the server's acceptance. Try again later, with this mail and all others.
    #[error("the mail server did not answer as it should while {stage}: {reason}")]
    Unreachable {
        /// How far it had come.
        stage: Stage,
        /// What the system, TLS or SMTP layer said.
        reason: String,
    },
    /// The server said "not now" (a 4xx reply). Try this mail again later.
    #[error("the mail server said to try again later while {stage}: {reply}")]
    Temporary {
        /// How far it had come.
        stage: Stage,
        /// Its reply.
        reply: String,
    },
    /// The server will not work with us, whoever the recipient is. Try again later: a corrected configuration cures it.
    #[error("the mail server refused while {stage}: {reply}; check [smtp] in the configuration")]
    Refused {
        /// How far it had come.
        stage: Stage,
        /// Its reply.
        reply: String,
    },
    /// The server offered no TLS, and the password does not travel readable. Try again later: a corrected configuration cures it.
    #[error("the mail server offers no TLS, so the password was not sent; use smtps:// or ?tls=required in smtp.url")]
    Unencrypted,
    /// The server refuses this mail for good (a 5xx reply to its recipient or content). Trying again is no use.
    #[error("the mail server refused this mail while {stage}: {reply}")]
    Rejected {
        /// How far it had come.
        stage: Stage,
        /// Its reply.
        reply: String,
    },
    /// The mail cannot be addressed or written. Trying again is no use.
    #[error("the mail cannot be sent: {0}")]
    Address(&'static str),
}

impl SendError {
    /// Whether the same mail may be taken later.
    pub fn is_worth_retrying(&self) -> bool {
        !matches!(self, Self::Rejected { .. } | Self::Address(_))
    }
}

/// Why a mailer cannot be made of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The URL has another form. It is not quoted: it may hold a password.
    #[error(
        "smtp.url: {0}; write \"smtps://user:password@host\", \"smtp://user:password@host:587?tls=required\" or, without a password, \"smtp://host\""
    )]
    Url(&'static str),
    /// The certificates cannot be used.
    #[error("smtp.ca_file: {0}; it must hold the PEM certificates of the authorities that sign your mail server's")]
    Authorities(String),
}

impl Stage {
    /// What `error` at this stage means.
    pub(super) fn failed(self, error: &lettre::transport::smtp::Error) -> SendError {
        let said = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        if let Some(code) = error.status() {
            let reply = discreet(&format!("{code} {said}"));
            return match self {
                _ if error.is_transient() => SendError::Temporary { stage: self, reply },
                Self::Recipient | Self::Content => SendError::Rejected { stage: self, reply },
                _ => SendError::Refused { stage: self, reply },
            };
        }
        let reason = match said.as_str() {
            "incomplete response" => "it closed the connection".to_owned(),
            _ if said.contains("UnknownIssuer") => {
                "its certificate is signed by an authority that is not known here; name that in smtp.ca_file".to_owned()
            }
            _ => discreet(&said),
        };
        SendError::Unreachable { stage: self, reason }
    }

    /// The conversation had not ended after `limit`.
    pub(super) fn timed_out(self, limit: Duration) -> SendError {
        SendError::Unreachable { stage: self, reason: format!("no end after {} s", limit.as_secs_f32()) }
    }
}
