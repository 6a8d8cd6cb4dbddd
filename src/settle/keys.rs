//! The keys this process holds, and which of them reads which row.

use std::collections::HashMap;

use secrecy::SecretString;

use crate::capture::keys::Keyring;
use crate::config::DEFAULT_KEY_NAME;
use crate::domain::ids::KeyFingerprint;
use crate::store::settlements::{Due, Parked};

/// A key this process holds.
#[derive(Clone, Debug)]
pub(super) struct HeldKey {
    /// Its configured name (`default` is `openrouter.api_key`); `None`: a caller's own.
    name: Option<String>,
    pub(super) fingerprint: KeyFingerprint,
    pub(super) secret: SecretString,
}

/// The keys held at one moment.
#[derive(Debug, Default)]
pub(super) struct Ring {
    keys: Vec<HeldKey>,
    by_sha256: HashMap<String, usize>,
}

impl Ring {
    pub(super) fn of(keyring: &Keyring) -> Self {
        let held = keyring.held().into_iter();
        let keys: Vec<HeldKey> =
            held.map(|(name, fingerprint, secret)| HeldKey { name, fingerprint, secret }).collect();
        let by_sha256 = keys.iter().enumerate().map(|(at, key)| (key.fingerprint.sha256.clone(), at)).collect();
        Self { keys, by_sha256 }
    }

    pub(super) fn get(&self, sha256: &str) -> Option<&HeldKey> {
        self.by_sha256.get(sha256).map(|at| &self.keys[*at])
    }

    /// The key that made the call; `None` if it is not held.
    pub(super) fn reader_of(&self, due: &Due) -> Option<&HeldKey> {
        if let Some(sha256) = &due.key_sha256 {
            return self.get(sha256);
        }
        let name = due.key_name.as_deref().unwrap_or(DEFAULT_KEY_NAME);
        self.keys.iter().find(|key| key.name.as_deref() == Some(name))
    }

    /// What stands in rows for the keys that `may` be used, as the store wants it.
    pub(super) fn marks(&self, may: impl Fn(&str) -> bool) -> Vec<String> {
        self.keys
            .iter()
            .filter(|key| may(&key.fingerprint.sha256))
            .flat_map(HeldKey::marks)
            .map(str::to_owned)
            .collect()
    }

    /// The keys that `before` did not hold.
    pub(super) fn new_since<'a>(&'a self, before: &'a Ring) -> impl Iterator<Item = &'a HeldKey> {
        self.keys.iter().filter(|key| before.get(&key.fingerprint.sha256).is_none())
    }
}

impl HeldKey {
    /// What stands for the key in rows: its SHA-256, its name in rows that carry a name alone, and the empty text in
    /// rows that carry nothing, which are the default key's.
    fn marks(&self) -> impl Iterator<Item = &str> {
        let name = self.name.as_deref();
        let none = (name == Some(DEFAULT_KEY_NAME)).then_some("");
        [Some(self.fingerprint.sha256.as_str()), name, none].into_iter().flatten()
    }

    /// The parked rows that the key wakes.
    pub(super) fn wakes(&self) -> impl Iterator<Item = Parked<'_>> {
        let name = self.name.as_deref();
        let none = (name == Some(DEFAULT_KEY_NAME)).then_some(Parked::NoKey);
        [Some(Parked::Fingerprint(&self.fingerprint.sha256)), name.map(Parked::Name), none].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::ids::CallId;
    use crate::domain::time::Timestamp;

    use super::*;

    fn keyring(configured: &[(&str, &str)]) -> Keyring {
        Keyring::new(configured.iter().map(|(name, key)| ((*name).to_owned(), SecretString::from((*key).to_owned()))))
    }

    fn sha(text: &str) -> String {
        KeyFingerprint::of(text).sha256
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
        let keyring = keyring(&[("default", "k-default"), ("prod", "k-prod")]);
        keyring.hold(keyring.bring("k-own").1.unwrap());
        let ring = Ring::of(&keyring);
        let read_by = |row: Due| ring.reader_of(&row).map(|key| key.fingerprint.sha256.clone());
        assert_eq!(read_by(due(Some(&sha("k-own")), Some("…-own"))), Some(sha("k-own")));
        assert_eq!(read_by(due(Some(&sha("k-old")), Some("prod"))), None, "the name's key was changed since");
        assert_eq!(read_by(due(None, Some("prod"))), Some(sha("k-prod")));
        assert_eq!(read_by(due(None, Some("gone"))), None);
        assert_eq!(read_by(due(None, None)), Some(sha("k-default")));
        assert!(Ring::default().reader_of(&due(None, None)).is_none());
        let mut marks = ring.marks(|sha256| sha256 != sha("k-prod"));
        marks.sort();
        let mut expected = vec![String::new(), "default".to_owned(), sha("k-default"), sha("k-own")];
        expected.sort();
        assert_eq!(marks, expected);
    }

    #[test]
    fn a_new_key_wakes_the_rows_that_wait_for_it() {
        let keyring = keyring(&[("default", "a"), ("team", "b")]);
        let before = Ring::of(&keyring);
        keyring.hold(keyring.bring("c").1.unwrap());
        let after = Ring::of(&keyring);
        let woken = |ring: &Ring, before: &Ring| -> Vec<String> {
            ring.new_since(before).flat_map(HeldKey::wakes).map(|parked| format!("{parked:?}")).collect()
        };
        assert_eq!(woken(&after, &before), [format!("Fingerprint({:?})", sha("c"))]);
        let first = woken(&before, &Ring::default());
        assert_eq!(first.len(), 5, "{first:?}");
        assert!(first.contains(&"NoKey".to_owned()) && first.contains(&"Name(\"team\")".to_owned()), "{first:?}");
    }
}
