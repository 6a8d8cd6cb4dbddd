//! The jobs that ask OpenRouter of itself: its list of models, what it counted for each key, the account's balance.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};

use super::{AskedToWait, Job};
use crate::catalogue::{self, Shelf};
use crate::clock::Clock;
use crate::config;
use crate::domain::comparison::day_of;
use crate::domain::ids::KeyFingerprint;
use crate::domain::time::{DAY_MS, Timestamp};
use crate::journal::Journal;
use crate::ledger::{Ledger, naming};
use crate::openrouter::Client;
use crate::reconcile::{self, Named};
use crate::store::{Store, comparisons};

/// How often each key is compared; once more just before the day ends.
const COMPARE_EVERY: Duration = Duration::from_hours(1);

/// How long before UTC midnight the last comparison of a day begins, in milliseconds.
const BEFORE_MIDNIGHT_MS: i64 = 3 * 60 * 1000;

/// How often the balance is asked.
const BALANCE_EVERY: Duration = Duration::from_mins(15);

/// How long a comparison waits for the ledger to catch up with the journal, and how often it looks.
const CATCH_UP: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What the jobs work with.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The database.
    pub store: Store,
    /// Asks OpenRouter.
    pub client: Client,
    /// The ledger's writer.
    pub ledger: Ledger,
    /// The journal, to know what the ledger does not hold yet.
    pub journal: Journal,
    /// The list of models.
    pub shelf: Shelf,
    /// The configured keys, by name.
    pub keys: BTreeMap<String, SecretString>,
    /// The key that is told the balance; `None`: none is configured.
    pub management_key: Option<SecretString>,
    /// The time.
    pub clock: Clock,
}

impl Upstream {
    /// The table of jobs: those that the configuration gives something to do.
    pub fn jobs(&self, catalogue: &config::Catalogue) -> Vec<Job> {
        let mut jobs = Vec::new();
        if catalogue.enabled {
            jobs.push(Job::every(catalogue.refresh, "refresh_catalogue", self, refresh_catalogue).at_once());
        }
        if !self.keys.is_empty() {
            jobs.push(Job::every(COMPARE_EVERY, "compare_keys", self, compare_keys).also_at(before_midnight));
        }
        if self.management_key.is_some() {
            jobs.push(Job::every(BALANCE_EVERY, "read_balance", self, read_balance));
        }
        jobs
    }
}

async fn refresh_catalogue(with: Upstream) -> anyhow::Result<()> {
    let changes = catalogue::refresh(&with.client, &with.store, &with.shelf, &with.clock)
        .await
        .map_err(|error| waiting(&error, error.asked_wait()))
        .context("reading OpenRouter's list of models")?;
    if changes.new_models + changes.new_prices > 0 {
        tracing::info!(models = changes.new_models, prices = changes.new_prices, "the list of models has changed");
    }
    // At every refresh, not only when names are new: an earlier one may have ended between the list and the rows.
    let renamed = naming::name_again(&with.ledger, &with.store, &with.shelf.get())
        .await
        .context("giving rows the names of their models")?;
    if renamed > 0 {
        tracing::info!(rows = renamed, "rows that only a permaslug named have the names of their models");
    }
    Ok(())
}

async fn compare_keys(with: Upstream) -> anyhow::Result<()> {
    let catalogue = with.shelf.get();
    let keys: Vec<Named<'_>> = with.keys.iter().map(|(name, key)| (name.as_str(), key)).collect();
    let drained = || caught_up(with.journal.clone(), with.clock.clone());
    let compared = reconcile::compare_all(&with.client, &with.store, &catalogue, &keys, &with.clock, drained).await?;
    let (mut wrong, mut wait) = (String::new(), None);
    for ((name, _), compared) in keys.iter().zip(compared) {
        let kept = match compared {
            Ok(compared) => comparisons::save(&with.store, &compared).await.map_err(Into::into),
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            wait = wait.max(error.asked_wait());
            let _ = write!(wrong, "{}key {name}: {error}", if wrong.is_empty() { "" } else { "; " });
        }
    }
    // One key that is refused does not keep the others from being compared.
    if wrong.is_empty() { Ok(()) } else { Err(waiting(&wrong, wait)) }
}

/// The error of a run, and the wait that OpenRouter asked for, if it asked for one.
fn waiting(error: &impl ToString, wait: Option<Duration>) -> anyhow::Error {
    match wait {
        Some(wait) => AskedToWait { error: error.to_string(), wait }.into(),
        None => anyhow::anyhow!(error.to_string()),
    }
}

/// Waits until the ledger holds everything that is in the journal now; `false`: it took too long.
async fn caught_up(journal: Journal, clock: Clock) -> bool {
    let begun = clock.elapsed();
    loop {
        let waited = clock.elapsed().saturating_sub(begun);
        // What is younger than the wait came after it began.
        if journal.health().oldest_undrained.is_none_or(|age| age < waited) {
            return true;
        }
        if waited > CATCH_UP {
            return false;
        }
        clock.sleep(LOOK_EVERY).await;
    }
}

async fn read_balance(with: Upstream) -> anyhow::Result<()> {
    let Some(key) = &with.management_key else { return Ok(()) };
    let balance = reconcile::ask_balance(&with.client, key)
        .await
        .map_err(|error| waiting(&error, error.asked_wait()))
        .context("asking for the account's balance")?;
    let sha256 = KeyFingerprint::of(key.expose_secret()).sha256;
    comparisons::save_balance(&with.store, &sha256, balance).await.context("keeping the account's balance")
}

/// The time from `now` to the last comparison of a day.
fn before_midnight(now: Timestamp) -> Duration {
    let last = day_of(now).plus_millis(DAY_MS - BEFORE_MIDNIGHT_MS);
    let next = if last > now { last } else { last.plus_millis(DAY_MS) };
    Duration::from_millis(u64::try_from(next.millis() - now.millis()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_comparison_of_a_day_is_three_minutes_before_midnight() {
        let at = |time: &str| Timestamp::parse(&format!("2026-11-19T{time}Z")).unwrap();
        assert_eq!(before_midnight(at("23:00:00")), Duration::from_mins(57));
        assert_eq!(before_midnight(at("23:57:00")), Duration::from_hours(24));
        assert_eq!(before_midnight(at("23:58:00")), Duration::from_mins(24 * 60 - 1));
        assert_eq!(before_midnight(at("00:00:00")), Duration::from_mins(24 * 60 - 3));
    }
}
