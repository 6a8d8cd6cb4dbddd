//! From what was rendered to what the outbox keeps: a mail, or a webhook's event.

use crate::domain::ids::short_hash;
use crate::domain::recipient;
use crate::domain::time::Timestamp;
use crate::store::outbox::{self, Message, MessageState, Picture};
use crate::store::{StoreError, Tx};

use super::render::{RenderError, Rendered};

/// Where and when messages are written.
pub(super) struct Written<'a> {
    /// Now.
    pub(super) at: Timestamp,
    /// The right-hand side of Message-IDs.
    pub(super) domain: &'a str,
    /// The channels there are to send by.
    pub(super) channels: &'a [String],
}

/// A message and its pictures.
#[derive(Debug)]
pub(super) struct Illustrated {
    pub(super) message: Message,
    pictures: Vec<Picture>,
}

impl Written<'_> {
    /// The message that tells `rendered` to `recipient`. Its ID is the same for the same `identity` and recipient, so that
    /// one that is written or sent again is the same message.
    pub(super) fn message(
        &self,
        kind: &str,
        identity: &str,
        recipient: &str,
        rendered: Rendered,
    ) -> Result<Illustrated, RenderError> {
        let Rendered { subject, text, html, pictures, event } = rendered;
        let hash = short_hash(&format!("{recipient}|{identity}"));
        let is_webhook = recipient::webhook(recipient).is_some();
        let channel = recipient::channel(recipient);
        let reachable = self.channels.iter().any(|known| known == channel);
        let message = Message {
            // Standard Webhooks joins ID, time and body by dots, so its IDs hold none.
            message_id: if is_webhook { format!("msg_{hash}") } else { format!("{kind}.{hash}@{}", self.domain) },
            recipient: recipient.to_owned(),
            subject,
            text_body: text,
            html_body: if is_webhook { String::new() } else { html },
            payload: is_webhook.then(|| serde_json::to_string(&event)).transpose()?,
            state: if reachable { MessageState::Queued } else { MessageState::Waiting },
            attempts: 0,
            next_attempt: self.at,
            last_error: None,
            created_at: self.at,
            sent_at: None,
        };
        Ok(Illustrated { message, pictures: if is_webhook { Vec::new() } else { pictures } })
    }
}

impl Illustrated {
    /// Keeps the pictures beside the message.
    pub(super) async fn add_pictures(&self, tx: &mut Tx) -> Result<(), StoreError> {
        for picture in &self.pictures {
            outbox::add_picture(tx, &self.message.message_id, picture).await?;
        }
        Ok(())
    }
}
