//! The mail server, spoken to in SMTP: one connection a mail, one recipient a mail.
//!
//! A connection is never kept: one left in the middle of a conversation would answer the next mail
//! with the last one's reply. Nothing here logs, retries or remembers; callers learn from
//! [`SendError`] what they can do. No address and no password stands in any error's text.

mod error;
mod message;
mod server;

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::DEFAULT_MECHANISMS;
use lettre::transport::smtp::client::{AsyncSmtpConnection, Tls};
use lettre::transport::smtp::commands::{Data, Mail, Noop, Rcpt};
use lettre::transport::smtp::extension::{Extension, MailBodyParameter, MailParameter};

pub use error::{SendError, SetupError, Stage};
pub use message::Message;
pub use server::Server;

use crate::clock::Clock;
use crate::config::Smtp;
use message::Envelope;

/// How long a server may take over the reply to QUIT, which changes nothing any more.
const QUIT_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends mails through one server, as one sender.
#[derive(Clone, Debug)]
pub struct Mailer {
    server: Server,
    from: Mailbox,
    timeout: Duration,
    clock: Clock,
}

impl Mailer {
    /// A mailer that connects anew for each mail; `timeout` bounds one whole conversation.
    pub fn new(server: Server, from: Mailbox, timeout: Duration, clock: Clock) -> Self {
        Self { server, from, timeout, clock }
    }

    /// The mailer that `[smtp]` describes; `None` without `smtp.url`. Reads `smtp.ca_file`.
    pub fn from_config(smtp: &Smtp, clock: Clock) -> Result<Option<Self>, SetupError> {
        let Some(url) = &smtp.url else { return Ok(None) };
        let authorities = smtp.ca_file.as_deref().map(server::read_authorities).transpose()?;
        let server = Server::from_url(url.expose(), authorities.as_deref())?;
        Ok(Some(Self::new(server, smtp.from.clone(), smtp.timeout, clock)))
    }

    /// The sender's domain: the right-hand side of our Message-IDs.
    pub fn domain(&self) -> &str {
        self.from.email.domain()
    }

    /// The longest one conversation may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sends one mail; `Ok` once the server has taken responsibility for it.
    pub async fn send(&self, message: &Message) -> Result<(), SendError> {
        let envelope = message.envelope(&self.from)?;
        self.within_timeout(async |stage| {
            let mut connection = self.connect(stage).await?;
            let sent = converse(&mut connection, &envelope, stage).await;
            self.part(&mut connection).await;
            sent
        })
        .await
    }

    /// Connects, encrypts, logs in and leaves again.
    pub async fn test_connection(&self) -> Result<(), SendError> {
        self.within_timeout(async |stage| {
            let mut connection = self.connect(stage).await?;
            let answered = connection.command(Noop).await.map(drop).map_err(|error| stage.failed(&error));
            self.part(&mut connection).await;
            answered
        })
        .await
    }

    /// Runs a conversation that notes in its [`Stage`] how far it has come, and breaks it off when it takes too long.
    async fn within_timeout(
        &self,
        conversation: impl AsyncFnOnce(&mut Stage) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let mut stage = Stage::Connecting;
        match self.clock.timeout(self.timeout, Box::pin(conversation(&mut stage))).await {
            Some(result) => result,
            None => Err(stage.timed_out(self.timeout)),
        }
    }

    async fn connect(&self, stage: &mut Stage) -> Result<AsyncSmtpConnection, SendError> {
        let server = &self.server;
        *stage = Stage::Connecting;
        let wrapped = match &server.tls {
            Tls::Wrapper(tls) => Some(tls.clone()),
            _ => None,
        };
        // A third of the time for each address, so that one that swallows packets leaves time for the others.
        let each = Some(self.timeout / 3);
        let address = (server.host.as_str(), server.port);
        let mut connection = AsyncSmtpConnection::connect_tokio1(address, each, &server.hello_name, wrapped, None)
            .await
            .map_err(|error| stage.failed(&error))?;
        let starttls = match &server.tls {
            Tls::Required(tls) => Some(tls),
            Tls::Opportunistic(tls) if connection.can_starttls() => Some(tls),
            _ => None,
        };
        if let Some(tls) = starttls {
            *stage = Stage::Encrypting;
            connection.starttls(tls.clone(), &server.hello_name).await.map_err(|error| stage.failed(&error))?;
        }
        if let Some(credentials) = &server.credentials {
            *stage = Stage::LoggingIn;
            if !connection.is_encrypted() && !server.is_loopback() {
                connection.abort().await;
                return Err(SendError::Unencrypted);
            }
            connection.auth(DEFAULT_MECHANISMS, credentials).await.map_err(|error| stage.failed(&error))?;
        }
        Ok(connection)
    }

    /// Says goodbye; what becomes of that changes nothing.
    async fn part(&self, connection: &mut AsyncSmtpConnection) {
        let _ = self.clock.timeout(QUIT_TIMEOUT, connection.abort()).await;
    }
}

/// The conversation of one mail on an open connection.
async fn converse(
    connection: &mut AsyncSmtpConnection,
    envelope: &Envelope,
    stage: &mut Stage,
) -> Result<(), SendError> {
    let mut parameters = Vec::new();
    if envelope.needs_utf8_addresses() {
        let known = connection.server_info();
        if !known.supports_feature(Extension::SmtpUtfEight) || !known.supports_feature(Extension::EightBitMime) {
            return Err(SendError::Address("the mail server takes no addresses beyond ASCII"));
        }
        parameters = vec![MailParameter::SmtpUtfEight, MailParameter::Body(MailBodyParameter::EightBitMime)];
    }
    *stage = Stage::Sender;
    let from = Mail::new(Some(envelope.from.clone()), parameters);
    connection.command(from).await.map_err(|error| stage.failed(&error))?;
    *stage = Stage::Recipient;
    let to = Rcpt::new(envelope.to.clone(), Vec::new());
    connection.command(to).await.map_err(|error| stage.failed(&error))?;
    *stage = Stage::Content;
    connection.command(Data).await.map_err(|error| stage.failed(&error))?;
    connection.message(&envelope.bytes).await.map(drop).map_err(|error| stage.failed(&error))
}
