//! What the settler's jobs do beside it: rows whose key nobody holds are given up after 30 days, and the
//! backlog is measured.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::domain::observation::Reading;
use crate::domain::settling::KEY_NOT_HELD_MS;
use crate::ledger::ReadingOf;
use crate::store::{Store, StoreError, settlements};
use crate::telemetry::Metrics;

/// Rows given up at once; the next run of the job finds the rest.
const AT_ONCE: u32 = 1_000;

/// Tells the ledger of rows that have waited for their key for 30 days, which gives them up. Returns how many.
pub async fn give_up_parked(
    store: &Store,
    readings: &mpsc::Sender<ReadingOf>,
    clock: &Clock,
) -> Result<usize, StoreError> {
    let now = clock.now();
    let rows = settlements::parked_before(store, now.plus_millis(-KEY_NOT_HELD_MS), AT_ONCE).await?;
    let mut told = 0;
    for call_id in rows {
        if readings.send(ReadingOf { call_id, at: now, reading: Reading::KeyNotHeld }).await.is_err() {
            // The daemon is stopping; the next one finds them again.
            break;
        }
        told += 1;
    }
    Ok(told)
}

/// Tells the metrics how many rows are due, and for how long the first of them has been.
pub async fn measure(store: &Store, metrics: &Metrics, clock: &Clock) -> Result<(), StoreError> {
    let now = clock.now();
    let backlog = settlements::backlog(store, now).await?;
    metrics.settle_due.set(backlog.due);
    let lag_ms = backlog.oldest_due.map_or(0, |due| now.millis() - due.millis());
    metrics.set_settle_lag(Duration::from_millis(u64::try_from(lag_ms).unwrap_or(0)));
    Ok(())
}
