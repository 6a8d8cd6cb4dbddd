//! What the gateway saw of a call, in the order it saw it: the journal's records.
//!
//! A record is JSON so that a newer version reads an older journal; the journal itself does not look
//! inside. None carries a prompt, a completion or a key.

use serde::{Deserialize, Serialize};

use super::attribution::{Attribution, KeyRef};
use super::facts::{Facts, GenerationRecord};
use super::ids::{CallId, GenerationId};
use super::money::Money;
use super::tally_key::TallyKeyId;
use super::time::Timestamp;

/// Room made for a record's bytes: most have less.
const USUAL_BYTES: usize = 1024;

/// One thing seen of one call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observation {
    /// The request is about to go upstream.
    Sent(Box<Sent>),
    /// The reply's head came; written at once, synced with the next group.
    Head(Head),
    /// The call is over; synced before the client sees the end.
    Outcome(Box<Outcome>),
    /// The outcome reached the client before the disk had confirmed it (`journal.sync_timeout`).
    NotSynced {
        /// The call.
        call_id: CallId,
    },
    /// tallyd itself refused the call.
    Refused(Box<Refused>),
    /// A job that an earlier call opened told what it cost, or that it failed; synced before the client sees the end.
    Job(Box<JobSeen>),
}

/// The request, as it goes upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// Our ID of the call.
    pub call_id: CallId,
    /// When it was sent, by our clock.
    pub at: Timestamp,
    /// The path below `/api/v1/`, such as `chat/completions`.
    pub endpoint: String,
    /// The key it goes upstream with.
    pub key: KeyRef,
    /// The tally key that it came with, if it came with one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tally_key: Option<TallyKeyId>,
    /// Who it is for.
    pub attribution: Attribution,
    /// The request's `model`, or the first of `models`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_model: Option<String>,
    /// The request's `models`, in its order.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub models: Vec<String>,
    /// What was asked of providers, as compact JSON (`usage.routing`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routing: Option<String>,
    /// Whether a stream was asked for; `None` when the body was not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streamed: Option<bool>,
    /// See [`super::flags`].
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub flags: Vec<String>,
    /// What is held back for it of budgets that block, in pico-dollars; `None` when nothing is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub estimate: Option<Money>,
}

/// The reply's head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// Our ID of the call.
    pub call_id: CallId,
    /// When the head came, by our clock: `created_at` until OpenRouter's own is known.
    pub at: Timestamp,
    /// `X-Generation-Id`.
    pub generation_id: Option<GenerationId>,
    /// The HTTP status.
    pub status: u16,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The reply came to its end.
    Complete,
    /// The client went away; upstream was closed or read to its end.
    ClientLeft,
    /// The connection upstream broke, or the stream ended without an end.
    Cut,
    /// The request was sent and no head ever came: it may have been billed.
    NoReply,
    /// No connection upstream could be made: it was never sent, so it cost nothing.
    NeverSent,
}

/// What is kept of an error: never a provider's text, `flagged_input`, `raw` or `patterns`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorFacts {
    /// `error.code`, a number or a string on the wire; the HTTP-like status of a mid-stream error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The typed `error_type`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    /// OpenRouter's own message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Everything known of a call when it was over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Our ID of the call.
    pub call_id: CallId,
    /// When it was over, by our clock.
    pub at: Timestamp,
    /// When the head came, where no [`Head`] tells it: the reply came whole, and both would have been synced together.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub head_at: Option<Timestamp>,
    /// How it ended.
    pub ending: Ending,
    /// The HTTP status; `None` when no head came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The generation ID: the head's, else the body's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation_id: Option<GenerationId>,
    /// What the reply said.
    pub facts: Facts,
    /// The reply's error, embedded, in mid-stream or as its status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorFacts>,
    /// From sending the request to the first byte of the reply's body, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte_ms: Option<i64>,
    /// From sending the request to the end, in milliseconds.
    pub duration_ms: i64,
    /// The reply came from OpenRouter's response cache.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub response_cache_hit: bool,
    /// See [`super::flags`].
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub flags: Vec<String>,
}

/// What a look at a job (`GET /videos/{job}`) told of the call that opened it.
///
/// It names the job alone: the call may have ended in another life of the daemon, so the ledger finds its row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobSeen {
    /// The job, as the path asked for it.
    pub job_id: String,
    /// When, by our clock.
    pub at: Timestamp,
    /// What the reply said.
    pub facts: Facts,
    /// Why the job failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorFacts>,
}

/// A call that tallyd did not send: no row of `usage`, counted in `refusals`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// When, by our clock.
    pub at: Timestamp,
    /// Why: an `error_type` of ours, such as `budget_exceeded` or `ledger_unavailable`.
    pub cause: String,
    /// The budget that refused it.
    pub budget: Option<String>,
    /// The app it was for.
    pub app: Option<String>,
    /// The key it came with.
    pub key_name: Option<String>,
    /// The model it asked for.
    pub requested_model: Option<String>,
    /// The path below `/api/v1/`.
    pub endpoint: String,
}

impl Observation {
    /// The journal's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(USUAL_BYTES);
        // Serialising these types cannot fail: no maps with odd keys, no fallible Serialize.
        match serde_json::to_writer(&mut bytes, self) {
            Ok(()) => bytes,
            Err(_) => Vec::new(),
        }
    }

    /// Reads the journal's bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// The call it belongs to; `None` for a refusal, and for a job, which names no call.
    pub fn call_id(&self) -> Option<CallId> {
        match self {
            Self::Sent(sent) => Some(sent.call_id),
            Self::Head(head) => Some(head.call_id),
            Self::Outcome(outcome) => Some(outcome.call_id),
            Self::NotSynced { call_id } => Some(*call_id),
            Self::Refused(_) | Self::Job(_) => None,
        }
    }
}

/// What somebody outside tells of a generation: its ID, and perhaps more.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The call ID to give it if it is new.
    pub call_id: CallId,
    /// When we were told.
    pub at: Timestamp,
    /// The ID.
    pub generation_id: GenerationId,
    /// The key to read it with; one without a fingerprint is OpenRouter's name for a key, and reads nothing.
    pub key: Option<KeyRef>,
    /// The tally key that it was told with, if it was one.
    pub tally_key: Option<TallyKeyId>,
    /// Labels told with it.
    pub attribution: Attribution,
    /// What is told beside the ID, and by whom.
    pub tidings: Tidings,
}

/// What is told of a generation beside its ID, and by whom.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Tidings {
    /// Nothing: whoever made the call tells its ID (`tallyd record`).
    #[default]
    Id,
    /// Nothing: an import names its ID.
    ImportedId,
    /// What an OpenRouter Broadcast span says.
    Broadcast(Box<Pushed>),
    /// What a line of OpenRouter's log export says.
    Export(Box<Exported>),
    /// What an imported reply says.
    Reply(Box<Replied>),
    /// An imported generation record.
    Record(Box<GenerationRecord>),
}

/// What a Broadcast span says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pushed {
    /// Of the generation; its cost counts as the reply's.
    pub facts: Facts,
    /// The request's model.
    pub requested_model: Option<String>,
}

/// What a line of the log export says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exported {
    /// Of the generation; with a cost, the row is settled by it.
    pub facts: Facts,
    /// Amounts without a column, as compact JSON, kept where a record's would be; `None` when there are none.
    pub kept_json: Option<String>,
}

/// What an imported reply says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replied {
    /// Of the generation.
    pub facts: Facts,
    /// Its error.
    pub error: Option<ErrorFacts>,
    /// See [`super::flags`].
    pub flags: Vec<String>,
}

/// What reading a generation record gave.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// The record.
    Record(Box<GenerationRecord>),
    /// 404: not written yet, or not ours; only time tells.
    NotYet,
    /// 429, 5xx, garbage, a timeout, a refused key: to be repeated.
    Failed {
        /// What to show, in words.
        reason: String,
        /// The `Retry-After` asked for, in milliseconds.
        retry_after_ms: Option<i64>,
    },
    /// No running instance holds the key.
    KeyNotHeld,
}
