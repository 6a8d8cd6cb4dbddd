//! Tally keys: what callers bring in place of an OpenRouter key, and what is kept of one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::attribution::Attribution;
use super::ids::KeyFingerprint;
use super::time::Timestamp;

/// What every tally key starts with.
pub const PREFIX: &str = "tally-";

/// Letters and digits after [`PREFIX`]: 43 of 62 hold 256 bits.
pub const SECRET_LENGTH: usize = 43;

/// What the secret part is made of; no sign among them, so that a tail is a word to every shell.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A new key's text, of 64-bit numbers that `random` gives; numbers must be unpredictable.
pub fn make(mut random: impl FnMut() -> u64) -> String {
    let mut text = PREFIX.to_owned();
    while text.len() < PREFIX.len() + SECRET_LENGTH {
        let bits = random();
        for six in (0..10).map(|at| usize::try_from(bits >> (6 * at) & 63).unwrap_or(63)) {
            // Two of 64 are passed over, so that each letter is as likely as another.
            if let Some(&letter) = ALPHABET.get(six)
                && text.len() < PREFIX.len() + SECRET_LENGTH
            {
                text.push(char::from(letter));
            }
        }
    }
    text
}

/// Our own ID of a tally key: a ULID in lower case, 26 characters, in the order in which keys were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TallyKeyId(ulid::Ulid);

/// The text is no ID of a tally key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ID of a tally key is 26 letters and digits, as `tallyd key list` shows it")]
pub struct NotAKeyId;

impl TallyKeyId {
    /// The ID of a key made at `at`, told apart from others of the same millisecond by `random` (80 bits used).
    pub fn new(at: Timestamp, random: u128) -> Self {
        Self(ulid::Ulid::from_parts(u64::try_from(at.millis()).unwrap_or(0), random))
    }

    /// When the ID was made.
    pub fn made_at(self) -> Timestamp {
        Timestamp(i64::try_from(self.0.timestamp_ms()).unwrap_or(i64::MAX))
    }
}

impl FromStr for TallyKeyId {
    type Err = NotAKeyId;
    fn from_str(text: &str) -> Result<Self, NotAKeyId> {
        ulid::Ulid::from_string(text).map(Self).map_err(|_| NotAKeyId)
    }
}

impl TryFrom<String> for TallyKeyId {
    type Error = NotAKeyId;
    fn try_from(text: String) -> Result<Self, NotAKeyId> {
        text.parse()
    }
}

impl From<TallyKeyId> for String {
    fn from(id: TallyKeyId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for TallyKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_string().to_ascii_lowercase())
    }
}

/// Whether a key may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It may.
    Active,
    /// Its time is over.
    Expired,
    /// Somebody ended it.
    Revoked,
}

impl KeyState {
    /// As the API and people read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// What is kept of a tally key; its text is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TallyKey {
    /// Ours, unique.
    pub id: TallyKeyId,
    /// What stands for the text.
    pub fingerprint: KeyFingerprint,
    /// What its calls are labelled with, before anything that they say themselves.
    pub labels: Attribution,
    /// Name of the configured OpenRouter key that its calls are made with (`default` is `openrouter.api_key`).
    pub upstream: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked; `None`: it was not.
    pub revoked_at: Option<Timestamp>,
    /// When a call last came with it, to the minute; `None`: none did.
    pub last_used_at: Option<Timestamp>,
}

impl TallyKey {
    /// Whether it may be used at `now`.
    pub fn state(&self, now: Timestamp) -> KeyState {
        if self.revoked_at.is_some() {
            KeyState::Revoked
        } else if self.expires_at.is_some_and(|end| end <= now) {
            KeyState::Expired
        } else {
            KeyState::Active
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_form_and_every_letter_is_as_likely() {
        let mut state = 1_u64;
        // SplitMix64: even enough to see a letter that is missing or twice as frequent.
        let mut random = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ (mixed >> 31)
        };
        let mut seen = std::collections::BTreeMap::<char, u32>::new();
        for _ in 0..1_442 {
            let key = make(&mut random);
            let secret = key.strip_prefix(PREFIX).unwrap();
            assert_eq!(secret.len(), SECRET_LENGTH);
            for letter in secret.chars() {
                *seen.entry(letter).or_default() += 1;
            }
        }
        // 1,442 keys of 43 letters: each of 62 about a thousand times.
        assert_eq!(seen.len(), 62);
        assert!(seen.values().all(|times| (800..1_200).contains(times)), "{seen:?}");
    }

    #[test]
    fn a_key_ends_at_its_instant_and_stays_revoked() {
        let mut key = TallyKey {
            id: TallyKeyId::new(Timestamp(5), 1),
            fingerprint: KeyFingerprint::of("tally-x"),
            labels: Attribution::default(),
            upstream: "default".to_owned(),
            created_at: Timestamp(5),
            expires_at: Some(Timestamp(10)),
            revoked_at: None,
            last_used_at: None,
        };
        assert_eq!(key.id.made_at(), Timestamp(5));
        assert_eq!(key.id.to_string().parse(), Ok(key.id));
        assert_eq!((key.state(Timestamp(9)), key.state(Timestamp(10))), (KeyState::Active, KeyState::Expired));
        key.revoked_at = Some(Timestamp(7));
        assert_eq!(key.state(Timestamp(8)), KeyState::Revoked);
    }
}
