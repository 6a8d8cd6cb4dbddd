//! What people may do with messages that were given up: send them again.

use std::sync::Arc;

use crate::clock::Clock;
use crate::domain::recipient;
use crate::ledger::Wakes;
use crate::store::outbox::{self, Message, MessageState};
use crate::store::{Store, StoreError};

/// Takes messages up again, and wakes who sends them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Post {
    /// The channels there are to send by.
    pub channels: Arc<[String]>,
    /// Whom to wake.
    pub wakes: Arc<Wakes>,
}

/// What came of asking for a message to be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resent {
    /// It is tried again, as a new one would be.
    Queued,
    /// It was neither given up nor waits: it is on its way, or was taken.
    NotGivenUp(MessageState),
    /// What it said is kept no longer (`retention.messages`).
    Forgotten,
    /// There is no message of this ID.
    Unknown,
}

impl Post {
    /// Sends again a message that was given up, under the same ID.
    pub async fn resend(&self, store: &Store, clock: &Clock, message_id: &str) -> Result<Resent, StoreError> {
        let Some(Message { recipient, state, html_body, payload, .. }) = outbox::find(store, message_id).await? else {
            return Ok(Resent::Unknown);
        };
        let channel = recipient::channel(&recipient);
        let reachable = self.channels.iter().any(|known| known == channel);
        let next = if reachable { MessageState::Queued } else { MessageState::Waiting };
        if state != MessageState::Failed {
            return Ok(Resent::NotGivenUp(state));
        }
        if html_body.is_empty() && payload.is_none() {
            return Ok(Resent::Forgotten);
        }
        let mut tx = store.write().await?;
        let taken = outbox::requeue(&mut tx, message_id, next, clock.now()).await?;
        tx.commit().await?;
        if taken {
            tracing::info!(message_id, "a message that was given up is sent again");
            self.wakes.outbox.notify_one();
            self.wakes.pages.notify_waiters();
        }
        Ok(Resent::Queued)
    }
}
