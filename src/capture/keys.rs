//! The OpenRouter keys this process holds: the configured ones, and those that callers brought.
//!
//! A caller's key is kept in memory only, so that its calls can be settled with it; everything that is
//! stored or shown of a key is its name and [`KeyFingerprint`].
//!
//! A key that a caller brings is a [`Candidate`] until OpenRouter has taken it: anybody can invent one, and a flood of those
//! must not push out the keys that rows wait for. A candidate lives in its call and nowhere else, so there are never more
//! than calls that wait for a reply's head.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;

use crate::domain::attribution::KeyRef;
use crate::domain::ids::KeyFingerprint;

/// Most callers' keys held at once; beyond it the one unused for longest is forgotten, and its rows wait for its return.
pub const MAX_HELD: usize = 4096;

/// Longest key held, in bytes; OpenRouter's are 73. The calls of a longer one pass, and wait to be settled until it is
/// configured.
pub const MAX_KEY: usize = 512;

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

/// A key that a caller brought and OpenRouter has not yet taken.
#[derive(Debug)]
pub struct Candidate {
    secret: SecretString,
    sha256: String,
}

/// A candidate, and the ring that is to hold it.
#[derive(Debug)]
pub struct Proof {
    ring: Arc<Keyring>,
    candidate: Candidate,
}

impl Proof {
    /// `ring` holds `candidate` once its call is answered.
    pub fn new(ring: Arc<Keyring>, candidate: Candidate) -> Self {
        Self { ring, candidate }
    }

    /// A call with the key was answered with this status: anything but "who are you" and "not you" shows that it is good.
    pub fn answered(self, status: StatusCode) {
        if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            self.ring.hold(self.candidate);
        }
    }
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

    /// A caller's own key; its name is `…` and its last four characters. It comes with a [`Candidate`] unless it is held
    /// already, or too long to be.
    pub fn bring(&self, key: &str) -> (KeyRef, Option<Candidate>) {
        let fingerprint = KeyFingerprint::of(key);
        let mut brought = self.lock();
        brought.uses += 1;
        let now = brought.uses;
        let known = brought.keys.get_mut(&fingerprint.sha256).map(|held| held.last_use = now).is_some();
        drop(brought);
        let candidate = (!known && key.len() <= MAX_KEY)
            .then(|| Candidate { secret: key.into(), sha256: fingerprint.sha256.clone() });
        (KeyRef { name: fingerprint.to_string(), fingerprint: Some(fingerprint) }, candidate)
    }

    /// Keeps a key that has proved good, to settle its calls with, those of earlier days as well.
    pub fn hold(&self, candidate: Candidate) {
        let mut brought = self.lock();
        brought.uses += 1;
        let last_use = brought.uses;
        let Candidate { secret, sha256 } = candidate;
        if let Some(held) = brought.keys.get_mut(&sha256) {
            held.last_use = last_use;
            return;
        }
        if brought.keys.len() >= MAX_HELD {
            brought.forget_oldest();
        }
        brought.keys.insert(sha256, Held { secret, last_use });
        drop(brought);
        self.news.send_modify(|count| *count += 1);
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
        let (brought, candidate) = ring.bring("sk-or-v1-two");
        assert_eq!(brought.name, "…-two");
        assert!(ring.secret(&brought).is_none() && !news.has_changed().unwrap());
        ring.hold(candidate.unwrap());
        assert!(news.has_changed().unwrap());
        news.mark_unchanged();
        assert!(ring.bring("sk-or-v1-two").1.is_none());
        assert!(!news.has_changed().unwrap());
        assert_eq!(ring.secret(&brought).unwrap().expose_secret(), "sk-or-v1-two");
        let by_name = KeyRef { name: "default".to_owned(), fingerprint: None };
        assert_eq!(ring.secret(&by_name).unwrap().expose_secret(), "sk-or-v1-one");
        assert!(ring.secret(&KeyRef { name: "x".to_owned(), fingerprint: Some(KeyFingerprint::of("x")) }).is_none());
    }

    #[test]
    fn the_key_unused_for_longest_is_forgotten() {
        let ring = Keyring::new([]);
        let held = |key: &str| {
            let (key, candidate) = ring.bring(key);
            ring.hold(candidate.unwrap());
            key
        };
        let first = held("sk-or-v1-0");
        let second = held("sk-or-v1-1");
        for n in 2..MAX_HELD {
            held(&format!("sk-or-v1-{n}"));
        }
        ring.bring("sk-or-v1-0");
        held("sk-or-v1-more");
        assert!(ring.secret(&first).is_some());
        assert!(ring.secret(&second).is_none());
    }

    #[test]
    fn keys_that_openrouter_does_not_take_push_none_out() {
        let ring = Arc::new(Keyring::new([]));
        let call = |key: &str, status: u16| {
            let (key, candidate) = ring.bring(key);
            if let Some(candidate) = candidate {
                Proof::new(Arc::clone(&ring), candidate).answered(StatusCode::from_u16(status).unwrap());
            }
            key
        };
        let good = call("sk-or-v1-good", 402);
        for n in 0..2 * MAX_HELD {
            call(&format!("sk-or-v1-invented-{n}"), if n % 2 == 0 { 401 } else { 403 });
        }
        assert!(ring.secret(&good).is_some());
        assert_eq!(ring.held().len(), 1);
        // One that was refused once may be good the next time: a guardrail's 403, a key that is enabled again.
        let late = call("sk-or-v1-invented-1", 200);
        assert!(ring.secret(&late).is_some());
        assert!(ring.bring(&format!("sk-or-v1-{}", "x".repeat(MAX_KEY))).1.is_none());
    }
}
