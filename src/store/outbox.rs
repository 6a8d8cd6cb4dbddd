//! Mails and webhook messages on their way: who is to be told what, and the messages made of it.

use crate::domain::time::Timestamp;

use super::alerts::{Alert, AlertRow};
use super::batch::{Json, storable};
use super::statements as sql;
use super::tx::{in_tx, reading};
use super::{Store, StoreError, Tx};

/// Crossings that concern one recipient within 5 s are one mail (design promise 6), in milliseconds.
pub const GATHER_MS: i64 = 5_000;

/// Crossings that one recipient is to be told of in one mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composable {
    /// The address.
    pub recipient: String,
    /// The crossings, in the order they came.
    pub alerts: Vec<Alert>,
}

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageState {
    /// To be sent when its time comes.
    Queued,
    /// There is nothing to send it with: no `[smtp]`, or no webhook of its name.
    Waiting,
    /// Accepted by the server.
    Sent,
    /// Given up.
    Failed,
}

impl MessageState {
    /// As the column `state` holds it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Waiting => "waiting",
            Self::Sent => "sent",
            Self::Failed => "failed",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Queued, Self::Waiting, Self::Sent, Self::Failed].into_iter().find(|state| state.as_str() == text)
    }
}

/// A picture that a mail's HTML shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Its Content-ID, without angle brackets.
    pub content_id: String,
    /// The picture, as PNG.
    pub png: Vec<u8>,
}

/// One message to one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// A mail's Message-ID, without angle brackets, or a webhook message's ID; the same however often it is sent.
    pub message_id: String,
    /// The address, or `webhook:NAME`.
    pub recipient: String,
    /// The subject.
    pub subject: String,
    /// The text part.
    pub text_body: String,
    /// The HTML part; empty for a webhook.
    pub html_body: String,
    /// What a webhook is told, as JSON; `None` for a mail.
    pub payload: Option<String>,
    /// Where it stands.
    pub state: MessageState,
    /// Tries so far.
    pub attempts: i64,
    /// When it is tried next.
    pub next_attempt: Timestamp,
    /// What the last try said; without addresses or credentials.
    pub last_error: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the server accepted it.
    pub sent_at: Option<Timestamp>,
}

/// How many messages stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxCounts {
    /// Crossings that no message was made of yet, counted by recipient.
    pub uncomposed: i64,
    /// To be sent.
    pub queued: i64,
    /// Without a server to send them by.
    pub waiting: i64,
    /// Sent.
    pub sent: i64,
    /// Given up.
    pub failed: i64,
}

#[derive(sqlx::FromRow)]
struct ComposableRow {
    recipient: String,
    #[sqlx(flatten)]
    alert: AlertRow,
}

#[derive(sqlx::FromRow)]
struct MessageRow {
    message_id: String,
    recipient: String,
    subject: String,
    text_body: String,
    html_body: String,
    payload: Option<String>,
    state: String,
    attempts: i64,
    next_attempt_ms: i64,
    last_error: Option<String>,
    created_ms: i64,
    sent_ms: Option<i64>,
}

impl MessageRow {
    fn into_message(self) -> Result<Message, StoreError> {
        let state = MessageState::parse(&self.state).ok_or_else(|| {
            StoreError::unreadable(&format!("messages {}", self.message_id), &format!("state {}", self.state))
        })?;
        Ok(Message {
            message_id: self.message_id,
            recipient: self.recipient,
            subject: self.subject,
            text_body: self.text_body,
            html_body: self.html_body,
            payload: self.payload,
            state,
            attempts: self.attempts,
            next_attempt: Timestamp(self.next_attempt_ms),
            last_error: self.last_error,
            created_at: Timestamp(self.created_ms),
            sent_at: self.sent_ms.map(Timestamp),
        })
    }
}

/// What is to be made into messages at `now`: for each recipient, the crossings that came within
/// [`GATHER_MS`] of the first, once that is older than it. At most `limit` recipients, longest waiting first.
pub async fn composable(tx: &mut Tx, now: Timestamp, limit: u32) -> Result<Vec<Composable>, StoreError> {
    let rows: Vec<ComposableRow> = in_tx!(tx, sql::OUTBOX_COMPOSABLE, |text, conn| {
        sqlx::query_as(text)
            .bind(now.plus_millis(-GATHER_MS).millis())
            .bind(GATHER_MS)
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await?
    });
    let mut gathered: Vec<Composable> = Vec::new();
    for row in rows {
        let alert = row.alert.into_alert()?;
        match gathered.last_mut().filter(|last| last.recipient == row.recipient) {
            Some(last) => last.alerts.push(alert),
            None => gathered.push(Composable { recipient: row.recipient, alerts: vec![alert] }),
        }
    }
    Ok(gathered)
}

/// What the outbox has to do next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextWork {
    /// When the next crossing is ready to be made into a message; `None` when none waits.
    pub compose: Option<Timestamp>,
    /// When the next queued message is to be tried; `None` when none is queued.
    pub send: Option<Timestamp>,
}

/// What the outbox has to do next, and when.
pub async fn next_work(store: &Store) -> Result<NextWork, StoreError> {
    let (uncomposed, attempt): (Option<i64>, Option<i64>) =
        reading!(store, sql::OUTBOX_NEXT, |text, conn| sqlx::query_as(text).fetch_one(conn).await?);
    Ok(NextWork { compose: uncomposed.map(|at| Timestamp(at).plus_millis(GATHER_MS)), send: attempt.map(Timestamp) })
}

/// Stores a message that tells `alerts`; `false` (and nothing changes) if its Message-ID is there already.
/// Its state is [`MessageState::Queued`] or [`MessageState::Waiting`]; attempts begin at zero.
pub async fn create_message(tx: &mut Tx, message: &Message, alerts: &[Alert]) -> Result<bool, StoreError> {
    let created = in_tx!(tx, sql::OUTBOX_CREATE, |text, conn| {
        sqlx::query(text)
            .bind(&message.message_id)
            .bind(&message.recipient)
            .bind(storable(&message.subject))
            .bind(storable(&message.text_body))
            .bind(storable(&message.html_body))
            .bind(message.payload.as_deref().map(storable))
            .bind(message.state.as_str())
            .bind(message.next_attempt.millis())
            .bind(message.created_at.millis())
            .execute(conn)
            .await?
            .rows_affected()
    });
    if created == 0 {
        return Ok(false);
    }
    let alerts = Json::keys(alerts.iter().map(|alert| &alert.alert_id))?;
    in_tx!(tx, sql::OUTBOX_ATTACH, |text, conn| {
        sqlx::query(text).bind(&message.message_id).bind(&message.recipient).bind(alerts).execute(conn).await?;
    });
    Ok(true)
}

/// Keeps a picture of a message, beside it.
pub async fn add_picture(tx: &mut Tx, message_id: &str, picture: &Picture) -> Result<(), StoreError> {
    in_tx!(tx, sql::OUTBOX_PICTURE, |text, conn| {
        sqlx::query(text).bind(message_id).bind(&picture.content_id).bind(&picture.png).execute(conn).await?;
    });
    Ok(())
}

/// The pictures of a message, by Content-ID.
pub async fn pictures(store: &Store, message_id: &str) -> Result<Vec<Picture>, StoreError> {
    let rows: Vec<(String, Vec<u8>)> = reading!(store, sql::OUTBOX_PICTURES, |text, conn| {
        sqlx::query_as(text).bind(message_id).fetch_all(conn).await?
    });
    Ok(rows.into_iter().map(|(content_id, png)| Picture { content_id, png }).collect())
}

/// Leases queued messages whose time has come and that nobody has leased; oldest first.
pub async fn lease_messages(
    tx: &mut Tx,
    now: Timestamp,
    lease_until: Timestamp,
    limit: u32,
) -> Result<Vec<Message>, StoreError> {
    let rows: Vec<MessageRow> = in_tx!(tx, sql::OUTBOX_DUE, |text, conn| {
        sqlx::query_as(text).bind(now.millis()).bind(i64::from(limit)).fetch_all(conn).await?
    });
    if !rows.is_empty() {
        let ids = Json::keys(rows.iter().map(|row| &row.message_id))?;
        in_tx!(tx, sql::OUTBOX_LEASE, |text, conn| {
            sqlx::query(text).bind(ids).bind(lease_until.millis()).execute(conn).await?;
        });
    }
    rows.into_iter().map(MessageRow::into_message).collect()
}

/// The server accepted the message.
pub async fn mark_sent(tx: &mut Tx, message_id: &str, at: Timestamp) -> Result<(), StoreError> {
    in_tx!(tx, sql::OUTBOX_SENT, |text, conn| {
        sqlx::query(text).bind(message_id).bind(at.millis()).execute(conn).await?;
    });
    Ok(())
}

/// The try failed; the next is at `next_attempt`.
pub async fn mark_retry(tx: &mut Tx, message_id: &str, next_attempt: Timestamp, error: &str) -> Result<(), StoreError> {
    in_tx!(tx, sql::OUTBOX_RETRY, |text, conn| {
        sqlx::query(text).bind(message_id).bind(next_attempt.millis()).bind(storable(error)).execute(conn).await?;
    });
    Ok(())
}

/// The message is given up.
pub async fn mark_failed(tx: &mut Tx, message_id: &str, error: &str) -> Result<(), StoreError> {
    in_tx!(tx, sql::OUTBOX_FAILED, |text, conn| {
        sqlx::query(text).bind(message_id).bind(storable(error)).execute(conn).await?;
    });
    Ok(())
}

/// Takes up again a message that was given up or waits, as new: its tries begin anew. `state` is
/// [`MessageState::Queued`], or [`MessageState::Waiting`] where there is nothing to send it with. `false` if there is none such.
pub async fn requeue(tx: &mut Tx, message_id: &str, state: MessageState, now: Timestamp) -> Result<bool, StoreError> {
    Ok(in_tx!(tx, sql::OUTBOX_REQUEUE, |text, conn| {
        sqlx::query(text).bind(message_id).bind(now.millis()).bind(state.as_str()).execute(conn).await?.rows_affected()
            > 0
    }))
}

/// Forgets what messages made before then said, of those that are sent or given up, so many at once; what became of them
/// stays. Returns how many.
pub async fn forget(tx: &mut Tx, before: Timestamp, at_once: u32) -> Result<u64, StoreError> {
    let forgotten = in_tx!(tx, sql::OUTBOX_FORGET, |text, conn| {
        sqlx::query(text).bind(before.millis()).bind(i64::from(at_once)).execute(conn).await?.rows_affected()
    });
    in_tx!(tx, sql::OUTBOX_FORGET_PICTURES, |text, conn| {
        sqlx::query(text).bind(before.millis()).execute(conn).await?;
    });
    Ok(forgotten)
}

/// Tells the outbox which channels there are ([`crate::domain::recipient::channel`]): what waited for one of them is
/// queued for `now`, what is queued for any other waits. Returns how many messages that moved.
pub async fn set_channels(tx: &mut Tx, channels: &[String], now: Timestamp) -> Result<u64, StoreError> {
    let channels = Json::keys(channels)?;
    Ok(in_tx!(tx, sql::OUTBOX_SET_CHANNELS, |text, conn| {
        sqlx::query(text).bind(channels).bind(now.millis()).execute(conn).await?.rows_affected()
    }))
}

/// How many messages stand where.
pub async fn counts(store: &Store) -> Result<OutboxCounts, StoreError> {
    let rows: Vec<(String, i64)> =
        reading!(store, sql::OUTBOX_COUNTS, |text, conn| sqlx::query_as(text).fetch_all(conn).await?);
    let mut counts = OutboxCounts::default();
    for (state, count) in rows {
        match MessageState::parse(&state) {
            Some(MessageState::Queued) => counts.queued = count,
            Some(MessageState::Waiting) => counts.waiting = count,
            Some(MessageState::Sent) => counts.sent = count,
            Some(MessageState::Failed) => counts.failed = count,
            None => counts.uncomposed = count,
        }
    }
    Ok(counts)
}

/// Messages, newest first, at most `limit` older than `before` (its creation and Message-ID).
pub async fn page(store: &Store, before: Option<(Timestamp, &str)>, limit: u32) -> Result<Vec<Message>, StoreError> {
    // No Message-ID begins with '~'.
    let (before, before_id) = before.map_or((i64::MAX, "~"), |(at, id)| (at.millis(), id));
    let rows: Vec<MessageRow> = reading!(store, sql::OUTBOX_PAGE, |text, conn| {
        sqlx::query_as(text).bind(before).bind(before_id).bind(i64::from(limit)).fetch_all(conn).await?
    });
    rows.into_iter().map(MessageRow::into_message).collect()
}

/// Where a page ends, as it may stand in a URL: creation and ID of its last message.
pub fn write_place(at: Timestamp, id: &str) -> String {
    format!("{}_{id}", at.millis())
}

/// Reads [`write_place`]; `None` if it is none.
pub fn read_place(text: &str) -> Option<(Timestamp, String)> {
    let (at, id) = text.split_once('_')?;
    Some((Timestamp(at.parse().ok()?), id.to_owned()))
}

/// One message by its Message-ID.
pub async fn find(store: &Store, message_id: &str) -> Result<Option<Message>, StoreError> {
    let row: Option<MessageRow> = reading!(store, sql::OUTBOX_FIND, |text, conn| {
        sqlx::query_as(text).bind(message_id).fetch_optional(conn).await?
    });
    row.map(MessageRow::into_message).transpose()
}
