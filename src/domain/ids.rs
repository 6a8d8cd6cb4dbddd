//! Names of things: generation IDs, our own call IDs, key fingerprints.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

use super::time::Timestamp;

/// Longest generation ID accepted, in bytes; today's are about 35.
pub const MAX_GENERATION_ID: usize = 128;

/// How far a second embedded in a generation ID may lie from now before it is ignored: 31 days back, 5 minutes ahead.
const EMBEDDED_BACK_MS: i64 = 31 * super::time::DAY_MS;
/// How far back it may lie in an ID that is imported: four years.
const EMBEDDED_YEARS_MS: i64 = 4 * 365 * super::time::DAY_MS;
const EMBEDDED_AHEAD_MS: i64 = 5 * 60 * 1000;

/// Why a text is not an ID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// It does not look like `gen-…`.
    #[error(
        "a generation ID looks like gen-1789000001-A1b2C3d4E5f6G7h8I9j0: 'gen-', then letters, digits, '-' and '_', at most 128 characters"
    )]
    NotAGenerationId,
    /// It is not one of our call IDs.
    #[error("a call ID is 26 letters and digits, as the column call_id shows it")]
    NotACallId,
}

/// OpenRouter's ID of one generation: `^gen-[A-Za-z0-9_-]+$`. No meaning is ever parsed out of it but a hint of its second.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GenerationId(String);

impl GenerationId {
    /// The ID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The unix second embedded as `gen-<seconds>-…`, if it is plausible beside `now`. A hint only.
    pub fn embedded_second(&self, now: Timestamp) -> Option<Timestamp> {
        self.embedded_within(now, EMBEDDED_BACK_MS)
    }

    /// The same for an ID that may be old: OpenRouter has made IDs with seconds in them for some years.
    pub fn embedded_years_ago(&self, now: Timestamp) -> Option<Timestamp> {
        self.embedded_within(now, EMBEDDED_YEARS_MS)
    }

    fn embedded_within(&self, now: Timestamp, back_ms: i64) -> Option<Timestamp> {
        let seconds: i64 = self.0[4..].split('-').find(|part| part.len() == 10)?.parse().ok()?;
        let at = Timestamp(seconds.checked_mul(1000)?);
        let (from, until) = (now.plus_millis(-back_ms), now.plus_millis(EMBEDDED_AHEAD_MS));
        (from <= at && at <= until).then_some(at)
    }
}

impl FromStr for GenerationId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let tail = text.strip_prefix("gen-").ok_or(IdError::NotAGenerationId)?;
        let good = !tail.is_empty()
            && text.len() <= MAX_GENERATION_ID
            && tail.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if good { Ok(Self(text.to_owned())) } else { Err(IdError::NotAGenerationId) }
    }
}

impl Serialize for GenerationId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for GenerationId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(ByText(PhantomData))
    }
}

impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Our own ID of one call, unique and ordered by time: a ULID in lower case, 26 characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(ulid::Ulid);

impl CallId {
    /// The ID of a call seen at `at`, told apart from others of the same millisecond by `random` (80 bits used).
    pub fn new(at: Timestamp, random: u128) -> Self {
        Self(ulid::Ulid::from_parts(u64::try_from(at.millis()).unwrap_or(0), random))
    }
}

impl FromStr for CallId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        ulid::Ulid::from_string(text).map(Self).map_err(|_| IdError::NotACallId)
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = [0; ulid::ULID_LEN];
        let text = self.0.array_to_str(&mut buffer);
        text.make_ascii_lowercase();
        f.write_str(text)
    }
}

impl Serialize for CallId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CallId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(ByText(PhantomData))
    }
}

/// Reads an ID from its text where that stands: a journal is full of them, and copying each first is an allocation.
struct ByText<T>(PhantomData<T>);

impl<T: FromStr<Err = IdError>> Visitor<'_> for ByText<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an ID as text")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// What stands for an OpenRouter key wherever one is stored, shown or logged: its SHA-256 (hex) and last four characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct KeyFingerprint {
    /// SHA-256 of the key, 64 lower-case hex digits: OpenRouter's own `hash` of a key.
    pub sha256: String,
    /// The key's last four characters.
    pub tail: String,
}

impl KeyFingerprint {
    /// The fingerprint of `key`.
    pub fn of(key: &str) -> Self {
        let sha256 = sha256_hex(key);
        let start = key.char_indices().rev().nth(3).map_or(0, |(at, _)| at);
        Self { sha256, tail: key[start..].to_owned() }
    }
}

impl fmt::Display for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "…{}", self.tail)
    }
}

/// A text that somebody gave, as a message may repeat it: cut after `most` characters; a key in the wrong place not at all.
pub fn repeatable(text: &str, most: usize) -> String {
    let begins_word = |at: usize| text[..at].chars().next_back().is_none_or(|before| !before.is_alphanumeric());
    let holds = |prefix: &str| text.match_indices(prefix).any(|(at, _)| begins_word(at));
    let is_key = holds("sk-") || holds(super::tally_key::PREFIX);
    if is_key { "a key".to_owned() } else { text.chars().take(most).collect() }
}

/// 32 hex digits of a text's SHA-256: a name for something that has only an identity.
pub fn short_hash(identity: &str) -> String {
    let mut hash = sha256_hex(identity);
    hash.truncate(32);
    hash
}

fn sha256_hex(text: &str) -> String {
    use fmt::Write as _;
    use sha2::{Digest as _, Sha256};
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generation_ids_of_every_age_are_taken_and_nothing_else() {
        for good in
            ["gen-1785882264-Dc8eXAHSnjmKOswYtXdR", "gen-3bhGkxlo4XFrqiabUM7NDtwDzWwG", "gen-emb-1785882264-x_y"]
        {
            assert!(good.parse::<GenerationId>().is_ok(), "{good}");
        }
        for bad in ["gen-", "chatcmpl-1", "gen-a b", "gen-ü", "", "GEN-1", &format!("gen-{}", "a".repeat(125))] {
            assert!(bad.parse::<GenerationId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_embedded_second_is_a_hint_only_when_plausible() {
        let id: GenerationId = "gen-1785882264-Dc8eXAHSnjmKOswYtXdR".parse().unwrap();
        assert_eq!(id.embedded_second(Timestamp(1_785_882_300_000)), Some(Timestamp(1_785_882_264_000)));
        assert_eq!(id.embedded_second(Timestamp(1_700_000_000_000)), None);
        let typed: GenerationId = "gen-emb-1785882264-abc".parse().unwrap();
        assert!(typed.embedded_second(Timestamp(1_785_882_300_000)).is_some());
    }

    #[test]
    fn four_characters_are_kept_of_a_key() {
        assert_eq!(KeyFingerprint::of("sk-or-v1-0123456789abcdef").to_string(), "…cdef");
        assert_eq!(KeyFingerprint::of("…éß").tail, "…éß");
    }

    #[test]
    fn messages_repeat_no_key() {
        assert_eq!(repeatable("task-7 of desk-9", 6), "task-7");
        for key in ["sk-or-v1-a", "tally-a", "invalid type: string \"tally-a\"", "key=sk-ant-1"] {
            assert_eq!(repeatable(key, 99), "a key", "{key}");
        }
    }

    #[test]
    fn call_ids_read_back() {
        let id = CallId::new(Timestamp(1_785_882_264_123), 42);
        assert_eq!(id.to_string().parse::<CallId>(), Ok(id));
        assert_eq!(id.to_string().len(), 26);
    }
}
