//! Tally keys: made, listed, revoked, and looked up for every call that brings one.
//!
//! All keys that may be used are held in memory by their SHA-256, so that a call asks no database and learns nothing from
//! how long a comparison takes. Their text is seen twice, when one is made and when a call brings it, and kept neither time.

mod listing;
mod wanted;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use chrono_tz::Tz;
use secrecy::SecretString;
use tokio::sync::Mutex;

pub use self::listing::{Listed, Listing, SPEND_DAYS, table};
pub use self::wanted::{ExpiryError, Wanted, parse_expiry, parse_tags};

use crate::clock::{Clock, Entropy};
use crate::domain::attribution::Attribution;
use crate::domain::ids::{KeyFingerprint, repeatable};
use crate::domain::tally_key::{self, KeyState, TallyKey, TallyKeyId};
use crate::domain::time::Timestamp;
use crate::store::{Store, StoreError, tally_keys};

/// How often the last uses of keys are written: `last_used_at` is late by so much at most.
pub const USES_EVERY: Duration = Duration::from_mins(1);

/// How often keys are read again where other daemons may make and revoke them.
pub const REFRESH_EVERY: Duration = Duration::from_secs(5);

/// Most keys that are not revoked; every one of them is held in memory.
pub const MAX_KEYS: usize = 10_000;

/// Most keys held in memory: beside [`MAX_KEYS`] those revoked last, so that they can be told apart from unknown ones.
const MAX_HELD: u32 = 20_000;

/// Most keys that are named when a tail means several.
const MAX_NAMED: u32 = 5;

/// Most characters of a name that is none that a message repeats.
const MAX_SHOWN: usize = 64;

/// What stands before the last four characters of a key.
const ELLIPSIS: char = '…';

/// The tally keys of one database.
#[derive(Debug)]
pub struct TallyKeys {
    store: Store,
    clock: Clock,
    entropy: Entropy,
    zone: Tz,
    /// Names of the configured OpenRouter keys.
    upstreams: Vec<String>,
    held: ArcSwap<Held>,
    /// Held while keys are read, so that an older reading never replaces a newer one.
    reading: Mutex<()>,
}

#[derive(Debug, Default)]
struct Held {
    by_sha256: HashMap<String, HeldKey>,
}

#[derive(Debug)]
struct HeldKey {
    key: Arc<TallyKey>,
    /// The last use, and the last that is in the database; unix milliseconds, 0: none.
    used_ms: AtomicI64,
    noted_ms: AtomicI64,
}

/// A key that was made just now. Its text is nowhere else.
#[derive(Debug)]
pub struct NewKey {
    /// What is kept of it.
    pub key: TallyKey,
    /// The text, to be shown once.
    pub text: SecretString,
}

/// Why a key that a caller brings is refused.
#[derive(Clone, Debug)]
pub enum KeyRefused {
    /// Nobody made it here.
    Unknown,
    /// Its time is over.
    Expired(Arc<TallyKey>),
    /// It was revoked.
    Revoked(Arc<TallyKey>),
}

impl KeyRefused {
    /// The key, where it is known.
    pub fn key(&self) -> Option<&TallyKey> {
        match self {
            Self::Unknown => None,
            Self::Expired(key) | Self::Revoked(key) => Some(key),
        }
    }

    /// What the caller is told.
    pub fn message(&self) -> String {
        let tail = self.key().map(|key| &*key.fingerprint.tail).unwrap_or_default();
        match self {
            Self::Unknown => {
                "this tally key is not known here; make one with `tallyd key create` or on the page Keys".to_owned()
            }
            Self::Expired(key) => {
                let at = key.expires_at.map(|at| format!(" on {at}")).unwrap_or_default();
                format!("the tally key …{tail} expired{at}; ask for a new one")
            }
            Self::Revoked(key) => {
                let at = key.revoked_at.map(|at| format!(" on {at}")).unwrap_or_default();
                format!("the tally key …{tail} was revoked{at}; ask for a new one")
            }
        }
    }
}

/// Why something could not be done with a key; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// What was asked for can not be made.
    #[error("{0}")]
    Invalid(String),
    /// There are too many.
    #[error("there are {MAX_KEYS} tally keys that are not revoked, which is the most; revoke those nobody needs")]
    Full,
    /// A form came twice.
    #[error("this form made the key …{0} already, whose text was shown then; open the page anew to make another")]
    Made(String),
    /// No key is called so.
    #[error(
        "there is no tally key {0:?}; name it by its ID or its last four characters: `tallyd key list` and the page Keys show them all"
    )]
    NotFound(String),
    /// A tail means several keys.
    #[error("{0} means several tally keys; name one by its ID: {1}")]
    Ambiguous(String, String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TallyKeys {
    /// Reads the keys that `store` keeps. `upstreams` are the names of the configured OpenRouter keys; `zone` is that of
    /// dates without one.
    pub async fn open(
        store: Store,
        upstreams: Vec<String>,
        zone: Tz,
        clock: Clock,
        entropy: Entropy,
    ) -> Result<Self, StoreError> {
        let keys = Self { store, clock, entropy, zone, upstreams, held: ArcSwap::default(), reading: Mutex::new(()) };
        keys.refresh().await?;
        Ok(keys)
    }

    /// Whether a key was ever made, of whatever state now: open mode is over then.
    pub fn were_made(&self) -> bool {
        !self.held.load().by_sha256.is_empty()
    }

    /// How many keys may be used now.
    pub fn active(&self) -> usize {
        let now = self.clock.now();
        self.held.load().by_sha256.values().filter(|held| held.key.state(now) == KeyState::Active).count()
    }

    /// Names of the configured OpenRouter keys, which a tally key can stand for.
    pub fn upstreams(&self) -> &[String] {
        &self.upstreams
    }

    /// The key with this text, if it may be used; that it was is noted.
    pub fn admit(&self, text: &str) -> Result<Arc<TallyKey>, KeyRefused> {
        let held = self.held.load();
        let found = held.by_sha256.get(&KeyFingerprint::of(text).sha256).ok_or(KeyRefused::Unknown)?;
        let (key, now) = (Arc::clone(&found.key), self.clock.now());
        match key.state(now) {
            KeyState::Active => {
                found.used_ms.fetch_max(now.millis(), Ordering::Relaxed);
                Ok(key)
            }
            KeyState::Expired => Err(KeyRefused::Expired(key)),
            KeyState::Revoked => Err(KeyRefused::Revoked(key)),
        }
    }

    /// Makes a key. `id` is that of the form it was asked with, which makes one key alone; `None`: a new one.
    pub async fn create(&self, wanted: Wanted, id: Option<TallyKeyId>) -> Result<NewKey, KeysError> {
        let now = self.clock.now();
        let (labels, upstream, expires_at) = wanted.check(&self.upstreams, self.zone, now)?;
        let unrevoked = |held: &Held| held.by_sha256.values().filter(|held| held.key.revoked_at.is_none()).count();
        if unrevoked(&self.held.load()) >= MAX_KEYS {
            return Err(KeysError::Full);
        }
        let text = tally_key::make(|| self.entropy.next_u64());
        let key = TallyKey {
            id: id.unwrap_or_else(|| self.new_id()),
            fingerprint: KeyFingerprint::of(&text),
            labels,
            upstream,
            created_at: now,
            expires_at,
            revoked_at: None,
            last_used_at: None,
        };
        let mut tx = self.store.write().await?;
        if !tally_keys::insert(&mut tx, &key).await? {
            tx.rollback().await?;
            let made = tally_keys::named(&self.store, &key.id.to_string(), "", 1).await?.pop();
            return Err(KeysError::Made(made.map(|key| key.fingerprint.tail).unwrap_or_default()));
        }
        tx.commit().await?;
        self.refresh().await?;
        tracing::info!(id = %key.id, key = %key.fingerprint, upstream = key.upstream, "a tally key was made");
        Ok(NewKey { key, text: text.into() })
    }

    /// An ID for a form.
    pub fn new_id(&self) -> TallyKeyId {
        TallyKeyId::new(self.clock.now(), self.entropy.next_u128())
    }

    /// The key of an ID, or of the last four characters of one that is not revoked.
    pub async fn find(&self, name: &str) -> Result<TallyKey, KeysError> {
        let name = name.trim().trim_start_matches(ELLIPSIS);
        let id = name.to_ascii_lowercase();
        let mut found = tally_keys::named(&self.store, &id, name, MAX_NAMED).await?;
        if let Some(exact) = found.iter().position(|key| key.id.to_string() == id) {
            return Ok(found.swap_remove(exact));
        }
        match found.len() {
            0 => Err(KeysError::NotFound(repeatable(name, MAX_SHOWN))),
            1 => Ok(found.swap_remove(0)),
            _ => {
                let ids: Vec<String> = found.iter().map(|key| key.id.to_string()).collect();
                Err(KeysError::Ambiguous(name.to_owned(), ids.join(", ")))
            }
        }
    }

    /// Ends the key of that name (see [`TallyKeys::find`]), at once; one that is revoked stays as it is.
    pub async fn revoke(&self, name: &str) -> Result<TallyKey, KeysError> {
        let key = self.find(name).await?;
        let mut tx = self.store.write().await?;
        tally_keys::revoke(&mut tx, key.id, self.clock.now()).await?;
        tx.commit().await?;
        self.refresh().await?;
        if key.revoked_at.is_none() {
            tracing::info!(id = %key.id, key = %key.fingerprint, "a tally key was revoked");
        }
        self.find(&key.id.to_string()).await
    }

    /// Reads the keys again, as another daemon may have made or revoked some.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let _reading = self.reading.lock().await;
        let keys = tally_keys::held(&self.store, MAX_HELD).await?;
        let before = self.held.load_full();
        let millis = |at: Option<Timestamp>| at.map_or(0, Timestamp::millis);
        let held = keys.into_iter().map(|key| {
            let noted = millis(key.last_used_at);
            let known = before.by_sha256.get(&key.fingerprint.sha256);
            let used = known.map_or(noted, |known| known.used_ms.load(Ordering::Relaxed).max(noted));
            let held = HeldKey { used_ms: AtomicI64::new(used), noted_ms: AtomicI64::new(noted), key: Arc::new(key) };
            (held.key.fingerprint.sha256.clone(), held)
        });
        self.held.store(Arc::new(Held { by_sha256: held.collect() }));
        // A call between the reading above and here noted its use in what was replaced.
        let now = self.held.load();
        for (sha256, old) in &before.by_sha256 {
            if let Some(new) = now.by_sha256.get(sha256) {
                new.used_ms.fetch_max(old.used_ms.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Writes when keys were last used, all at once; nothing where none was since the last time.
    pub async fn note_uses(&self) -> Result<(), StoreError> {
        let held = self.held.load_full();
        let news: Vec<(&HeldKey, i64)> = held
            .by_sha256
            .values()
            .map(|held| (held, held.used_ms.load(Ordering::Relaxed)))
            .filter(|(held, used)| *used > held.noted_ms.load(Ordering::Relaxed))
            .collect();
        if news.is_empty() {
            return Ok(());
        }
        let uses: Vec<(TallyKeyId, Timestamp)> =
            news.iter().map(|(held, used)| (held.key.id, Timestamp(*used))).collect();
        let mut tx = self.store.write().await?;
        tally_keys::used(&mut tx, &uses).await?;
        tx.commit().await?;
        for (held, used) in news {
            held.noted_ms.fetch_max(used, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The last use that is known here, in the database or not yet.
    fn last_used(&self, key: &TallyKey) -> Option<Timestamp> {
        let held = self.held.load();
        let used = held.by_sha256.get(&key.fingerprint.sha256).map(|held| held.used_ms.load(Ordering::Relaxed));
        key.last_used_at.max(used.filter(|used| *used > 0).map(Timestamp))
    }
}

/// What a call says of itself, under what its key says.
pub fn labelled(attribution: Attribution, key: Option<&TallyKey>) -> Attribution {
    match key {
        Some(key) => attribution.under(&key.labels),
        None => attribution,
    }
}
