//! `[smtp]`: the mail server and the sender.

use std::path::PathBuf;
use std::time::Duration;

use lettre::Address;
use lettre::message::Mailbox;
use secrecy::ExposeSecret as _;
use url::Url;

use super::general::is_loopback_host;
use super::reader::{Read, Reader};
use super::secret::SecretUrl;

/// The settings of `[smtp]`.
#[derive(Clone, Debug)]
pub struct Smtp {
    /// The server, in lettre's URL forms; `None`: mails wait in the outbox.
    pub url: Option<SecretUrl>,
    /// The sender of every mail.
    pub from: Mailbox,
    /// PEM certificates of authorities to trust beside the well-known ones; `None`: none.
    pub ca_file: Option<PathBuf>,
    /// How long one conversation may take.
    pub timeout: Duration,
}

impl Smtp {
    pub(super) fn read(reader: &mut Reader<'_>) -> Read<Self> {
        const URL: &str = "smtp.url";
        let url = match reader.secret(URL)? {
            None => None,
            Some(text) => match parse_url(text.expose_secret()) {
                Ok(url) => Some(url),
                Err(message) => return reader.wrong_setting(URL, message),
            },
        };
        let from = reader.parsed_unless_empty("smtp.from", parse_mailbox)?;
        let from = match from {
            Some(from) => from,
            None => match default_sender(&reader.sources.hostname) {
                Some(from) => from,
                None => {
                    return reader.wrong_setting(
                        "smtp.from",
                        "this machine's host name makes no mail address; write the sender: \"tallyd <tallyd@example.com>\"",
                    );
                }
            },
        };
        let ca_file = match reader.text("smtp.ca_file")? {
            "" => None,
            path => Some(reader.base("smtp.ca_file").join(path)),
        };
        let timeout = reader.duration("smtp.timeout", Duration::from_secs(1)..=Duration::from_mins(10))?;
        Ok(Self { url, from, ca_file, timeout })
    }
}

/// A mail address, with or without a name; the error is a message.
pub(super) fn parse_mailbox(text: &str) -> Result<Mailbox, String> {
    text.parse().map_err(|_| {
        format!("{text:?} is not a mail address; write \"name@example.com\" or \"Name <name@example.com>\"")
    })
}

/// `tallyd@<hostname>`, or `tallyd@localhost` where no address can be made of that name.
fn default_sender(hostname: &str) -> Option<Mailbox> {
    let address = Address::new("tallyd", hostname).or_else(|_| Address::new("tallyd", "localhost")).ok()?;
    Some(Mailbox::new(Some("tallyd".to_owned()), address))
}

/// Checks lettre's URL forms. The error is a message; it quotes nothing of the URL, which may hold a password.
fn parse_url(text: &str) -> Result<SecretUrl, String> {
    const FORMS: &str = "write \"smtps://user:password@host\", \"smtp://user:password@host:587?tls=required\" or, \
                         without a password, \"smtp://host\"";
    let url = Url::parse(text)
        .map_err(|error| format!("this URL is malformed ({error}); percent-encode what a URL cannot hold; {FORMS}"))?;
    if !matches!(url.scheme(), "smtp" | "smtps") || url.host_str().is_none_or(str::is_empty) {
        return Err(format!("this is no URL of a mail server; {FORMS}"));
    }
    let mut required = url.scheme() == "smtps";
    for (name, value) in url.query_pairs() {
        match (&*name, &*value) {
            ("tls", "required") => required = true,
            ("tls", "opportunistic") => {}
            _ => return Err(format!("the only parameter is tls=required or tls=opportunistic; {FORMS}")),
        }
    }
    if url.fragment().is_some() {
        return Err(format!("the URL has a # in it; in a password write it as %23; {FORMS}"));
    }
    if !url.username().is_empty() && url.password().is_none() {
        return Err(format!("the URL has a user and no password; {FORMS}"));
    }
    if url.password().is_some() && !required && !is_loopback_host(&url) {
        return Err("the password would travel readable; use smtps:// or add ?tls=required".to_owned());
    }
    Ok(SecretUrl::new(&url))
}
