//! What OpenRouter Broadcast pushes: durable before it is acknowledged.

use std::time::Duration;

use super::Teller;
use crate::domain::observation::{Tidings, Told};
use crate::ledger::{Ledger, LedgerError, Work};
use crate::openrouter::broadcast::Span;

/// How long whoever pushes waits for the commit.
const PATIENCE: Duration = Duration::from_secs(10);

/// Writes the spans; when it returns, they are committed.
pub async fn write(ledger: &Ledger, teller: &Teller, spans: Vec<Span>) -> Result<(), LedgerError> {
    if spans.is_empty() {
        return Ok(());
    }
    let now = teller.clock.now();
    let told = spans
        .into_iter()
        .map(|span| Told {
            call_id: teller.entropy.call_id(now),
            at: now,
            generation_id: span.id,
            key: teller.key_at_openrouter(span.key_name),
            tally_key: None,
            attribution: span.attribution,
            tidings: Tidings::Broadcast(Box::new(span.pushed)),
        })
        .collect();
    ledger.submit(Work { told, ..Work::default() }, PATIENCE).await.map(drop)
}
