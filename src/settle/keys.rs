//! The keys this process holds, and which of them reads which row.

use std::collections::HashMap;
use std::sync::Arc;

use secrecy::SecretString;

use crate::config::DEFAULT_KEY_NAME;
use crate::domain::ids::KeyFingerprint;
use crate::store::settlements::{Due, Parked};

/// A key this process holds: configured, or brought by a caller and kept in memory only.
#[derive(Clone, Debug)]
pub struct HeldKey {
    /// Its configured name (`default` is `openrouter.api_key`); `None`: a caller's own.
    pub name: Option<String>,
    /// What stands for it in the ledger.
    pub fingerprint: KeyFingerprint,
    /// Its text.
    pub secret: SecretString,
}

/// Tells every key held at this moment.
pub type KeyHolder = Arc<dyn Fn() -> Vec<HeldKey> + Send + Sync>;

/// The keys held at one moment.
#[derive(Debug, Default)]
pub(super) struct Ring {
    keys: Vec<HeldKey>,
    by_sha256: HashMap<String, usize>,
}

impl Ring {
    pub(super) fn new(keys: Vec<HeldKey>) -> Self {
        let by_sha256 = keys.iter().enumerate().map(|(at, key)| (key.fingerprint.sha256.clone(), at)).collect();
        Self { keys, by_sha256 }
    }

    /// The key that made the call; `None` if it is not held.
    pub(super) fn of(&self, due: &Due) -> Option<&HeldKey> {
        if let Some(sha256) = &due.key_sha256 {
            return self.get(sha256);
        }
        let name = due.key_name.as_deref().unwrap_or(DEFAULT_KEY_NAME);
        self.keys.iter().find(|key| key.name.as_deref() == Some(name))
    }

    pub(super) fn get(&self, sha256: &str) -> Option<&HeldKey> {
        self.by_sha256.get(sha256).map(|at| &self.keys[*at])
    }

    pub(super) fn holds(&self, sha256: &str) -> bool {
        self.by_sha256.contains_key(sha256)
    }

    /// SHA-256 of every key.
    pub(super) fn held(&self) -> Vec<String> {
        self.by_sha256.keys().cloned().collect()
    }

    /// The keys that `before` did not hold, or held under another name.
    pub(super) fn new_since<'a>(&'a self, before: &'a Ring) -> impl Iterator<Item = &'a HeldKey> {
        self.keys.iter().filter(|key| before.get(&key.fingerprint.sha256).is_none_or(|known| known.name != key.name))
    }
}

/// The parked rows that a key wakes.
pub(super) fn woken_by(key: &HeldKey) -> impl Iterator<Item = Parked<'_>> {
    let name = key.name.as_deref();
    let default = (name == Some(DEFAULT_KEY_NAME)).then_some(Parked::NoKey);
    [Some(Parked::Fingerprint(&key.fingerprint.sha256)), name.map(Parked::Name), default].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use crate::domain::ids::CallId;
    use crate::domain::time::Timestamp;

    use super::*;

    fn key(name: Option<&str>, text: &str) -> HeldKey {
        HeldKey {
            name: name.map(str::to_owned),
            fingerprint: KeyFingerprint::of(text),
            secret: SecretString::from(text.to_owned()),
        }
    }

    fn due(sha256: Option<&str>, name: Option<&str>) -> Due {
        Due {
            call_id: CallId::new(Timestamp(1), 1),
            generation_id: "gen-1".parse().unwrap(),
            key_sha256: sha256.map(str::to_owned),
            key_name: name.map(str::to_owned),
            cost_known: false,
            due: Timestamp(1),
        }
    }

    #[test]
    fn a_row_is_read_with_the_very_key_that_made_it_or_not_at_all() {
        let ring = Ring::new(vec![key(Some("default"), "k-default"), key(Some("prod"), "k-prod"), key(None, "k-own")]);
        let read_by = |row: Due| ring.of(&row).map(|key| key.fingerprint.sha256.clone());
        let sha = |text: &str| KeyFingerprint::of(text).sha256;
        assert_eq!(read_by(due(Some(&sha("k-own")), Some("…-own"))), Some(sha("k-own")));
        assert_eq!(read_by(due(Some(&sha("k-old")), Some("prod"))), None, "the name's key was changed since");
        assert_eq!(read_by(due(None, Some("prod"))), Some(sha("k-prod")));
        assert_eq!(read_by(due(None, Some("gone"))), None);
        assert_eq!(read_by(due(None, None)), Some(sha("k-default")));
        assert!(Ring::default().of(&due(None, None)).is_none());
    }

    #[test]
    fn a_new_key_wakes_the_rows_that_wait_for_it() {
        let before = Ring::new(vec![key(None, "a"), key(Some("default"), "b")]);
        let after = Ring::new(vec![key(Some("team"), "a"), key(Some("default"), "b"), key(None, "c")]);
        let new: Vec<_> = after.new_since(&before).collect();
        assert_eq!(new.len(), 2, "the one that got a name, and the one that came");
        let (a, c) = (KeyFingerprint::of("a").sha256, KeyFingerprint::of("c").sha256);
        assert_eq!(woken_by(new[0]).collect::<Vec<_>>(), [Parked::Fingerprint(&a), Parked::Name("team")]);
        assert_eq!(woken_by(new[1]).collect::<Vec<_>>(), [Parked::Fingerprint(&c)]);
        let default = key(Some("default"), "b");
        assert!(woken_by(&default).any(|parked| parked == Parked::NoKey));
    }
}
