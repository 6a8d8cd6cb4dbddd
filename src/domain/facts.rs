//! What a source can tell about one generation, and which source wins, field by field.
//!
//! Sources arrive in any order and more than once; the strongest that named a field keeps it, so
//! that every order gives the same row. [`Provenance`] remembers who named what.

use serde::{Deserialize, Serialize};

use super::money::Money;
use super::time::Timestamp;

/// Who told something about a generation, weakest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Nobody yet.
    #[default]
    None,
    /// The caller told us the ID (and perhaps labels).
    Told,
    /// The reply that passed through the gateway.
    Reply,
    /// OpenRouter Broadcast.
    Broadcast,
    /// OpenRouter's log export.
    Export,
    /// The generation record.
    Record,
}

impl Source {
    const fn letter(self) -> char {
        match self {
            Self::None => '-',
            Self::Told => 't',
            Self::Reply => 'r',
            Self::Broadcast => 'b',
            Self::Export => 'e',
            Self::Record => 'g',
        }
    }

    const fn from_letter(letter: u8) -> Self {
        match letter {
            b't' => Self::Told,
            b'r' => Self::Reply,
            b'b' => Self::Broadcast,
            b'e' => Self::Export,
            b'g' => Self::Record,
            _ => Self::None,
        }
    }
}

/// Most tokens that a source is believed to count for one call: far beyond any, and far below where sums overflow.
pub const MAX_TOKENS: i64 = 1_000_000_000_000;

macro_rules! facts {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        /// What one source says of a generation; `None` is "not said".
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Facts {
            $($(#[$doc])* #[serde(skip_serializing_if = "Option::is_none")] pub $name: Option<$type>,)*
        }

        #[expect(non_camel_case_types, reason = "named exactly as the fields they count")]
        enum Field { $($name,)* Count }

        impl Facts {
            /// Takes every field that `other` names and that no stronger source has named before.
            pub(super) fn merge(&mut self, provenance: &mut Provenance, other: &Facts, source: Source) {
                $(if other.$name.is_some() && provenance.admits(Field::$name as usize, source) {
                    self.$name.clone_from(&other.$name);
                    provenance.0[Field::$name as usize] = source;
                })*
            }

            /// Takes every field of `other` that a stronger source has named there.
            pub(super) fn absorb(&mut self, provenance: &mut Provenance, other: &Facts, theirs: &Provenance) {
                $({
                    let source = theirs.0[Field::$name as usize];
                    if other.$name.is_some() && (self.$name.is_none() || source > provenance.0[Field::$name as usize]) {
                        self.$name.clone_from(&other.$name);
                        provenance.0[Field::$name as usize] = source;
                    }
                })*
            }
        }
    };
}

facts! {
    /// When OpenRouter created the generation.
    created_at: Timestamp,
    /// The model ID of the reply, such as `openai/gpt-4o-mini`.
    reply_model: String,
    /// The permaslug of the generation record, such as `openai/gpt-4o-mini-2024-07-18`.
    permaslug: String,
    /// The provider that served, by its display name.
    provider: String,
    /// Why the model stopped.
    finish_reason: String,
    /// Whether the reply was a stream.
    streamed: bool,
    /// Whether the call was cancelled, as OpenRouter says.
    cancelled: bool,
    /// Whether the caller's own provider key paid for inference.
    is_byok: bool,
    /// Prompt tokens, normalised.
    tokens_prompt: i64,
    /// Completion tokens, normalised.
    tokens_completion: i64,
    /// Prompt tokens as the provider counts and bills them.
    native_tokens_prompt: i64,
    /// Completion tokens as the provider counts and bills them, reasoning included.
    native_tokens_completion: i64,
    /// Reasoning tokens, a part of the completion's.
    native_tokens_reasoning: i64,
    /// Prompt tokens read from the provider's cache, a part of the prompt's.
    native_tokens_cached: i64,
    /// Prompt tokens written to the provider's cache; only replies tell.
    cache_write_tokens: i64,
    /// What the reply (or Broadcast) says was charged by OpenRouter.
    inline_cost: Money,
    /// What the reply (or Broadcast) says the provider charges; counts only under BYOK.
    inline_upstream_cost: Money,
    /// What the generation record (or log export) says was charged by OpenRouter.
    settled_cost: Money,
    /// What the generation record (or log export) says the provider charges; counts only under BYOK.
    settled_upstream_cost: Money,
    /// Saved by the prompt cache; negative when writing the cache cost extra.
    cache_discount: Money,
    /// Latency as OpenRouter reports it, in milliseconds; behaves as time to first token.
    latency_ms: i64,
    /// Generation time as OpenRouter reports it, in milliseconds.
    generation_time_ms: i64,
    /// Attempts at providers that OpenRouter made, the one that answered included.
    attempts: i64,
    /// Those of them that failed.
    failed_attempts: i64,
    /// The job that the reply opened (`/videos`), under which its cost is told.
    job_id: String,
}

impl Facts {
    /// Forgets counts of tokens that no call can have: below zero, or above [`MAX_TOKENS`]. Whether there were any.
    pub(super) fn forget_absurd_tokens(&mut self) -> bool {
        let counts = [
            &mut self.tokens_prompt,
            &mut self.tokens_completion,
            &mut self.native_tokens_prompt,
            &mut self.native_tokens_completion,
            &mut self.native_tokens_reasoning,
            &mut self.native_tokens_cached,
            &mut self.cache_write_tokens,
        ];
        let mut any = false;
        for count in counts {
            if count.is_some_and(|count| !(0..=MAX_TOKENS).contains(&count)) {
                *count = None;
                any = true;
            }
        }
        any
    }
}

/// Which source named each field of a [`Facts`]; one letter a field in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance([Source; Field::Count as usize]);

impl Default for Provenance {
    fn default() -> Self {
        Self([Source::None; Field::Count as usize])
    }
}

impl Provenance {
    fn admits(&self, field: usize, source: Source) -> bool {
        source >= self.0[field]
    }

    /// One letter a field, `-` where nobody has spoken; trailing `-` left off.
    pub fn to_text(&self) -> String {
        let text: String = self.0.iter().map(|source| source.letter()).collect();
        text.trim_end_matches('-').to_owned()
    }

    /// Reads [`Provenance::to_text`]; a shorter text (of an older version) leaves the rest at "nobody".
    pub fn from_text(text: &str) -> Self {
        let mut provenance = Self::default();
        for (slot, letter) in provenance.0.iter_mut().zip(text.bytes()) {
            *slot = Source::from_letter(letter);
        }
        provenance
    }
}

/// What a generation record says, reduced to what is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GenerationRecord {
    /// The fields that have a column.
    pub facts: Facts,
    /// `external_user`: the request's `user`; fills a gap in attribution.
    pub external_user: Option<String>,
    /// `session_id`; fills a gap in attribution.
    pub session_id: Option<String>,
    /// The record's other named fields, and numbers and booleans of unknown ones, as compact JSON.
    pub kept_json: String,
    /// The record names another ID than the one asked for.
    pub id_differs: bool,
    /// The reply came from OpenRouter's response cache, so a zero cost is the truth.
    pub response_cache_hit: bool,
    /// The highest status among the provider attempts that failed, if all did.
    pub failed_provider_status: Option<u16>,
    /// Who was tried, in order; `None` where the record does not say of an attempt.
    pub tried: Vec<Option<String>>,
}

impl GenerationRecord {
    /// Whether every figure is still zero, as records show before they are final (openrouter.md section 3).
    pub fn is_zero(&self) -> bool {
        let zero = |tokens: Option<i64>| tokens.unwrap_or(0) == 0;
        self.facts.settled_cost.is_none_or(|cost| cost == Money::ZERO)
            && self.facts.settled_upstream_cost.is_none_or(|cost| cost == Money::ZERO)
            && zero(self.facts.native_tokens_prompt)
            && zero(self.facts.native_tokens_completion)
    }
}
