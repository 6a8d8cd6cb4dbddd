//! Everything that is known of one completion: what its page and the API tell beyond the row.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::usage::{Completion, Row};
use crate::domain::call::{Call, CallState};
use crate::domain::catalogue::Catalogue;
use crate::domain::money::{Money, Total};
use crate::domain::routing::{self, Effect, Preference, Served};
use crate::domain::time::Timestamp;

/// Most attempts at providers that are told.
pub const MAX_ATTEMPTS: usize = 20;

/// A try at a provider, as the generation record tells it; in the order in which they were made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Attempt {
    /// The provider; null: not told.
    pub provider: Option<String>,
    /// The model's permaslug; null: not told.
    pub model: Option<String>,
    /// The provider's HTTP status; null: not told.
    pub status: Option<i64>,
    /// How long it took, in milliseconds; null: not told.
    pub latency_ms: Option<i64>,
}

/// What the request asked of providers, and whether it held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Asking {
    /// Its name in the request's `provider`.
    pub name: String,
    /// What it asked for, as JSON text.
    pub asked: String,
    /// `kept`; `none`: it took no effect; `unknown`: neither reply nor record shows it.
    #[schema(pattern = "^(kept|none|unknown)$")]
    pub effect: &'static str,
    /// The same for people.
    pub says: String,
}

/// Where it stands on its way to being settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Settling {
    /// How often its generation record was read.
    pub readings: i64,
    /// When it is read next; null: never again.
    #[schema(format = DateTime)]
    pub next_reading_at: Option<String>,
    /// Why it waits, or was given up; null: it does neither.
    pub reason: Option<String>,
}

/// A completion, whole.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CompletionDetail)]
pub struct Detail<'a> {
    /// Its row.
    #[serde(flatten)]
    #[schema(inline = false, value_type = Completion)]
    row: Row<'a>,
    /// The model that the reply named; null: none.
    pub reply_model: Option<&'a str>,
    /// The model's permaslug, by the record; null: not read yet.
    pub permaslug: Option<&'a str>,
    /// The last characters of the key; null: not known.
    pub key_tail: Option<&'a str>,
    /// The error's code; null: none.
    pub error_code: Option<&'a str>,
    /// The error's message; null: none.
    pub error_message: Option<&'a str>,
    /// Settled minus inline cost, in dollars; null: one of them is not known.
    pub difference_usd: Option<String>,
    /// What its tokens cost by the list price of its time, in dollars, in no sum and no budget; null: its cost is known, or
    /// there is no price.
    pub estimate_usd: Option<String>,
    /// The attempts at providers one by one, at most 20; empty until its record is read.
    pub providers_tried: Vec<Attempt>,
    /// What was asked of providers, and what came of it.
    pub routing_effects: Vec<Asking>,
    /// Where it stands on its way to being settled.
    pub settling: Settling,
    /// What else the generation record tells (no prompt, no completion); null until it is read.
    pub record: Option<Value>,
}

impl<'a> Detail<'a> {
    /// What is known of `call`; `record` is what is kept of its generation record.
    pub fn new(call: &'a Call, record: Option<Value>, catalogue: &Catalogue) -> Self {
        let difference = call.facts.settled_cost.zip(call.facts.inline_cost);
        let error = call.error.as_ref();
        Self {
            row: Row(call),
            reply_model: call.facts.reply_model.as_deref(),
            permaslug: call.facts.permaslug.as_deref(),
            key_tail: call.key.as_ref().and_then(|key| Some(key.fingerprint.as_ref()?.tail.as_str())),
            error_code: error.and_then(|error| error.code.as_deref()),
            error_message: error.and_then(|error| error.message.as_deref()),
            difference_usd: difference
                .map(|(settled, inline)| (Total::from(settled) - Total::from(inline)).to_decimal()),
            estimate_usd: catalogue.estimate(call).map(Money::to_decimal),
            providers_tried: attempts(record.as_ref()),
            routing_effects: preferences(call, record.as_ref()).into_iter().map(Asking::from).collect(),
            settling: Settling {
                readings: call.settling.attempts,
                next_reading_at: call.settling.due.map(Timestamp::to_iso),
                reason: call.settling.reason.clone(),
            },
            record,
        }
    }
}

impl From<Preference> for Asking {
    fn from(preference: Preference) -> Self {
        let effect = match preference.effect {
            Effect::Kept => "kept",
            Effect::None => "none",
            Effect::Unknown => "unknown",
        };
        Self { name: preference.name.to_owned(), asked: preference.asked, effect, says: preference.says }
    }
}

/// What is kept of a generation record, read.
pub fn record(kept: Option<&str>) -> Option<Value> {
    serde_json::from_str(kept?).ok()
}

/// The attempts at providers that a record tells of.
pub fn attempts(record: Option<&Value>) -> Vec<Attempt> {
    let listed = record.and_then(|record| record.get("provider_responses")).and_then(Value::as_array);
    let text = |attempt: &Value, key: &str| attempt.get(key).and_then(Value::as_str).map(str::to_owned);
    let number = |attempt: &Value, key: &str| attempt.get(key).and_then(Value::as_i64);
    let attempt = |attempt: &Value| Attempt {
        provider: text(attempt, "provider_name"),
        model: text(attempt, "model_permaslug"),
        status: number(attempt, "status"),
        latency_ms: number(attempt, "latency").map(|ms| ms.max(0)),
    };
    listed.map(|listed| listed.iter().take(MAX_ATTEMPTS).map(attempt).collect()).unwrap_or_default()
}

/// Each preference of the request against the provider that served.
pub fn preferences(call: &Call, record: Option<&Value>) -> Vec<Preference> {
    let has_attempts = record.and_then(|record| record.get("provider_responses")).is_some_and(Value::is_array);
    let tried: Option<Vec<Option<String>>> =
        has_attempts.then(|| attempts(record).into_iter().map(|attempt| attempt.provider).collect());
    let served = Served {
        provider: call.facts.provider.as_deref(),
        latency_ms: call.facts.latency_ms,
        tokens: call.facts.native_tokens_completion,
        generation_time_ms: call.facts.generation_time_ms,
        tried: tried.as_deref(),
    };
    call.routing.as_deref().map(|asked| routing::judge(asked, &served)).unwrap_or_default()
}

/// Whether a row is told: not one that is under way without an ID.
pub fn is_told(call: &Call) -> bool {
    call.state != CallState::Open
}
