//! What commands do themselves where no daemon runs: they take the owner's locks, write, and leave.

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::ledger::{OpenLedger, open};
use super::{metrics, named_keys};
use crate::clock::{Clock, Entropy};
use crate::config::Config;
use crate::domain::attribution::Attribution;
use crate::ledger::Ledger;
use crate::ledger::intake::{self, NamedKeys, Summary};

/// Records told IDs.
pub async fn record(config: &Config, clock: &Clock, entropy: &Entropy, items: &[Value]) -> anyhow::Result<Summary> {
    let labels = Attribution::default();
    let recording =
        async |ledger: &Ledger, keys: NamedKeys| intake::take(ledger, clock, entropy, &keys, &labels, items).await;
    Ok(holding(config, clock, entropy, recording).await??)
}

/// Holds the owner's locks and runs the ledger's writer for as long as `work` takes.
pub async fn holding<T>(
    config: &Config,
    clock: &Clock,
    entropy: &Entropy,
    work: impl AsyncFnOnce(&Ledger, NamedKeys) -> T,
) -> anyhow::Result<T> {
    let OpenLedger { store, opened, lock: _lock, .. } = open(config, &metrics(), clock, entropy).await?;
    let stop = CancellationToken::new();
    let working = async {
        let done = work(&opened.ledger, named_keys(config)).await;
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
    Ok(done)
}
