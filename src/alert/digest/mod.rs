//! Reports on a schedule: what was spent since the report before, against the time before, told once a run.
//!
//! A run is known by the instant its schedule named. It is noted in the transaction that puts its messages
//! into the outbox, so it is made once, whatever restarts and other daemons come between; runs that were
//! missed are made up for by one.

mod facts;
mod gather;
mod render;

use std::sync::Arc;

use super::render::{RenderError, Rendered};
use super::written::Written;
use crate::clock::Clock;
use crate::domain::digest::Report;
use crate::domain::time::Timestamp;
use crate::ledger::Wakes;
use crate::report::span::SpanError;
use crate::store::reports::{self, Run, Scheduled};
use crate::store::{Store, StoreError, outbox};

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DigestError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its days could not be told apart: a mistake of ours.
    #[error(transparent)]
    Span(#[from] SpanError),
    /// The template.
    #[error(transparent)]
    Render(#[from] RenderError),
}

/// Makes the reports of the file. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Digests {
    /// Where figures come from and messages go.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// The reports, in the order of the file.
    pub reports: Arc<[Report]>,
    /// Where the pages are, without a slash at the end.
    pub dashboard_url: String,
    /// The right-hand side of Message-IDs.
    pub domain: String,
    /// The channels there are to send by.
    pub channels: Arc<[String]>,
    /// Whom to wake when there is something to send.
    pub wakes: Arc<Wakes>,
}

impl Digests {
    /// Tells the database which reports there are. A new one begins now: what it missed before is not made up for.
    pub async fn announce(&self) -> Result<(), StoreError> {
        let described: Vec<(&str, String, &str)> = self
            .reports
            .iter()
            .map(|report| (report.name.as_str(), report.schedule.to_string(), report.schedule.zone().name()))
            .collect();
        let described: Vec<(&str, &str, &str)> =
            described.iter().map(|(name, schedule, zone)| (*name, schedule.as_str(), *zone)).collect();
        let mut tx = self.store.write().await?;
        reports::sync(&mut tx, &described, self.clock.now()).await?;
        tx.commit().await
    }

    /// Makes every run that is due; returns how many. One that cannot be made stops no other; the first such failure is
    /// returned after them.
    pub async fn make_due(&self) -> Result<usize, DigestError> {
        let (mut made, mut failed) = (0, None);
        for known in reports::list(&self.store).await? {
            let Some(report) = self.reports.iter().find(|report| report.name == known.name) else { continue };
            let last = known.last.map(|(scheduled, _)| scheduled);
            let Some(run) = report.due(known.since, last, self.clock.now()) else { continue };
            match self.make(report, &known, run).await {
                Ok(true) => made += 1,
                Ok(false) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if made > 0 {
            self.wakes.outbox.notify_one();
            self.wakes.pages.notify_waiters();
        }
        failed.map_or(Ok(made), Err)
    }

    /// Makes one run, unless somebody else has.
    async fn make(&self, report: &Report, known: &Scheduled, run: Timestamp) -> Result<bool, DigestError> {
        let covers = report.covers(run, known.last.map(|(_, until)| until));
        let made_at = self.clock.now();
        let rendered =
            render::render(&gather::gather(&self.store, report, run, covers, made_at, &self.dashboard_url).await?)?;
        let written = Written { at: made_at, domain: &self.domain, channels: &self.channels };
        let identity = format!("{}|{}", report.name, run.millis());
        let mut tx = self.store.write().await?;
        if !reports::note_run(&mut tx, &report.name, &Run { scheduled_at: run, covers, made_at }).await? {
            tx.rollback().await?;
            return Ok(false);
        }
        for recipient in &report.notify {
            let message = written.message("report", &identity, recipient, rendered.clone())?.message;
            outbox::create_message(&mut tx, &message, &[]).await?;
            reports::attach(&mut tx, &report.name, run, &message.message_id).await?;
        }
        tx.commit().await?;
        let late_s = (made_at.millis() - run.millis()) / 1000;
        tracing::info!(report = report.name, scheduled_at = %run, late_s, messages = report.notify.len(), "made a report");
        Ok(true)
    }

    /// What the last run before now would say: shown, and not sent.
    pub async fn preview(&self, report: &Report) -> Result<Rendered, DigestError> {
        preview(&self.store, report, self.clock.now(), &self.dashboard_url).await
    }
}

/// What the last run of `report` before `now` would say.
pub async fn preview(
    store: &Store,
    report: &Report,
    now: Timestamp,
    dashboard_url: &str,
) -> Result<Rendered, DigestError> {
    let run = report.schedule.last_before(now.plus_millis(1)).unwrap_or(now);
    let digest = gather::gather(store, report, run, report.covers(run, None), now, dashboard_url).await?;
    Ok(render::render(&digest)?)
}
