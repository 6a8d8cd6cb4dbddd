//! Makes crossings into messages: for each recipient whose crossings have been gathered, one message in the outbox.
//!
//! A message is written whole, with its text and its Message-ID, in one transaction with the note that
//! its crossings are told. The same crossings make the same Message-ID, whoever composes them.

use std::collections::HashMap;
use std::time::Duration;

use super::drivers::{Side, Tally, span_before};
use super::facts::{DearCall, Letter, Section, Snooze, Span, Standing};
use super::render::{RenderError, render};
use super::written::Written;
use crate::clock::Clock;
use crate::domain::alert::CrossingKind;
use crate::domain::budget::{Budget, BudgetName, OTHER};
use crate::domain::forecast;
use crate::domain::snooze::{self, Signer};
use crate::domain::window::Window;
use crate::report::burn;
use crate::store::alerts::Alert;
use crate::store::budgets::Spent;
use crate::store::forecasts::StoredForecast;
use crate::store::outbox::{Composable, Message};
use crate::store::{self, Store, StoreError};

/// Recipients whose mail is composed in one go.
const RECIPIENTS_AT_ONCE: u32 = 50;

/// Calls shown as the dearest.
const DEAREST: usize = 5;

/// How far from a crossing the forecast may have been made that is told with it, in milliseconds.
const FORESEEN_WITHIN_MS: i64 = forecast::HOUR_MS;

/// How long one reading of what the spend went to may take; a mail goes without rather than late.
const EXPLAINED_WITHIN: Duration = Duration::from_secs(5);

/// Sections one mail has at most; what is left makes the next mail.
const SECTIONS: usize = 20;

/// Why crossings could not be made into a mail.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A crossing of a budget that the database does not know: it was written beside us.
    #[error("the database holds an alert of the budget \"{0}\" and no such budget; its mail is not written")]
    UnknownBudget(BudgetName),
    /// The template.
    #[error(transparent)]
    Render(#[from] RenderError),
}

/// Writes messages into the outbox.
#[derive(Clone, Debug)]
pub struct Composer {
    /// Where crossings come from and messages go.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// Where the pages are, without a slash at the end.
    pub dashboard_url: String,
    /// The right-hand side of Message-IDs: the sender's domain.
    pub domain: String,
    /// The channels there are to send by; what has none of them waits.
    pub channels: Vec<String>,
    /// Signs the links that silence a budget.
    pub signer: Signer,
}

/// Crossings that one section tells, by their IDs.
type SectionKey = Vec<String>;

impl Composer {
    /// Makes messages of all crossings that have been gathered; returns how many.
    ///
    /// A recipient whose mail cannot be written stops nobody else's; the first such failure is returned, after the
    /// others' messages are stored.
    pub async fn compose(&self) -> Result<usize, ComposeError> {
        let now = self.clock.now();
        let mut tx = self.store.write().await?;
        let composable = store::outbox::composable(&mut tx, now, RECIPIENTS_AT_ONCE).await?;
        tx.rollback().await?;
        let mut sections: HashMap<SectionKey, Section> = HashMap::new();
        let (mut written, mut failed) = (0, None);
        for one in &composable {
            match self.compose_one(one, &mut sections).await {
                Ok(()) => written += 1,
                Err(error @ ComposeError::Store(_)) => return Err(error),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(written), Err)
    }

    async fn compose_one(
        &self,
        one: &Composable,
        known: &mut HashMap<SectionKey, Section>,
    ) -> Result<(), ComposeError> {
        let mut sections = Vec::new();
        let mut alerts: Vec<Alert> = Vec::new();
        for told in by_section(&one.alerts).into_iter().take(SECTIONS) {
            alerts.extend(told.alerts.iter().copied().cloned());
            let key: SectionKey = told.alerts.iter().map(|alert| alert.alert_id.clone()).collect();
            let section = match known.remove(&key) {
                Some(section) => section,
                None => self.section(&told).await?,
            };
            known.insert(key, section.clone());
            sections.push(section);
        }
        let composed_at = self.clock.now();
        let letter = Letter { sections, dashboard_url: self.dashboard_url.clone(), composed_at };
        let written = Written { at: composed_at, domain: &self.domain, channels: &self.channels };
        let message = written.message("alert", &identity(&alerts), &one.recipient, render(&letter)?)?;
        let mut tx = self.store.write().await?;
        if store::outbox::create_message(&mut tx, &message.message, &alerts).await? {
            message.add_pictures(&mut tx).await?;
        }
        tx.commit().await?;
        let Message { message_id, state, .. } = &message.message;
        tracing::info!(message_id, alerts = alerts.len(), state = state.as_str(), "wrote an alert's message");
        Ok(())
    }

    /// What one budget has to tell of one window.
    async fn section(&self, told: &ToldTogether<'_>) -> Result<Section, ComposeError> {
        let ToldTogether { last, alerts } = told;
        let mut tx = self.store.write().await?;
        let budget = store::budgets::find(&mut tx, &last.budget).await?;
        let window = Window { start: last.window_start, end: last.window_end };
        let spent = match &*last.value {
            // What several values share is told as it was at the crossing.
            OTHER => Spent { cost: last.spent, ..Spent::default() },
            value => store::budgets::spent_of(&mut tx, &last.budget, value, window.start, window.end).await?,
        };
        let kept = store::forecasts::load(&mut tx).await?.remove(last.budget.as_str());
        let is_of_then = |kept: &StoredForecast| {
            let apart = last.crossed_at.millis().abs_diff(kept.as_of.millis());
            kept.window_start == window.start && apart <= FORESEEN_WITHIN_MS.unsigned_abs()
        };
        let outlook = kept.filter(is_of_then).and_then(|kept| kept.outlook.ok());
        let outlook = outlook.and_then(|outlook| outlook.unless_belied(last.spent));
        tx.rollback().await?;
        let Some(budget) = budget else { return Err(ComposeError::UnknownBudget(last.budget.clone())) };
        // Of one value's account, what is told of calls is told of its own.
        let value = budget.each.as_ref().filter(|_| !last.value.is_empty());
        let scope = value.map_or_else(|| budget.scope.clone(), |each| each.narrowed(&budget.scope, &last.value));
        let value = value.map(|each| format!("{each} {}", last.value));
        let budget = Budget { limit: last.limit, scope, ..budget };
        let mut thresholds: Vec<_> = alerts.iter().map(|alert| alert.threshold).collect();
        thresholds.sort_by_key(|threshold| (threshold.amount(budget.limit), *threshold));
        let all = |kind: CrossingKind| alerts.iter().all(|alert| alert.kind == kind.as_str());
        let kind = [CrossingKind::Found, CrossingKind::Forecast].into_iter().find(|kind| all(*kind));
        let mut section = Section {
            value,
            thresholds,
            kind: kind.unwrap_or(CrossingKind::Crossed),
            crossed_at: last.crossed_at,
            window,
            spent: last.spent,
            outlook,
            now: Standing { spent: spent.cost, inline: spent.inline, unknown: spent.unknown },
            before: None,
            drivers: Vec::new(),
            dearest: Vec::new(),
            course: None,
            snooze: None,
            budget,
        };
        let now = self.clock.now();
        let budget = &section.budget;
        section.snooze = snooze::offered_until(budget.window, &window, now)
            .map(|until| Snooze { until, path: self.signer.path(&budget.name, until) });
        let value = (!last.value.is_empty() && *last.value != *OTHER).then_some(&*last.value);
        let course = burn::of(&self.store, budget, value, window, spent.cost, now);
        section.course = self.in_time(course, budget).await?;
        let scope = &section.budget.scope;
        let until = window.end.map_or(now, |end| end.min(now));
        if let Some(dearest) = self
            .in_time(store::drivers::dearest(&self.store, scope, window.start, until, DEAREST), &section.budget)
            .await?
        {
            section.dearest = dearest.into_iter().map(DearCall::from).collect();
        }
        let before = span_before(&section.budget, &window, until);
        let tally = self.tally(&section.budget, Span { since: window.start, until }, before);
        if let Some(tally) = self.in_time(tally, &section.budget).await? {
            // With nothing recorded before, everything would be "new", which says nothing.
            section.before = before.filter(|_| tally.has_before());
            section.drivers = tally.tables();
        }
        Ok(section)
    }

    /// Sums what the budget counts by name, in the window so far and in the span before.
    async fn tally(&self, budget: &Budget, window: Span, before: Option<Span>) -> Result<Tally, StoreError> {
        let mut tally = Tally::default();
        for (side, span) in [(Side::Before, before), (Side::After, Some(window))] {
            let Some(Span { since, until }) = span else { continue };
            let add = |group| tally.add(side, group);
            store::drivers::groups(&self.store, &budget.scope, since, until, add).await?;
        }
        Ok(tally)
    }

    /// What explains a budget, unless reading it takes too long: then the mail goes without.
    async fn in_time<T>(
        &self,
        reading: impl Future<Output = Result<T, StoreError>>,
        budget: &Budget,
    ) -> Result<Option<T>, StoreError> {
        let read = self.clock.timeout(EXPLAINED_WITHIN, reading).await.transpose()?;
        if read.is_none() {
            let limit_s = EXPLAINED_WITHIN.as_secs();
            tracing::warn!(budget = %budget.name, limit_s, "reading what the spend went to took too long; the mail goes without");
        }
        Ok(read)
    }
}

/// The same for the same crossings, so that a message that is written again is the same message.
fn identity(alerts: &[Alert]) -> String {
    let mut ids: Vec<&str> = alerts.iter().map(|alert| alert.alert_id.as_str()).collect();
    ids.sort_unstable();
    ids.join("|")
}

/// The crossings that one section tells: of one budget, window and limit.
struct ToldTogether<'a> {
    /// The one that came last.
    last: &'a Alert,
    /// All of them, in the order in which they came.
    alerts: Vec<&'a Alert>,
}

impl ToldTogether<'_> {
    fn tells_with(&self, alert: &Alert) -> bool {
        let key = |alert: &Alert| (alert.budget.clone(), alert.value.clone(), alert.window_start, alert.limit);
        key(self.last) == key(alert)
    }
}

/// Crossings, which come in the order in which they were seen, parted into sections.
fn by_section(alerts: &[Alert]) -> Vec<ToldTogether<'_>> {
    let mut sections: Vec<ToldTogether<'_>> = Vec::new();
    for alert in alerts {
        match sections.iter_mut().find(|section| section.tells_with(alert)) {
            Some(section) => {
                section.last = alert;
                section.alerts.push(alert);
            }
            None => sections.push(ToldTogether { last: alert, alerts: vec![alert] }),
        }
    }
    sections
}

impl From<store::drivers::DearCall> for DearCall {
    fn from(call: store::drivers::DearCall) -> Self {
        Self {
            call_id: call.call_id,
            model: call.model,
            created_at: call.created_at,
            cost: call.cost,
            tokens_in: call.tokens_in,
            tokens_out: call.tokens_out,
            end_user: call.end_user,
        }
    }
}
