//! What commands do themselves where no daemon runs: they take the owner's locks, write, and leave.

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::ledger::{OpenLedger, open};
use super::{metrics, named_keys};
use crate::clock::{Clock, Entropy};
use crate::config::Config;
use crate::domain::attribution::Attribution;
use crate::ledger::intake::{self, Summary};

/// Records told IDs.
pub async fn record(config: &Config, clock: &Clock, entropy: &Entropy, items: &[Value]) -> anyhow::Result<Summary> {
    let OpenLedger { store, opened, lock: _lock, .. } = open(config, &metrics(), clock, entropy).await?;
    let stop = CancellationToken::new();
    let keys = named_keys(config);
    let labels = Attribution::default();
    let telling = async {
        let summary = intake::take(&opened.ledger, clock, entropy, &keys, &labels, items).await;
        stop.cancel();
        summary
    };
    let watching = async {
        tokio::select! {
            () = opened.watch.run() => {}
            () = stop.cancelled() => {}
        }
    };
    let (summary, (), ()) = tokio::join!(telling, opened.writer.run(stop.clone()), watching);
    store.close().await;
    Ok(summary?)
}
