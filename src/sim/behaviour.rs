//! How one call is to go: faults and shapes, asked for in one small language.
//!
//! A behaviour is `key=value` pairs parted by `;`, the same wherever one is given: in the request header `X-Sim`, in
//! [`SimConfig::behaviour`](super::SimConfig), its chances, or a script. Later settings win: configuration, then chance,
//! then script, then header. An unknown key or value is an error, never ignored.

use std::str::FromStr;

use super::picos::Notation;

/// Most bytes of text a call can be asked to produce.
pub const MAX_BIG: usize = 256 << 20;

/// Why a text is not a behaviour.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BehaviourError {
    /// A part without `=`.
    #[error("'{0}' is not key=value")]
    NotAPair(String),
    /// A key that does not exist.
    #[error("there is no behaviour '{key}'; there are: {}", KEYS.join(", "))]
    UnknownKey {
        /// What was asked for.
        key: String,
    },
    /// A value that its key does not take.
    #[error("'{value}' is not a value of '{key}'")]
    BadValue {
        /// The key.
        key: &'static str,
        /// What was given.
        value: String,
    },
}

macro_rules! words {
    ($(#[$outer:meta])* $name:ident { $($(#[$inner:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$inner])* $variant,)* }

        impl FromStr for $name {
            type Err = ();
            fn from_str(word: &str) -> Result<Self, ()> {
                match word {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(()),
                }
            }
        }
    };
}

words! {
    /// Where the simulator falls silent for ever.
    Hang {
        /// Before the head.
        Head = "head",
        /// After the head and the first event.
        Body = "body",
    }
}

words! {
    /// How a reply is cut.
    Cut {
        /// In the middle of the next event's JSON.
        Json = "json",
        /// Between two events.
        Frame = "frame",
        /// Between two events, and as if the reply had ended properly.
        Clean = "clean",
        /// In the middle of the next event, with a TCP reset.
        Reset = "reset",
    }
}

words! {
    /// What the reply says of its usage.
    Usage {
        /// The finish chunk comes twice, the second time with usage: the wire's usual form.
        Twice = "twice",
        /// A chunk of its own with empty choices: the documented form.
        Empty = "empty",
        /// Tokens without a cost.
        NoCost = "no_cost",
        /// Tokens with `"cost":null`.
        NullCost = "null_cost",
        /// Nothing.
        None = "none",
    }
}

words! {
    /// Form of the code in a mid-stream error.
    Code {
        /// `502`, today's.
        Number = "number",
        /// `"server_error"`, the old one.
        Text = "text",
        /// None.
        Missing = "missing",
    }
}

words! {
    /// The event in which `/responses` tells that the provider failed.
    Failure {
        /// `response.failed`, with the response in it: the wire's usual form.
        Failed = "failed",
        /// `response.error`, with the error in it.
        ResponseError = "response.error",
        /// `error`, with code and message beside the type.
        Error = "error",
    }
}

words! {
    /// Where a reply with status 200 hides its error.
    Embedded {
        /// In `choices[0].error`.
        Choice = "choice",
        /// At the top.
        Top = "top",
    }
}

words! {
    /// Which of a status's error bodies.
    ErrorForm {
        /// What the wire usually shows.
        Usual = "usual",
        /// With the provider's own text in `metadata.raw`, as older replies had it.
        Raw = "raw",
        /// `availability` and no code, as since August 2026.
        Availability = "availability",
        /// 402: plainly no credit. 429: OpenRouter's own limit. 403: a guardrail.
        Other = "other",
        /// 403: a workspace budget.
        Budget = "budget",
        /// An HTML page of the edge.
        Html = "html",
        /// No body at all.
        Nothing = "nothing",
    }
}

words! {
    /// How a reply's length is told.
    Framing {
        /// With `Content-Length`.
        Length = "length",
        /// In chunks.
        Chunked = "chunked",
    }
}

words! {
    /// Line ends of an event stream.
    Eol {
        /// `\n`.
        Lf = "lf",
        /// `\r\n`.
        Crlf = "crlf",
    }
}

words! {
    /// Which name of the model the reply carries.
    Named {
        /// The catalogue's ID.
        Id = "id",
        /// The dated one.
        Permaslug = "permaslug",
    }
}

words! {
    /// A content coding.
    Coding {
        /// The first of the caller's codings that the simulator can write.
        Auto = "auto",
        /// RFC 1952.
        Gzip = "gzip",
        /// RFC 1950 around RFC 1951, which is what HTTP means by the word.
        Deflate = "deflate",
        /// RFC 1951 bare under the same label, as some servers send it.
        RawDeflate = "raw-deflate",
        /// RFC 7932.
        Brotli = "br",
        /// RFC 8878.
        Zstd = "zstd",
        /// A coding nobody knows.
        Unknown = "x-unknown",
    }
}

/// A yes or no: `1` or `0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag(pub bool);

impl FromStr for Flag {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "1" => Ok(Self(true)),
            "0" => Ok(Self(false)),
            _ => Err(()),
        }
    }
}

impl FromStr for Notation {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "javascript" => Ok(Self::JavaScript),
            "python" => Ok(Self::Python),
            "plain" => Ok(Self::Plain),
            _ => Err(()),
        }
    }
}

macro_rules! behaviours {
    ($($(#[$doc:meta])* $key:ident: $kind:ty,)*) => {
        /// How one call is to go; `None` leaves a matter to the simulator.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Behaviour { $($(#[$doc])* pub $key: Option<$kind>,)* }

        /// Every key, in the order of the fields.
        pub const KEYS: &[&str] = &[$(stringify!($key),)*];

        impl Behaviour {
            fn set(&mut self, key: &str, value: &str) -> Result<(), BehaviourError> {
                match key {
                    $(stringify!($key) => {
                        let bad = |_| BehaviourError::BadValue { key: stringify!($key), value: value.to_owned() };
                        self.$key = Some(value.parse::<$kind>().map_err(bad)?);
                    })*
                    _ => return Err(BehaviourError::UnknownKey { key: key.to_owned() }),
                }
                Ok(())
            }
        }
    };
}

behaviours! {
    // The head.
    /// Answer with this status instead of a completion.
    status: u16,
    /// Which error body.
    form: ErrorForm,
    /// Seconds of `Retry-After` beside an error status.
    retry_after: u32,
    /// `Location` beside a 3xx status.
    location: String,
    /// An error status carries a generation ID (whose record never comes, unless `error_billed`).
    error_id: Flag,
    /// A failed call is billed for its tokens all the same.
    error_billed: Flag,
    /// Milliseconds before the head.
    head_ms: u64,
    /// Never answer, or never end.
    hang: Hang,
    /// Reset the connection before the head.
    reset: Flag,
    /// No `X-Generation-Id`.
    no_id: Flag,
    /// No `id` in the body.
    no_body_id: Flag,
    /// One more `Set-Cookie` of this name.
    cookie: String,
    /// Hop-by-hop headers: `Connection: close-hint`, what it names, `Keep-Alive`, `Proxy-Authenticate`.
    hop: Flag,

    // The body.
    /// Content events of a stream.
    chunks: u32,
    /// Milliseconds before each of them.
    chunk_ms: u64,
    /// Bytes of text in each.
    chunk_bytes: usize,
    /// Bytes of text in all.
    big: usize,
    /// The text's words.
    text: String,
    /// Each piece of a stream's text is the clock's elapsed time when it was made, in microseconds.
    stamped: Flag,
    /// A chat stream starts with a chunk without choices, as it does when the upstream body is echoed.
    empty_first: Flag,
    /// Send in pieces of this many bytes, whatever they split.
    split: usize,
    /// Milliseconds between pieces.
    split_ms: u64,
    /// Cut the reply after this many content events (streams) or pieces (others).
    cut: u32,
    /// How.
    cut_how: Cut,
    /// A mid-stream error after this many content events.
    error_after: u32,
    /// Form of its code.
    error_code: Code,
    /// In which event of `/responses`.
    error_event: Failure,
    /// An error inside a reply with status 200 (not streamed).
    embedded: Embedded,
    /// A stream says nothing but comments before its content event of this number, counted from 0.
    stall_after: u32,
    /// For so many milliseconds.
    stall_ms: u64,
    /// A stream reasons, and answers nothing.
    only_reasoning: Flag,
    /// The head names the provider in `X-Provider-Name`.
    provider_header: Flag,
    /// What the reply says of its usage.
    usage: Usage,
    /// The reply's usage counts this many output tokens fewer than are billed.
    inline_short: u32,
    /// How small numbers are written.
    notation: Notation,
    /// Line ends of a stream.
    eol: Eol,
    /// Keep-alive comments before the first event.
    comments: u32,
    /// One of them as `data: : OPENROUTER PROCESSING`.
    odd_comment: Flag,
    /// No `[DONE]`.
    no_done: Flag,
    /// Compress, if the caller accepts that coding.
    coding: Coding,
    /// Compress, whatever the caller accepts.
    forced_coding: Coding,
    /// Trailers after the body.
    trailers: Flag,
    /// How the length of a reply that is not streamed is told.
    framing: Framing,
    /// Blank lines before the JSON of a reply that is not streamed.
    padding: u32,
    /// Which name of the model the reply carries.
    named: Named,

    // What is generated and billed.
    /// Tokens of the prompt.
    prompt_tokens: u32,
    /// Tokens of the completion, reasoning included.
    completion_tokens: u32,
    /// Prompt tokens read from the provider's cache.
    cached: u32,
    /// Prompt tokens written to it.
    cache_write: u32,
    /// Completion tokens that were reasoning.
    reasoning: u32,
    /// The provider by name or slug.
    provider: String,
    /// Refused attempts before the one that answers.
    fallbacks: u32,
    /// The caller's own provider key is used.
    byok: Flag,
    /// And OpenRouter's fee of 5 % is due.
    byok_fee: Flag,
    /// Answered from OpenRouter's response cache.
    cache_hit: Flag,
    /// Why it ended.
    finish: String,
    /// Milliseconds until a film is made: before that its job tells no cost, and its record shows nothing.
    job_ms: u64,
    /// A cancelled call costs nothing.
    free_cancel: Flag,

    // The generation record.
    /// Milliseconds until it can be read.
    lag_ms: u64,
    /// It never can.
    never: Flag,
    /// First readings that see zero tokens and no cost.
    zero_reads: u32,
    /// First readings that are answered `read_status`, after the lag.
    bad_reads: u32,
    /// With what (default 500).
    read_status: u16,
    /// `Retry-After` of those, seconds.
    read_retry_after: u32,
    /// First readings that are answered with something that is no JSON.
    garbage_reads: u32,
    /// First readings that are never answered.
    hung_reads: u32,
    /// The record names another generation.
    wrong_id: Flag,
    /// The record lacks the fields that came in 2026.
    old_record: Flag,
    /// The record has fields, values and a number form that nobody documented.
    odd_record: Flag,
}

impl Behaviour {
    /// Lays the settings of `text` over these.
    pub fn apply(&mut self, text: &str) -> Result<(), BehaviourError> {
        for pair in text.split(';').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(|| BehaviourError::NotAPair(pair.to_owned()))?;
            self.set(key.trim(), value.trim())?;
        }
        if let Some(big) = &mut self.big {
            *big = (*big).min(MAX_BIG);
        }
        Ok(())
    }

    /// Whether a yes-or-no setting is on.
    pub(super) fn on(flag: Option<Flag>) -> bool {
        flag == Some(Flag(true))
    }
}

impl FromStr for Behaviour {
    type Err = BehaviourError;
    fn from_str(text: &str) -> Result<Self, BehaviourError> {
        let mut behaviour = Self::default();
        behaviour.apply(text)?;
        Ok(behaviour)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_settings_win_and_mistakes_are_named() {
        let mut behaviour: Behaviour = "status=429; retry_after=40 ;byok=1".parse().unwrap();
        behaviour.apply("status=503").unwrap();
        assert_eq!((behaviour.status, behaviour.retry_after), (Some(503), Some(40)));
        assert!(Behaviour::on(behaviour.byok));
        assert_eq!("x".parse::<Behaviour>(), Err(BehaviourError::NotAPair("x".to_owned())));
        assert!("stauts=1".parse::<Behaviour>().unwrap_err().to_string().contains("no behaviour 'stauts'"));
        assert!(
            "usage=some".parse::<Behaviour>().unwrap_err().to_string().contains("'some' is not a value of 'usage'")
        );
    }
}
