//! The jobs every daemon runs: figures for the metrics, and what would otherwise wait for ever.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::mpsc;

use super::Job;
use crate::alert::digest::Digests;
use crate::clock::Clock;
use crate::config::Retention;
use crate::domain::time::Timestamp;
use crate::keys::{self, TallyKeys};
use crate::ledger::ReadingOf;
use crate::settle;
use crate::store::{Engine, Store, budget_changes, outbox};
use crate::telemetry::Metrics;

/// How often the settler's backlog is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(30);

/// How often rows are looked for that have waited too long for a key.
const GIVE_UP_EVERY: Duration = Duration::from_mins(10);

/// How often the database refreshes what it knows of its own tables.
const OPTIMISE_EVERY: Duration = Duration::from_hours(6);

/// How often it is looked whether a report is due: as late may one be.
const REPORTS_EVERY: Duration = Duration::from_secs(20);

/// How often it is looked what is kept no longer.
const FORGET_EVERY: Duration = Duration::from_hours(1);

/// Messages of which it is forgotten in one transaction what they said.
const FORGOTTEN_AT_ONCE: u32 = 500;

/// What the jobs work with.
#[derive(Clone, Debug)]
pub struct Housekeeping {
    /// The database.
    pub store: Store,
    /// Where the ledger's writer takes readings.
    pub readings: mpsc::Sender<ReadingOf>,
    /// The tally keys.
    pub tally_keys: Arc<TallyKeys>,
    /// The reports that are mailed on a schedule.
    pub digests: Digests,
    /// How long what is kept.
    pub retention: Retention,
    /// Where figures go.
    pub metrics: Metrics,
    /// The time.
    pub clock: Clock,
}

impl Housekeeping {
    /// The table of jobs.
    pub fn jobs(&self) -> Vec<Job> {
        let mut jobs = vec![
            Job::every(MEASURE_EVERY, "measure_backlog", self, measure_backlog),
            Job::every(GIVE_UP_EVERY, "give_up_parked", self, give_up_parked),
            Job::every(OPTIMISE_EVERY, "optimise_database", self, optimise_database),
            Job::every(FORGET_EVERY, "forget_old", self, forget_old).at_once(),
            Job::every(keys::USES_EVERY, "note_key_uses", self, note_key_uses),
        ];
        // Another daemon may make and revoke keys; a SQLite database has one alone.
        if !self.digests.reports.is_empty() {
            jobs.push(Job::every(REPORTS_EVERY, "mail_reports", self, mail_reports).at_once());
        }
        if self.store.engine() == Engine::Postgres {
            jobs.push(Job::every(keys::REFRESH_EVERY, "read_keys", self, read_keys));
        }
        jobs
    }
}

async fn mail_reports(with: Housekeeping) -> anyhow::Result<()> {
    with.digests.make_due().await.context("making the reports that are due")?;
    Ok(())
}

async fn forget_old(with: Housekeeping) -> anyhow::Result<()> {
    let before = |kept: Duration| {
        let kept = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
        Timestamp(with.clock.now().millis().saturating_sub(kept))
    };
    let messages_before = before(with.retention.messages);
    let mut messages = 0;
    loop {
        let mut tx = with.store.write().await?;
        let forgotten =
            outbox::forget(&mut tx, messages_before, FORGOTTEN_AT_ONCE).await.context("forgetting messages")?;
        tx.commit().await?;
        messages += forgotten;
        if forgotten < u64::from(FORGOTTEN_AT_ONCE) {
            break;
        }
    }
    let mut tx = with.store.write().await?;
    let changes = budget_changes::forget(&mut tx, before(with.retention.audit_trail)).await;
    let changes = changes.context("forgetting changes of budgets")?;
    tx.commit().await?;
    if messages + changes > 0 {
        tracing::info!(messages, changes, "what was kept long enough is forgotten ([retention])");
    }
    Ok(())
}

async fn measure_backlog(with: Housekeeping) -> anyhow::Result<()> {
    settle::measure(&with.store, &with.metrics, &with.clock).await.context("measuring what waits to be settled")
}

async fn give_up_parked(with: Housekeeping) -> anyhow::Result<()> {
    let rows = settle::give_up_parked(&with.store, &with.readings, &with.clock)
        .await
        .context("looking for calls that wait for a key")?;
    if rows > 0 {
        tracing::info!(rows, "calls whose key was not held for 30 days are given up");
    }
    Ok(())
}

async fn note_key_uses(with: Housekeeping) -> anyhow::Result<()> {
    with.tally_keys.note_uses().await.context("noting when tally keys were last used")
}

async fn read_keys(with: Housekeeping) -> anyhow::Result<()> {
    with.tally_keys.refresh().await.context("reading the tally keys")
}

async fn optimise_database(with: Housekeeping) -> anyhow::Result<()> {
    with.store.optimise().await.context("refreshing the database's statistics")
}
