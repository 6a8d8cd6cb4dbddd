//! What commands do themselves where no daemon runs: they take the owner's locks, write, and leave.

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::ledger::{OpenLedger, open, open_store};
use super::{metrics, named_keys, tally_keys};
use crate::clock::{Clock, Entropy};
use crate::config::Config;
use crate::keys::TallyKeys;
use crate::ledger::intake::{self, NamedKeys, Summary};
use crate::ledger::{Ledger, LedgerError};
use crate::store::{Store, StoreOptions};

/// Takes told IDs into a ledger that this process owns for a while.
pub struct Teller<'a> {
    ledger: Ledger,
    keys: NamedKeys,
    clock: &'a Clock,
    entropy: &'a Entropy,
}

impl Teller<'_> {
    /// Records items, as one request does.
    pub async fn tell(&self, items: &[Value]) -> Result<Summary, LedgerError> {
        intake::take(&self.ledger, self.clock, self.entropy, &self.keys, None, items).await
    }
}

/// Opens the ledger, lets `work` tell it, and closes it.
pub async fn telling<T>(
    config: &Config,
    clock: &Clock,
    entropy: &Entropy,
    work: impl AsyncFnOnce(&Teller<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let OpenLedger { store, opened, lock: _lock, .. } = open(config, &metrics(), clock, entropy).await?;
    let stop = CancellationToken::new();
    let teller = Teller { ledger: opened.ledger, keys: named_keys(config), clock, entropy };
    let telling = async {
        let done = work(&teller).await;
        stop.cancel();
        done
    };
    let watching = async {
        tokio::select! {
            () = opened.watch.run() => {}
            () = stop.cancelled() => {}
        }
    };
    let (done, (), ()) = tokio::join!(telling, opened.writer.run(stop.clone()), watching);
    store.close().await;
    done
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
