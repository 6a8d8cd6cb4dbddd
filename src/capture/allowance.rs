//! A bound on what many calls may take together, of which each takes a share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many bytes, for all together.
#[derive(Debug)]
pub struct Allowance {
    limit: u64,
    taken: AtomicU64,
}

/// One's part of an [`Allowance`], given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    of: Arc<Allowance>,
    bytes: u64,
}

impl Allowance {
    /// An allowance of `limit` bytes.
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, taken: AtomicU64::new(0) })
    }

    /// Takes a share of so many bytes; `None` when they are not there. Never waits.
    pub fn take(self: &Arc<Self>, bytes: u64) -> Option<Share> {
        self.reserve(bytes).then(|| Share { of: Arc::clone(self), bytes })
    }

    fn reserve(&self, bytes: u64) -> bool {
        let fits = |taken: u64| taken.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }
}

impl Share {
    /// Makes the share so many bytes larger; false, and no change, when they are not there.
    pub fn grow(&mut self, bytes: u64) -> bool {
        let grown = self.of.reserve(bytes);
        if grown {
            self.bytes += bytes;
        }
        grown
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_back() {
        let all = Allowance::new(10);
        let mut one = all.take(4).unwrap();
        assert!(all.take(7).is_none());
        assert!(one.grow(6) && !one.grow(1));
        drop(one);
        assert!(all.take(10).is_some());
    }
}
