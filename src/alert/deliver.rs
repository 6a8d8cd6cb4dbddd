//! The mailer: composes what has been gathered, and sends each message, by mail or to a webhook, until it was taken or is
//! given up.
//!
//! Every state is in the database, so a restart goes on where the last one ended. A message whose sender
//! died between the server's acceptance and the note of it is sent again, under the same Message-ID.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio_util::sync::CancellationToken;

use super::compose::{ComposeError, Composer};
use crate::clock::Clock;
use crate::domain::recipient::{self, MAIL, WEBHOOK};
use crate::domain::snooze::Signer;
use crate::domain::time::Timestamp;
use crate::ledger::Wakes;
use crate::mail::{self, Mailer};
use crate::store::outbox::{self, Message, NextWork};
use crate::store::{Store, StoreError};
use crate::telemetry::Metrics;
use crate::webhook::{self, Webhooks};

/// Conversations with the mail server at once.
const AT_ONCE: usize = 4;

/// Messages leased at once: as many as are sent at once, so that none waits while its lease runs.
const LEASED: u32 = 4;

/// What a lease adds to the longest conversation: time to note how it went.
const LEASE_MARGIN: Duration = Duration::from_mins(1);

/// The first wait after a failed try; each further one is twice as long, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(10);

/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// How long a message is tried before it is given up, counted in waits alone: time without a server is none.
const TRIED_FOR: Duration = Duration::from_hours(5 * 24);

/// The longest sleep without a look at the outbox, which another process may fill.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The shortest sleep, when something is due that cannot be had: it is leased, or has just failed.
const PAUSE: Duration = Duration::from_secs(5);

/// The wait before a note that the database did not take is written again.
const NOTE_AGAIN: Duration = Duration::from_secs(1);

/// What the mailer works with.
pub struct Deliverer {
    /// Where crossings and messages are.
    pub store: Store,
    /// Where the pages are, without a slash at the end.
    pub dashboard_url: String,
    /// The sender's domain: the right-hand side of Message-IDs.
    pub domain: String,
    /// What messages leave by.
    pub channels: Channels,
    /// Signs the links that silence a budget.
    pub signer: Signer,
    /// Who says that crossings may have come.
    pub wakes: Arc<Wakes>,
    /// Who counts mails.
    pub metrics: Metrics,
    /// The time.
    pub clock: Clock,
}

/// What messages leave by; those for which there is nothing are written and wait.
#[derive(Clone, Debug)]
pub struct Channels {
    /// The mail server; `None`: there is none.
    pub mailer: Option<Mailer>,
    /// The webhooks.
    pub webhooks: Webhooks,
}

impl Channels {
    /// The channels there are, by the names that the outbox knows them by.
    pub fn names(&self) -> Vec<String> {
        let webhooks = self.webhooks.names().map(|name| format!("{WEBHOOK}{name}"));
        self.mailer.iter().map(|_| MAIL.to_owned()).chain(webhooks).collect()
    }

    /// The longest one try may take.
    fn timeout(&self) -> Duration {
        self.mailer.as_ref().map_or(Duration::ZERO, Mailer::timeout).max(webhook::TIMEOUT)
    }
}

/// Why a try failed.
struct Failure {
    /// What is told of it: bounded, without addresses and secrets.
    said: String,
    /// Whether another try may go better.
    again: bool,
    /// How long the receiver asks to be left alone.
    after: Option<Duration>,
}

impl From<mail::SendError> for Failure {
    fn from(error: mail::SendError) -> Self {
        Self { said: error.to_string(), again: error.is_worth_retrying(), after: None }
    }
}

impl From<webhook::SendError> for Failure {
    fn from(error: webhook::SendError) -> Self {
        Self { said: error.to_string(), again: error.is_worth_retrying(), after: error.retry_after() }
    }
}

/// How one try ended, for the database.
enum Note {
    Sent,
    Retry(Timestamp, String),
    Failed(String),
}

impl Deliverer {
    /// Runs until `stop`; messages in hand are finished, others stay in the outbox.
    pub async fn run(self, stop: CancellationToken) {
        let composer = Composer {
            store: self.store.clone(),
            clock: self.clock.clone(),
            dashboard_url: self.dashboard_url.clone(),
            domain: self.domain.clone(),
            channels: self.channels.names(),
            signer: self.signer.clone(),
        };
        self.announce_channels(&stop).await;
        while !stop.is_cancelled() {
            let all_well = self.compose(&composer).await & self.send_due(&stop).await;
            let wait = if all_well { self.wait().await } else { PAUSE };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.wakes.outbox.notified() => {}
                () = self.clock.sleep(wait) => {}
            }
        }
    }

    /// Tells the outbox what there is to send by: what waited for it is queued, or the other way round.
    async fn announce_channels(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            match self.set_channels().await {
                Ok(0) => return,
                Ok(messages) => {
                    tracing::info!(messages, has_server = self.channels.mailer.is_some(), "took over the outbox");
                    return;
                }
                Err(error) => tracing::warn!(%error, "the outbox cannot be read; trying again"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.clock.sleep(PAUSE) => {}
            }
        }
    }

    async fn set_channels(&self) -> Result<u64, StoreError> {
        let mut tx = self.store.write().await?;
        let messages = outbox::set_channels(&mut tx, &self.channels.names(), self.clock.now()).await?;
        tx.commit().await?;
        Ok(messages)
    }

    /// Composes what is gathered; whether all went well.
    async fn compose(&self, composer: &Composer) -> bool {
        match composer.compose().await {
            Ok(_) => true,
            Err(ComposeError::Store(error)) => {
                tracing::warn!(%error, "alert mails cannot be written at present; trying again");
                false
            }
            Err(error) => {
                tracing::error!(%error, "an alert mail cannot be written");
                false
            }
        }
    }

    /// Sends what is due until nothing is; whether the database did its part.
    async fn send_due(&self, stop: &CancellationToken) -> bool {
        while !stop.is_cancelled() {
            let leased = match self.lease().await {
                Ok(leased) => leased,
                Err(error) => {
                    tracing::warn!(%error, "the outbox cannot be read; trying again");
                    return false;
                }
            };
            if leased.is_empty() {
                return true;
            }
            stream::iter(leased).for_each_concurrent(AT_ONCE, |message| self.deliver(message)).await;
        }
        true
    }

    async fn lease(&self) -> Result<Vec<Message>, StoreError> {
        let now = self.clock.now();
        let lease = millis(self.channels.timeout() + LEASE_MARGIN);
        let mut tx = self.store.write().await?;
        let leased = outbox::lease_messages(&mut tx, now, now.plus_millis(lease), LEASED).await?;
        tx.commit().await?;
        Ok(leased)
    }

    /// Tries one message once, and notes how it went.
    async fn deliver(&self, message: Message) {
        let (id, attempt) = (message.message_id.clone(), message.attempts + 1);
        let began = self.clock.elapsed();
        let result = match recipient::webhook(&message.recipient) {
            Some(name) => {
                let event = message.payload.as_deref().unwrap_or_default();
                self.channels.webhooks.send(name, &id, event).await.map_err(Failure::from)
            }
            None => self.mail(message).await,
        };
        let took_ms = millis(self.clock.elapsed().saturating_sub(began));
        let note = match result {
            Ok(()) => {
                self.metrics.mails_sent.inc();
                tracing::info!(message_id = id, attempt, took_ms, "a message was taken");
                Note::Sent
            }
            Err(failure) => self.refused(&id, attempt, failure),
        };
        self.write_down(&id, &note).await;
    }

    async fn mail(&self, message: Message) -> Result<(), Failure> {
        let Some(mailer) = &self.channels.mailer else {
            // It was queued by somebody who has a server.
            let said = "this daemon has no mail server; set smtp.url or SMTP_URL".to_owned();
            return Err(Failure { said, again: true, after: None });
        };
        let pictures = outbox::pictures(&self.store, &message.message_id).await.map_err(|error| Failure {
            said: format!("its pictures could not be read: {error}"),
            again: true,
            after: None,
        })?;
        let mail = mail::Message {
            message_id: message.message_id,
            to: message.recipient,
            subject: message.subject,
            text: message.text_body,
            html: message.html_body,
            pictures: pictures.into_iter().map(|picture| (picture.content_id, picture.png)).collect(),
            date: message.created_at,
        };
        Ok(mailer.send(&mail).await?)
    }

    /// What becomes of a message whose try number `attempt` failed.
    fn refused(&self, id: &str, attempt: i64, failure: Failure) -> Note {
        let error = failure.said;
        let wait = wait_after(attempt).filter(|_| failure.again);
        let Some(wait) = wait else {
            self.metrics.mails_failed.inc();
            tracing::error!(message_id = id, attempt, error, "a message is given up");
            return Note::Failed(error);
        };
        let wait = failure.after.map_or(wait, |after| after.max(wait));
        tracing::warn!(message_id = id, attempt, retry_in_s = wait.as_secs(), error, "a message did not leave");
        Note::Retry(self.clock.now().plus_millis(millis(wait)), error)
    }

    /// Writes the note until the database has it: an accepted mail that is not noted would be sent again.
    async fn write_down(&self, id: &str, note: &Note) {
        while let Err(error) = self.try_to_note(id, note).await {
            tracing::warn!(message_id = id, %error, "how a mail went cannot be noted; trying again");
            self.clock.sleep(NOTE_AGAIN).await;
        }
    }

    async fn try_to_note(&self, id: &str, note: &Note) -> Result<(), StoreError> {
        let mut tx = self.store.write().await?;
        match note {
            Note::Sent => outbox::mark_sent(&mut tx, id, self.clock.now()).await?,
            Note::Retry(at, error) => outbox::mark_retry(&mut tx, id, *at, error).await?,
            Note::Failed(error) => outbox::mark_failed(&mut tx, id, error).await?,
        }
        tx.commit().await?;
        self.wakes.pages.notify_waiters();
        Ok(())
    }

    /// How long nothing is to be done, as far as the database knows.
    async fn wait(&self) -> Duration {
        let NextWork { compose, send } = match outbox::next_work(&self.store).await {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(%error, "the outbox cannot be read; trying again");
                return PAUSE;
            }
        };
        let now = self.clock.now();
        let until = |at: Timestamp| Duration::from_millis(u64::try_from(at.millis() - now.millis()).unwrap_or(0));
        let compose = compose.map(until);
        // Only what has been tried already can be due and not have been leased.
        let send = send.map(until).map(|wait| if wait.is_zero() { PAUSE } else { wait });
        compose.into_iter().chain(send).min().unwrap_or(LOOK_EVERY).min(LOOK_EVERY)
    }
}

/// The wait after try number `attempt` (the first is 1) has failed; `None` when it was the last.
fn wait_after(attempt: i64) -> Option<Duration> {
    let mut waited = Duration::ZERO;
    let mut wait = FIRST_WAIT;
    for _ in 1..attempt {
        waited += wait;
        if waited >= TRIED_FOR {
            return None;
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
    Some(wait)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_ten_seconds_to_an_hour_and_end_after_five_days() {
        let seconds = |attempt| wait_after(attempt).map(|wait| wait.as_secs());
        assert_eq!([1, 2, 3, 9, 10, 11].map(seconds), [10, 20, 40, 2_560, 3_600, 3_600].map(Some));
        let last = (1..1_000).take_while(|attempt| wait_after(*attempt).is_some()).last().unwrap();
        let waited: u64 = (1..=last).filter_map(seconds).sum();
        assert!((5 * 86_400..5 * 86_400 + 3_600).contains(&waited), "{waited}");
    }
}
