//! The job that looks for unusual spend: once an hour, when the hour is over and its costs are in.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::Job;
use crate::alert::spikes::Lookout;
use crate::domain::forecast::HOUR_MS;
use crate::domain::time::Timestamp;
use crate::ledger::Wakes;

/// How often at least.
const EVERY: Duration = Duration::from_hours(1);

/// How long after a full hour it also looks, in milliseconds: most costs are settled by then.
const AFTER_THE_HOUR_MS: i64 = 3 * 60 * 1000;

/// What the job works with.
#[derive(Clone, Debug)]
pub struct Watching {
    /// Looks and writes.
    pub lookout: Lookout,
    /// Who is woken: the mailer and open pages.
    pub wakes: Arc<Wakes>,
}

impl Watching {
    /// The job.
    pub fn job(&self) -> Job {
        Job::every(EVERY, "find_unusual_spend", self, look).also_at(until_the_hour_is_in)
    }
}

async fn look(with: Watching) -> anyhow::Result<()> {
    let found = with.lookout.look().await.context("looking for unusual spend")?;
    if found > 0 {
        with.wakes.outbox.notify_one();
        with.wakes.pages.notify_waiters();
    }
    Ok(())
}

fn until_the_hour_is_in(now: Timestamp) -> Duration {
    let gone = (now.millis() - AFTER_THE_HOUR_MS).rem_euclid(HOUR_MS);
    Duration::from_millis(u64::try_from(HOUR_MS - gone).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_three_minutes_after_each_full_hour() {
        let minutes = |minute: i64| until_the_hour_is_in(Timestamp(minute * 60_000)).as_secs() / 60;
        assert_eq!([0, 2, 3, 4, 59].map(minutes), [3, 1, 60, 59, 4]);
    }
}
