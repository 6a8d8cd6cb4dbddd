//! How many rows of an import one transaction takes, so that live traffic never waits long for its turn.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long a transaction of an import is to take.
pub const IMPORT_TARGET: Duration = Duration::from_millis(20);

/// Rows of the first transaction, and the fewest and most of any.
const FIRST: usize = 400;
const FEWEST: usize = 50;
const MOST: usize = 8_000;

/// A measured size: grows while transactions are short, shrinks at once when one is long.
#[derive(Debug)]
pub(super) struct ImportRows(AtomicUsize);

impl Default for ImportRows {
    fn default() -> Self {
        Self(AtomicUsize::new(FIRST))
    }
}

impl ImportRows {
    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// A transaction of `rows` took so long.
    pub(super) fn took(&self, rows: usize, time: Duration) {
        let now = self.get();
        let target = IMPORT_TARGET.as_micros();
        let fitting = rows as u128 * target / time.as_micros().max(1);
        let fitting = usize::try_from(fitting).unwrap_or(MOST);
        // A short last piece says little of what a full one would take: it may only shrink what comes.
        let next = if fitting < now || rows >= now { usize::midpoint(now, fitting) } else { now };
        self.0.store(next.clamp(FEWEST, MOST).min(now * 2), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_come_to_take_what_they_are_to_take() {
        for micros_a_row in [3, 10, 25, 100] {
            let rows = ImportRows::default();
            for _ in 0..30 {
                let now = rows.get();
                rows.took(now, Duration::from_micros(now as u64 * micros_a_row));
            }
            let micros = rows.get() as u64 * micros_a_row;
            assert!((19_000..=21_000).contains(&micros), "{micros_a_row}: {micros}");
        }
        let rows = ImportRows::default();
        rows.took(3, Duration::from_micros(2));
        assert_eq!(rows.get(), FIRST, "three rows say nothing");
        for _ in 0..20 {
            rows.took(rows.get(), Duration::from_secs(1));
        }
        assert_eq!(rows.get(), FEWEST);
    }
}
