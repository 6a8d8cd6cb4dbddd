//! Mail on its way: who is to be told what, and the messages made of it.

use crate::domain::time::Timestamp;

use super::alerts::Alert;
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
    /// There is no `[smtp]` to send it with.
    Waiting,
    /// Accepted by the server.
    Sent,
    /// Given up.
    Failed,
}

/// One mail to one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The Message-ID, without angle brackets; the same however often it is sent.
    pub message_id: String,
    /// The address.
    pub recipient: String,
    /// The subject.
    pub subject: String,
    /// The text part.
    pub text_body: String,
    /// The HTML part.
    pub html_body: String,
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

/// What is to be made into messages at `now`: for each recipient, the crossings that came within
/// [`GATHER_MS`] of the first that is older than that. At most `limit` recipients.
pub async fn composable(tx: &mut Tx, now: Timestamp, limit: u32) -> Result<Vec<Composable>, StoreError> {
    todo!()
}

/// When the next crossing will be ready to be made into a message; `None` when none waits.
pub async fn next_composable(store: &Store) -> Result<Option<Timestamp>, StoreError> {
    todo!()
}

/// Stores a message that tells `alerts`; `false` (and nothing changes) if its Message-ID is there already.
pub async fn create_message(tx: &mut Tx, message: &Message, alerts: &[Alert]) -> Result<bool, StoreError> {
    todo!()
}

/// Leases queued messages whose time has come and that nobody has leased; oldest first.
pub async fn lease_messages(
    tx: &mut Tx,
    now: Timestamp,
    lease_until: Timestamp,
    limit: u32,
) -> Result<Vec<Message>, StoreError> {
    todo!()
}

/// When the next queued message is to be tried; `None` when none is queued.
pub async fn next_attempt(store: &Store) -> Result<Option<Timestamp>, StoreError> {
    todo!()
}

/// The server accepted the message.
pub async fn mark_sent(tx: &mut Tx, message_id: &str, at: Timestamp) -> Result<(), StoreError> {
    todo!()
}

/// The try failed; the next is at `next_attempt`.
pub async fn mark_retry(tx: &mut Tx, message_id: &str, next_attempt: Timestamp, error: &str) -> Result<(), StoreError> {
    todo!()
}

/// The message is given up.
pub async fn mark_failed(tx: &mut Tx, message_id: &str, error: &str) -> Result<(), StoreError> {
    todo!()
}

/// Queues a message that was given up or waits; `false` if there is none such.
pub async fn requeue(tx: &mut Tx, message_id: &str, now: Timestamp) -> Result<bool, StoreError> {
    todo!()
}

/// With a server configured (`true`) all waiting messages are queued, without one all queued ones wait. Returns how many.
pub async fn set_server(tx: &mut Tx, configured: bool, now: Timestamp) -> Result<u64, StoreError> {
    todo!()
}

/// How many messages stand where.
pub async fn counts(store: &Store) -> Result<OutboxCounts, StoreError> {
    todo!()
}

/// Messages, newest first, at most `limit` older than `before` (its creation and Message-ID).
pub async fn page(store: &Store, before: Option<(Timestamp, &str)>, limit: u32) -> Result<Vec<Message>, StoreError> {
    todo!()
}

/// One message by its Message-ID.
pub async fn find(store: &Store, message_id: &str) -> Result<Option<Message>, StoreError> {
    todo!()
}
