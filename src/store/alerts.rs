//! Crossings: each told once.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::alert::{AlertKey, Told};
use crate::domain::budget::{BudgetName, Threshold};
use crate::domain::money::{Money, Total};
use crate::domain::time::Timestamp;

use super::batch::{Json, storable};
use super::statements as sql;
use super::tx::{in_tx, reading};
use super::{Store, StoreError, Tx};

/// One crossing of one threshold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Ours, unique.
    pub alert_id: String,
    /// The budget.
    pub budget: BudgetName,
    /// The value whose account it is, for a budget of each value; empty for any other.
    pub value: Arc<str>,
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
}

/// Where the mail of a crossing stands (`alert_history.mail_state`); derived from its recipients' messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MailState {
    /// Sent to nobody yet.
    Queued,
    /// Sent to every recipient.
    Sent,
    /// Sent to some; given up, or still queued, for others.
    Partly,
    /// Given up for every recipient.
    Failed,
    /// Nobody was to be told.
    NotMailed,
}

impl MailState {
    /// As `alert_history.mail_state` shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Partly => "partly",
            Self::Failed => "failed",
            Self::NotMailed => "not_mailed",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Queued, Self::Sent, Self::Partly, Self::Failed, Self::NotMailed]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
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
    /// Whether nobody was told because the budget was snoozed.
    pub snoozed: bool,
}

#[derive(sqlx::FromRow)]
pub(super) struct AlertRow {
    alert_id: String,
    budget: String,
    value: String,
    window_key_ms: i64,
    threshold: String,
    limit_picos: i64,
    window_start_ms: i64,
    window_end_ms: Option<i64>,
    kind: String,
    crossed_ms: i64,
    spent_usd: i64,
    spent_picos: i64,
}

impl AlertRow {
    pub(super) fn into_alert(self) -> Result<Alert, StoreError> {
        let row = format!("alerts {}", self.alert_id);
        Ok(Alert {
            budget: self.budget.parse().map_err(|error| StoreError::unreadable(&row, &error))?,
            threshold: self.threshold.parse().map_err(|error| StoreError::unreadable(&row, &error))?,
            value: self.value.into(),
            alert_id: self.alert_id,
            window_key: Timestamp(self.window_key_ms),
            window_start: Timestamp(self.window_start_ms),
            window_end: self.window_end_ms.map(Timestamp),
            kind: self.kind,
            crossed_at: Timestamp(self.crossed_ms),
            limit: Money::from_picos(self.limit_picos),
            spent: Total::from_parts(self.spent_usd, self.spent_picos),
        })
    }
}

#[derive(sqlx::FromRow)]
struct PastRow {
    #[sqlx(flatten)]
    alert: AlertRow,
    mail_state: String,
    sent_ms: Option<i64>,
    snoozed: bool,
}

/// What was told of one account of this budget (`value` is empty for a budget that is one account) under this limit, in the
/// windows keyed at `since` and later.
pub async fn told(
    tx: &mut Tx,
    budget: &BudgetName,
    value: &Arc<str>,
    limit: Money,
    since: Timestamp,
) -> Result<Vec<Told>, StoreError> {
    let told: Vec<(String, i64, i64)> = in_tx!(tx, sql::ALERTS_TOLD, |text, conn| {
        let query = sqlx::query_as(text).bind(budget.as_str()).bind(&**value).bind(limit.picos());
        query.bind(since.millis()).fetch_all(conn).await?
    });
    told.into_iter()
        .map(|(threshold, window_key, crossed)| {
            let threshold =
                threshold.parse().map_err(|error| StoreError::unreadable(&format!("alerts of {budget}"), &error))?;
            let (budget, value, window_key) = (budget.clone(), Arc::clone(value), Timestamp(window_key));
            Ok(Told { key: AlertKey { budget, value, window_key, threshold, limit }, crossed_at: Timestamp(crossed) })
        })
        .collect()
}

/// As [`told`], of every account of this budget, by its value.
pub async fn told_all(
    tx: &mut Tx,
    budget: &BudgetName,
    limit: Money,
    since: Timestamp,
) -> Result<HashMap<Arc<str>, Vec<Told>>, StoreError> {
    let rows: Vec<(String, String, i64, i64)> = in_tx!(tx, sql::ALERTS_TOLD_ALL, |text, conn| {
        let query = sqlx::query_as(text).bind(budget.as_str()).bind(limit.picos());
        query.bind(since.millis()).fetch_all(conn).await?
    });
    let mut told: HashMap<Arc<str>, Vec<Told>> = HashMap::new();
    for (value, threshold, window_key, crossed) in rows {
        let threshold =
            threshold.parse().map_err(|error| StoreError::unreadable(&format!("alerts of {budget}"), &error))?;
        let value: Arc<str> = value.into();
        let (budget, window_key) = (budget.clone(), Timestamp(window_key));
        let key = AlertKey { budget, value: Arc::clone(&value), window_key, threshold, limit };
        told.entry(value).or_default().push(Told { key, crossed_at: Timestamp(crossed) });
    }
    Ok(told)
}

/// Writes the crossing and queues it for `recipients` (nobody: it is not mailed); `false` if it was already told.
pub async fn insert(tx: &mut Tx, alert: &Alert, recipients: &[String]) -> Result<bool, StoreError> {
    let (spent_usd, spent_picos) = alert.spent.to_parts();
    let inserted = in_tx!(tx, sql::ALERTS_INSERT, |text, conn| {
        sqlx::query(text)
            .bind(&alert.alert_id)
            .bind(alert.budget.as_str())
            .bind(alert.window_key.millis())
            .bind(alert.threshold.to_string())
            .bind(alert.limit.picos())
            .bind(alert.window_start.millis())
            .bind(alert.window_end.map(Timestamp::millis))
            .bind(&alert.kind)
            .bind(alert.crossed_at.millis())
            .bind(spent_usd)
            .bind(spent_picos)
            .bind(&*storable(&alert.value))
            .execute(conn)
            .await?
            .rows_affected()
    });
    if inserted == 0 {
        return Ok(false);
    }
    if !recipients.is_empty() {
        let recipients = Json::keys(recipients)?;
        in_tx!(tx, sql::ALERTS_RECIPIENTS, |text, conn| {
            sqlx::query(text)
                .bind(&alert.alert_id)
                .bind(recipients)
                .bind(alert.crossed_at.millis())
                .execute(conn)
                .await?;
        });
    }
    Ok(true)
}

/// Crossings, newest first, at most `limit` older than `before` (of one budget, if named).
pub async fn history(
    store: &Store,
    budget: Option<&BudgetName>,
    before: Option<(Timestamp, &str)>,
    limit: u32,
) -> Result<Vec<PastAlert>, StoreError> {
    // No alert ID begins with '~'.
    let (before, before_id) = before.map_or((i64::MAX, "~"), |(at, id)| (at.millis(), id));
    let rows: Vec<PastRow> = reading!(store, sql::ALERTS_HISTORY, |text, conn| {
        sqlx::query_as(text)
            .bind(budget.map(BudgetName::as_str))
            .bind(before)
            .bind(before_id)
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await?
    });
    rows.into_iter()
        .map(|row| {
            let mail_state = MailState::parse(&row.mail_state)
                .ok_or_else(|| StoreError::unreadable("alert_mail", &format!("mail_state {}", row.mail_state)))?;
            let sent_at = row.sent_ms.map(Timestamp);
            Ok(PastAlert { alert: row.alert.into_alert()?, mail_state, sent_at, snoozed: row.snoozed })
        })
        .collect()
}
