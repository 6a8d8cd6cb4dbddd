//! Rows whose model gets another name because the catalogue learnt of their permaslug after they were written.

use std::time::Duration;

use super::{Ledger, LedgerError, Work};
use crate::domain::catalogue::Catalogue;
use crate::domain::ids::CallId;
use crate::store::{Store, StoreError, calls};

/// Rows that are renamed in one transaction.
const AT_ONCE: u32 = 2_000;

/// How long one transaction is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why not every row got its name; what is left gets it next time.
#[derive(Debug, thiserror::Error)]
pub enum NamingError {
    /// The rows could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// They could not be written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Has the writer name the rows that only a permaslug names and that `catalogue`, which the writer has too, knows by
/// another; sums move with them. Returns how many there were.
pub async fn name_again(ledger: &Ledger, store: &Store, catalogue: &Catalogue) -> Result<usize, NamingError> {
    let mut permaslugs: Vec<&str> = catalogue.permaslugs().collect();
    permaslugs.sort_unstable();
    let mut named = 0;
    let mut before: Vec<CallId> = Vec::new();
    loop {
        let rows = calls::unnamed(store, &permaslugs, AT_ONCE).await?;
        // The same rows again were not renamed (another daemon's catalogue differs): that is no reason to go on for ever.
        if rows.is_empty() || rows == before {
            return Ok(named);
        }
        before.clone_from(&rows);
        named += rows.len();
        ledger.submit(Work { renamed: rows, ..Work::default() }, PATIENCE).await?;
    }
}
