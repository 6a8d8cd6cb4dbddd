//! What commands do themselves where no daemon runs: they take the owner's locks, write, and leave.

use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::ledger::{OpenLedger, open, open_store};
use super::{metrics, named_keys, tally_keys};
use crate::clock::{Clock, Entropy};
use crate::config::Config;
use crate::definitions::Definitions;
use crate::keys::TallyKeys;
use crate::ledger::intake::{self, NamedKeys, Summary};
use crate::ledger::{Ledger, LedgerError};
use crate::store::{Store, StoreOptions};

/// Takes told IDs into a ledger that this process owns for a while.
pub struct Teller<'a> {
    ledger: &'a Ledger,
    keys: NamedKeys,
    clock: &'a Clock,
    entropy: &'a Entropy,
}

impl Teller<'_> {
    /// Records items, as one request does.
    pub async fn tell(&self, items: &[Box<RawValue>]) -> Result<Summary, LedgerError> {
        intake::take(self.ledger, self.clock, self.entropy, &self.keys, None, items).await
    }
}

/// Opens the ledger, lets `work` tell it, and closes it.
pub async fn telling<T>(
    config: &Config,
    clock: &Clock,
    entropy: &Entropy,
    work: impl AsyncFnOnce(&Teller<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let telling = async |ledger: &Ledger, keys: NamedKeys| work(&Teller { ledger, keys, clock, entropy }).await;
    holding(config, clock, entropy, telling).await?
}

/// Holds the owner's locks and runs the ledger's writer for as long as `work` takes.
pub async fn holding<T>(
    config: &Config,
    clock: &Clock,
    entropy: &Entropy,
    work: impl AsyncFnOnce(&Ledger, NamedKeys) -> T,
) -> anyhow::Result<T> {
    let opened = open(config, &metrics(), clock, entropy).await?;
    Ok(running(opened, async |ledger| work(ledger, named_keys(config)).await).await)
}

/// Runs the ledger's writer for as long as `work` takes, then closes everything.
async fn running<T>(ledger: OpenLedger, work: impl AsyncFnOnce(&Ledger) -> T) -> T {
    let OpenLedger { store, opened, lock: _lock, .. } = ledger;
    let stop = CancellationToken::new();
    let working = async {
        let done = work(&opened.ledger).await;
        stop.cancel();
        done
    };
    let watching = async {
        tokio::select! {
            () = opened.watch.run() => {}
            () = stop.cancelled() => {}
        }
    };
    let (done, (), ()) = tokio::join!(working, opened.writer.run(stop.clone()), watching);
    store.close().await;
    done
}

/// Holds the owner's locks, runs the ledger's writer, and lets `work` change budgets.
pub async fn changing_budgets<T>(
    config: &Config,
    clock: &Clock,
    entropy: &Entropy,
    work: impl AsyncFnOnce(&Definitions) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let opened = open(config, &metrics(), clock, entropy).await?;
    let definitions = Definitions {
        ledger: opened.opened.ledger.clone(),
        store: opened.store.clone(),
        zone: config.time_zone,
        clock: clock.clone(),
        entropy: entropy.clone(),
        open: true,
        webhooks: config.webhooks.keys().cloned().collect(),
        reload: None,
    };
    running(opened, async |_| work(&definitions).await).await
}

/// Opens the tally keys to be changed, lets `work` do it, and closes them.
pub async fn changing_keys<T>(
    config: &Config,
    clock: &Clock,
    entropy: &Entropy,
    work: impl AsyncFnOnce(&TallyKeys) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let (store, _lock) = open_store(config).await?;
    let done = with_keys(config, &store, clock, entropy, work).await;
    store.close().await;
    done
}

/// Opens the tally keys to be read only.
pub async fn reading_keys<T>(
    config: &Config,
    clock: &Clock,
    entropy: &Entropy,
    work: impl AsyncFnOnce(&TallyKeys) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let store = Store::open_read_only(&StoreOptions::new(config.database.url())).await?;
    let done = with_keys(config, &store, clock, entropy, work).await;
    store.close().await;
    done
}

async fn with_keys<T>(
    config: &Config,
    store: &Store,
    clock: &Clock,
    entropy: &Entropy,
    work: impl AsyncFnOnce(&TallyKeys) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let keys = tally_keys(config, store, clock, entropy).await?;
    work(&keys).await
}
