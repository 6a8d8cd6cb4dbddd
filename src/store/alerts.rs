//! Crossings: each told once.

use std::collections::BTreeSet;

use crate::domain::budget::{BudgetName, Threshold};
use crate::domain::money::{Money, Total};
use crate::domain::time::Timestamp;

use super::{Store, StoreError, Tx};

/// One crossing of one threshold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Ours, unique.
    pub alert_id: String,
    /// The budget.
    pub budget: BudgetName,
    /// What its window is known by: its start, or for rolling windows the instant the threshold was armed.
    pub window_key: Timestamp,
    /// Start of the window.
    pub window_start: Timestamp,
    /// End of the window; `None` for `total` and rolling windows.
    pub window_end: Option<Timestamp>,
    /// The threshold.
    pub threshold: Threshold,
    /// What kind of crossing, in a word (`alert_history.kind`).
    pub kind: String,
    /// When it was seen.
    pub crossed_at: Timestamp,
    /// The limit that held.
    pub limit: Money,
    /// What was spent when it was seen.
    pub spent: Total,
    /// What else the mail says, as JSON text that the store does not look into.
    pub details: String,
}

/// Where the mail of a crossing stands (`alert_history.mail_state`); derived from its recipients' messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MailState {
    /// Not sent to everybody yet, and none is given up.
    Queued,
    /// Sent to every recipient.
    Sent,
    /// Sent to some, given up or waiting for others.
    Partly,
    /// Given up for every recipient.
    Failed,
    /// Nobody was to be told.
    NotMailed,
}

/// A crossing as history shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastAlert {
    /// The crossing.
    pub alert: Alert,
    /// Where its mail stands.
    pub mail_state: MailState,
    /// When the last of its mails was sent; `None` while none is.
    pub sent_at: Option<Timestamp>,
}

/// The thresholds already told for this window under this limit.
pub async fn told(
    tx: &mut Tx,
    budget: &BudgetName,
    window_key: Timestamp,
    limit: Money,
) -> Result<BTreeSet<Threshold>, StoreError> {
    todo!()
}

/// Writes the crossing and queues it for `recipients` (nobody: it is not mailed); `false` if it was already told.
pub async fn insert(tx: &mut Tx, alert: &Alert, recipients: &[String]) -> Result<bool, StoreError> {
    todo!()
}

/// Crossings, newest first, at most `limit` older than `before` (of one budget, if named).
pub async fn history(
    store: &Store,
    budget: Option<&BudgetName>,
    before: Option<(Timestamp, &str)>,
    limit: u32,
) -> Result<Vec<PastAlert>, StoreError> {
    todo!()
}
