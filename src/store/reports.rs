//! Reports on a schedule: since when each counts, and which of its runs were made.

use crate::domain::time::Timestamp;

use super::batch::Json;
use super::statements as sql;
use super::tx::{in_tx, reading};
use super::{Store, StoreError, Tx};

/// A report as the schedule's bookkeeping knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduled {
    /// Its name.
    pub name: String,
    /// Since when its schedule counts: runs before are not made up for.
    pub since: Timestamp,
    /// Its last run: the instant its schedule named, and the end of what it covered; `None`: it never ran.
    pub last: Option<(Timestamp, Timestamp)>,
}

/// One run of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The instant its schedule named: what the run is known by.
    pub scheduled_at: Timestamp,
    /// What it covers, half open.
    pub covers: (Timestamp, Timestamp),
    /// When it was made.
    pub made_at: Timestamp,
}

/// A run, and what became of its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastRun {
    /// The run.
    pub run: Run,
    /// Its messages.
    pub messages: i64,
    /// Those that were accepted.
    pub sent: i64,
    /// Those that were given up.
    pub failed: i64,
}

#[derive(sqlx::FromRow)]
struct ScheduledRow {
    name: String,
    since_ms: i64,
    last_scheduled_ms: Option<i64>,
    last_until_ms: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct RunRow {
    scheduled_ms: i64,
    covers_since_ms: i64,
    covers_until_ms: i64,
    made_ms: i64,
    messages: i64,
    sent: i64,
    failed: i64,
}

/// Makes these the reports there are, each by name, schedule and zone. One that is new, returns, or runs at other times
/// counts from `now`; the others go on.
pub async fn sync(tx: &mut Tx, reports: &[(&str, &str, &str)], now: Timestamp) -> Result<(), StoreError> {
    let names = Json::keys(reports.iter().map(|(name, ..)| name))?;
    in_tx!(tx, sql::REPORTS_ABSENT, |text, conn| {
        sqlx::query(text).bind(names).execute(conn).await?;
    });
    for (name, schedule, zone) in reports {
        in_tx!(tx, sql::REPORTS_SAVE, |text, conn| {
            sqlx::query(text).bind(*name).bind(*schedule).bind(*zone).bind(now.millis()).execute(conn).await?;
        });
    }
    Ok(())
}

/// The reports there are, by name.
pub async fn list(store: &Store) -> Result<Vec<Scheduled>, StoreError> {
    let rows: Vec<ScheduledRow> =
        reading!(store, sql::REPORTS_LIST, |text, conn| sqlx::query_as(text).fetch_all(conn).await?);
    let scheduled = |row: ScheduledRow| Scheduled {
        name: row.name,
        since: Timestamp(row.since_ms),
        last: row.last_scheduled_ms.map(Timestamp).zip(row.last_until_ms.map(Timestamp)),
    };
    Ok(rows.into_iter().map(scheduled).collect())
}

/// Notes a run; `false` (and nothing changes) if it was made already.
pub async fn note_run(tx: &mut Tx, report: &str, run: &Run) -> Result<bool, StoreError> {
    Ok(in_tx!(tx, sql::REPORTS_RUN, |text, conn| {
        sqlx::query(text)
            .bind(report)
            .bind(run.scheduled_at.millis())
            .bind(run.covers.0.millis())
            .bind(run.covers.1.millis())
            .bind(run.made_at.millis())
            .execute(conn)
            .await?
            .rows_affected()
            > 0
    }))
}

/// Notes that a message tells a run.
pub async fn attach(tx: &mut Tx, report: &str, scheduled_at: Timestamp, message_id: &str) -> Result<(), StoreError> {
    in_tx!(tx, sql::REPORTS_ATTACH, |text, conn| {
        sqlx::query(text).bind(report).bind(scheduled_at.millis()).bind(message_id).execute(conn).await?;
    });
    Ok(())
}

/// The last runs of a report, newest first, at most `limit`.
pub async fn history(store: &Store, report: &str, limit: u32) -> Result<Vec<PastRun>, StoreError> {
    let rows: Vec<RunRow> = reading!(store, sql::REPORTS_HISTORY, |text, conn| {
        sqlx::query_as(text).bind(report).bind(i64::from(limit)).fetch_all(conn).await?
    });
    let past = |row: RunRow| PastRun {
        run: Run {
            scheduled_at: Timestamp(row.scheduled_ms),
            covers: (Timestamp(row.covers_since_ms), Timestamp(row.covers_until_ms)),
            made_at: Timestamp(row.made_ms),
        },
        messages: row.messages,
        sent: row.sent,
        failed: row.failed,
    };
    Ok(rows.into_iter().map(past).collect())
}
