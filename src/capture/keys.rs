//! The OpenRouter keys this process holds: the configured ones, and those that callers brought.
//!
//! A caller's key is kept in memory only, so that its calls can be settled with it; everything that is
//! stored or shown of a key is its name and [`KeyFingerprint`].

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;

use crate::domain::attribution::KeyRef;
use crate::domain::ids::KeyFingerprint;

/// Most callers' keys held at once; beyond it the one unused for longest is forgotten, and its rows wait for its return.
pub const MAX_HELD: usize = 4096;

/// The keys.
#[derive(Debug)]
pub struct Keyring {
    configured: Vec<Configured>,
    brought: Mutex<Brought>,
    /// Counts keys that came and were not held before.
    news: watch::Sender<u64>,
}

#[derive(Debug)]
struct Configured {
    name: String,
    secret: SecretString,
    fingerprint: KeyFingerprint,
}

#[derive(Debug, Default)]
struct Brought {
    keys: HashMap<String, Held>,
    /// Grows with every use.
    uses: u64,
}

#[derive(Debug)]
struct Held {
    secret: SecretString,
    last_use: u64,
}

impl Keyring {
    /// A ring of the configured keys, by name.
    pub fn new(configured: impl IntoIterator<Item = (String, SecretString)>) -> Self {
        let configured = configured
            .into_iter()
            .map(|(name, secret)| Configured { name, fingerprint: KeyFingerprint::of(secret.expose_secret()), secret })
            .collect();
        Self { configured, brought: Mutex::default(), news: watch::Sender::new(0) }
    }

    /// The configured key of that name.
    pub fn named(&self, name: &str) -> Option<(KeyRef, SecretString)> {
        let key = self.configured.iter().find(|key| key.name == name)?;
        Some((key.key_ref(), key.secret.clone()))
    }

    /// What a caller's key is called; one that is configured is that key. `None`: it is not configured.
    pub fn configured(&self, key: &str) -> Option<KeyRef> {
        let same = |known: &&Configured| known.secret.expose_secret().as_bytes().ct_eq(key.as_bytes()).into();
        self.configured.iter().find(same).map(Configured::key_ref)
    }

    /// Keeps a caller's own key, to settle its calls with. Its name is `…` and its last four characters.
    pub fn bring(&self, key: &str) -> KeyRef {
        let fingerprint = KeyFingerprint::of(key);
        let mut brought = self.lock();
        brought.uses += 1;
        let now = brought.uses;
        let mut new = false;
        if let Some(held) = brought.keys.get_mut(&fingerprint.sha256) {
            held.last_use = now;
        } else {
            if brought.keys.len() >= MAX_HELD {
                brought.forget_oldest();
            }
            brought.keys.insert(fingerprint.sha256.clone(), Held { secret: key.into(), last_use: now });
            new = true;
        }
        drop(brought);
        if new {
            self.news.send_modify(|count| *count += 1);
        }
        KeyRef { name: fingerprint.to_string(), fingerprint: Some(fingerprint) }
    }

    /// The key that a row was made with, if this process holds it.
    pub fn secret(&self, key: &KeyRef) -> Option<SecretString> {
        let Some(fingerprint) = &key.fingerprint else { return self.named(&key.name).map(|(_, secret)| secret) };
        let configured = self.configured.iter().find(|known| known.fingerprint == *fingerprint);
        configured
            .map(|known| known.secret.clone())
            .or_else(|| self.lock().keys.get(&fingerprint.sha256).map(|held| held.secret.clone()))
    }

    /// Every key held: a configured one with its name, its fingerprint, its text.
    pub fn held(&self) -> Vec<(Option<String>, KeyFingerprint, SecretString)> {
        let configured =
            self.configured.iter().map(|key| (Some(key.name.clone()), key.fingerprint.clone(), key.secret.clone()));
        let brought = self.lock();
        let brought = brought
            .keys
            .values()
            .map(|held| (None, KeyFingerprint::of(held.secret.expose_secret()), held.secret.clone()));
        configured.chain(brought).collect()
    }

    /// Changes whenever a key comes that was not held: rows that wait for it can go on.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Brought> {
        // A panic between two lines here leaves at worst one key unknown.
        self.brought.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Configured {
    fn key_ref(&self) -> KeyRef {
        KeyRef { name: self.name.clone(), fingerprint: Some(self.fingerprint.clone()) }
    }
}

impl Brought {
    fn forget_oldest(&mut self) {
        let oldest = self.keys.iter().min_by_key(|(_, held)| held.last_use).map(|(sha256, _)| sha256.clone());
        if let Some(sha256) = oldest {
            self.keys.remove(&sha256);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_configured_brought_or_not_held() {
        let ring = Keyring::new([("default".to_owned(), SecretString::from("sk-or-v1-one"))]);
        assert_eq!(ring.configured("sk-or-v1-one").unwrap().name, "default");
        assert_eq!(ring.configured("sk-or-v1-two"), None);
        let mut news = ring.news();
        let brought = ring.bring("sk-or-v1-two");
        assert_eq!(brought.name, "…-two");
        assert!(news.has_changed().unwrap());
        news.mark_unchanged();
        ring.bring("sk-or-v1-two");
        assert!(!news.has_changed().unwrap());
        assert_eq!(ring.secret(&brought).unwrap().expose_secret(), "sk-or-v1-two");
        let by_name = KeyRef { name: "default".to_owned(), fingerprint: None };
        assert_eq!(ring.secret(&by_name).unwrap().expose_secret(), "sk-or-v1-one");
        assert!(ring.secret(&KeyRef { name: "x".to_owned(), fingerprint: Some(KeyFingerprint::of("x")) }).is_none());
    }

    #[test]
    fn the_key_unused_for_longest_is_forgotten() {
        let ring = Keyring::new([]);
        let first = ring.bring("sk-or-v1-0");
        let second = ring.bring("sk-or-v1-1");
        for n in 2..MAX_HELD {
            ring.bring(&format!("sk-or-v1-{n}"));
        }
        ring.bring("sk-or-v1-0");
        ring.bring("sk-or-v1-more");
        assert!(ring.secret(&first).is_some());
        assert!(ring.secret(&second).is_none());
    }
}
