//! Where the replies of each dialect carry what the ledger wants, and what it means there.
//!
//! One tree serves chat completions, the legacy completions, embeddings and their like, `/responses`
//! and `/messages`: their names never clash. A figure is read from its own text and never through a float.

use std::borrow::Cow;

use crate::capture::tap::{EACH, Kept, Node};
use crate::domain::attribution::Attribution;
use crate::domain::facts::Facts;
use crate::domain::flags;
use crate::domain::ids::GenerationId;
use crate::domain::money::Money;
use crate::domain::observation::ErrorFacts;

const ID: u8 = 0;
const MODEL: u8 = 1;
const PROVIDER: u8 = 2;
const TYPE: u8 = 3;
const GENERATION_ID: u8 = 4;
const REQUEST_ID: u8 = 5;
const FINISH_REASON: u8 = 6;
const PROMPT: u8 = 7;
const COMPLETION: u8 = 8;
const REASONING: u8 = 9;
const CACHED: u8 = 10;
const CACHE_WRITE: u8 = 11;
const COST: u8 = 12;
const UPSTREAM_COST: u8 = 13;
const BYOK: u8 = 14;
const ERROR: u8 = 15;
const ERROR_CODE: u8 = 16;
const ERROR_MESSAGE: u8 = 17;
const ERROR_KIND: u8 = 18;
const ERROR_TYPE: u8 = 19;
const CHOICE_ERROR: u8 = 20;
const CHOICE_ERROR_CODE: u8 = 21;
const CHOICE_ERROR_MESSAGE: u8 = 22;
const CHOICE_ERROR_TYPE: u8 = 23;
const PLAIN_CODE: u8 = 24;
const PLAIN_MESSAGE: u8 = 25;
const MESSAGES_PROMPT: u8 = 26;
const MESSAGES_CACHED: u8 = 27;
const RESPONSE_ERROR: u8 = 28;
const PLAIN_ERROR_TYPE: u8 = 29;
const CONTENT: u8 = 30;
const DELTA: u8 = 31;
const OBJECT: u8 = 32;
const STATUS: u8 = 33;
const POLLING_URL: u8 = 34;

const USAGE: &[Node] = &[
    Node::value("prompt_tokens", PROMPT),
    Node::value("completion_tokens", COMPLETION),
    Node::value("input_tokens", MESSAGES_PROMPT),
    Node::value("output_tokens", COMPLETION),
    Node::members(
        "prompt_tokens_details",
        &[Node::value("cached_tokens", CACHED), Node::value("cache_write_tokens", CACHE_WRITE)],
    ),
    Node::members("completion_tokens_details", &[Node::value("reasoning_tokens", REASONING)]),
    Node::members(
        "input_tokens_details",
        &[Node::value("cached_tokens", CACHED), Node::value("cache_write_tokens", CACHE_WRITE)],
    ),
    Node::members("output_tokens_details", &[Node::value("reasoning_tokens", REASONING)]),
    Node::value("cache_read_input_tokens", MESSAGES_CACHED),
    Node::value("cache_creation_input_tokens", CACHE_WRITE),
    Node::value("cost", COST),
    Node::value("is_byok", BYOK),
    Node::members("cost_details", &[Node::value("upstream_inference_cost", UPSTREAM_COST)]),
];

/// `metadata` of an error also carries `flagged_input`, `raw` and `patterns`: they are not named here, so nothing keeps them.
const ERROR_MEMBERS: &[Node] = &[
    Node::value("code", ERROR_CODE),
    Node::value("http_status", ERROR_CODE),
    Node::value("message", ERROR_MESSAGE),
    Node::value("type", ERROR_KIND),
    Node::value("error_type", ERROR_TYPE),
    Node::members("metadata", &[Node::value("error_type", ERROR_TYPE)]),
];

const CHOICE_ERROR_MEMBERS: &[Node] = &[
    Node::value("code", CHOICE_ERROR_CODE),
    Node::value("message", CHOICE_ERROR_MESSAGE),
    Node::value("error_type", CHOICE_ERROR_TYPE),
    Node::members("metadata", &[Node::value("error_type", CHOICE_ERROR_TYPE)]),
];

/// Where a piece of an answer stands in an event. Nothing of it is kept but that it was there. Reasoning is not looked
/// for: a stream of nothing else gives its client an empty answer.
const CHOICE_CONTENT: &[Node] = &[
    Node::seen("content", CONTENT),
    Node::seen("refusal", CONTENT),
    Node::seen("tool_calls", CONTENT),
    Node::seen("function_call", CONTENT),
    Node::seen("images", CONTENT),
    Node::seen("audio", CONTENT),
];

const INCOMPLETE_DETAILS: Node = Node::members("incomplete_details", &[Node::value("reason", FINISH_REASON)]);

/// What is kept of a reply's body or of one event's data.
pub(super) static REPLY: Node = Node::members(
    "",
    &[
        Node::value("id", ID),
        Node::value("model", MODEL),
        Node::value("provider", PROVIDER),
        Node::value("type", TYPE),
        Node::value("generation_id", GENERATION_ID),
        Node::value("request_id", REQUEST_ID),
        Node::members(
            "choices",
            &[Node::members(
                EACH,
                &[
                    Node::value("finish_reason", FINISH_REASON),
                    Node::members("delta", CHOICE_CONTENT),
                    Node::seen("text", CONTENT),
                    Node::marked("error", CHOICE_ERROR, CHOICE_ERROR_MEMBERS),
                ],
            )],
        ),
        Node::members("usage", USAGE),
        Node::marked("error", ERROR, ERROR_MEMBERS),
        Node::value("error_type", PLAIN_ERROR_TYPE),
        Node::value("code", PLAIN_CODE),
        Node::value("stop_reason", FINISH_REASON),
        Node::seen_or(
            "delta",
            DELTA,
            &[
                Node::value("stop_reason", FINISH_REASON),
                Node::seen("text", CONTENT),
                Node::seen("partial_json", CONTENT),
            ],
        ),
        // A tool that is called without arguments has no delta.
        Node::members("content_block", &[Node::seen("name", CONTENT), Node::seen("text", CONTENT)]),
        Node::members("item", &[Node::seen("name", CONTENT)]),
        Node::seen("b64_json", CONTENT),
        Node::seen("audio", CONTENT),
        Node::seen("text", CONTENT),
        Node::value("object", OBJECT),
        Node::value("status", STATUS),
        INCOMPLETE_DETAILS,
        Node::seen("polling_url", POLLING_URL),
        Node::marked(
            "message",
            PLAIN_MESSAGE,
            &[
                Node::value("id", ID),
                Node::value("model", MODEL),
                Node::value("provider", PROVIDER),
                Node::value("stop_reason", FINISH_REASON),
                Node::members("usage", USAGE),
            ],
        ),
        Node::members(
            "response",
            &[
                Node::value("id", ID),
                Node::value("model", MODEL),
                Node::value("provider", PROVIDER),
                Node::value("object", OBJECT),
                Node::value("status", STATUS),
                INCOMPLETE_DETAILS,
                Node::members("usage", USAGE),
                Node::marked("error", RESPONSE_ERROR, ERROR_MEMBERS),
            ],
        ),
    ],
);

/// What a reply has said so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The generation ID the body names.
    pub generation_id: Option<GenerationId>,
    /// What it says of the generation.
    pub facts: Facts,
    /// Its error: the status's, embedded in a good reply, or in mid-stream.
    pub error: Option<ErrorFacts>,
    /// An event carried a piece of an answer. Not looked for in replies that are no streams.
    pub content: bool,
    /// See [`crate::domain::flags`].
    pub flags: Vec<&'static str>,
}

/// Whether an event only keeps the connection open.
pub(super) fn is_keep_alive(kept: &Kept) -> bool {
    kept.raw(TYPE) == Some("\"ping\"")
}

impl Reading {
    /// Marks the reading, once.
    pub(in crate::capture) fn flag(&mut self, flag: &'static str) {
        if !self.flags.contains(&flag) {
            self.flags.push(flag);
        }
    }

    /// Takes over what one JSON text said; the last word on each thing wins. Returns whether it ends a stream.
    pub(super) fn take(&mut self, kept: &Kept) -> bool {
        if self.generation_id.is_none() {
            self.generation_id = generation_id(kept);
        }
        set_label(&mut self.facts.reply_model, kept, MODEL);
        set_label(&mut self.facts.provider, kept, PROVIDER);
        set_label(&mut self.facts.finish_reason, kept, FINISH_REASON);
        self.take_job(kept);
        self.take_usage(kept);
        self.take_error(kept);
        let kind = kept.text(TYPE);
        let reasoning = kind.as_deref().is_some_and(|kind| kind.contains("reasoning"));
        self.content |= kept.raw(CONTENT).is_some() || (kept.raw(DELTA).is_some() && !reasoning);
        // `/responses` tells how it ended as its status; why it is incomplete says more.
        if kept.raw(FINISH_REASON).is_none()
            && kept.raw(OBJECT) == Some("\"response\"")
            && matches!(kept.raw(STATUS), Some("\"completed\"" | "\"incomplete\"" | "\"failed\""))
        {
            set_label(&mut self.facts.finish_reason, kept, STATUS);
        }
        is_error(kept, ERROR)
            || matches!(
                kind.as_deref(),
                Some(
                    "message_stop"
                        | "response.completed"
                        // Of OpenRouter's own guide; the wire has not shown it.
                        | "response.done"
                        | "response.incomplete"
                        | "response.failed"
                        | "response.error"
                        | "error"
                )
            )
    }

    /// A job's ID: not a generation's, beside what only jobs have.
    fn take_job(&mut self, kept: &Kept) {
        let job = kept.raw(GENERATION_ID).is_some() || kept.raw(POLLING_URL).is_some();
        if job && kept.text(ID).is_some_and(|id| id.parse::<GenerationId>().is_err()) {
            set_label(&mut self.facts.job_id, kept, ID);
        }
    }

    fn take_usage(&mut self, kept: &Kept) {
        let facts = &mut self.facts;
        // The first event of `/messages` counts nothing yet and writes zeros.
        let opens = kept.raw(TYPE) == Some("\"message_start\"");
        let said = |count: &i64| *count > 0 || !opens;
        set(&mut facts.native_tokens_cached, count(kept, CACHED));
        set(&mut facts.cache_write_tokens, count(kept, CACHE_WRITE));
        set(&mut facts.native_tokens_completion, count(kept, COMPLETION).filter(said));
        set(&mut facts.native_tokens_reasoning, count(kept, REASONING));
        set(&mut facts.native_tokens_prompt, count(kept, PROMPT));
        if let Some(input) = count(kept, MESSAGES_PROMPT).filter(said) {
            // `/messages` counts what it read from and wrote to the cache beside its input, the others within it.
            let cached = count(kept, MESSAGES_CACHED);
            let beside = cached.map_or(0, |cached| cached.saturating_add(count(kept, CACHE_WRITE).unwrap_or(0)));
            set(&mut facts.native_tokens_cached, cached);
            facts.native_tokens_prompt = Some(input.saturating_add(beside));
        }
        if let Some(byok) = kept.raw(BYOK) {
            facts.is_byok = Some(byok == "true");
        }
        for (slot, field) in [(&mut facts.inline_cost, COST), (&mut facts.inline_upstream_cost, UPSTREAM_COST)] {
            match amount(kept, field) {
                Some(Ok(money)) => *slot = Some(money),
                Some(Err(())) if !self.flags.contains(&flags::COST_NOT_READ) => self.flags.push(flags::COST_NOT_READ),
                Some(Err(())) | None => {}
            }
        }
    }

    fn take_error(&mut self, kept: &Kept) {
        if is_error(kept, ERROR) || is_error(kept, RESPONSE_ERROR) {
            let said = kept.text(ERROR).or_else(|| kept.text(RESPONSE_ERROR));
            self.error = Some(ErrorFacts {
                code: word(kept, ERROR_CODE),
                error_type: [ERROR_TYPE, PLAIN_ERROR_TYPE, ERROR_KIND].into_iter().find_map(|field| word(kept, field)),
                message: kept.text(ERROR_MESSAGE).or(said).and_then(|text| Attribution::label(&text)),
            });
        } else if kept.text(TYPE).is_some_and(|kind| kind == "error" || kind == "response.error") {
            self.error = Some(ErrorFacts {
                code: word(kept, PLAIN_CODE),
                error_type: word(kept, PLAIN_ERROR_TYPE),
                message: kept.text(PLAIN_MESSAGE).and_then(|text| Attribution::label(&text)),
            });
        } else if is_error(kept, CHOICE_ERROR) {
            self.error = Some(ErrorFacts {
                code: word(kept, CHOICE_ERROR_CODE),
                error_type: word(kept, CHOICE_ERROR_TYPE),
                message: kept
                    .text(CHOICE_ERROR_MESSAGE)
                    .or_else(|| kept.text(CHOICE_ERROR))
                    .and_then(|text| Attribution::label(&text)),
            });
        }
    }
}

/// The generation that a text names. A job's reply has an ID of its own beside the generation's.
pub(super) fn generation_id(kept: &Kept) -> Option<GenerationId> {
    let named = |field| kept.text(field).and_then(|text| text.parse().ok());
    [GENERATION_ID, ID, REQUEST_ID].into_iter().find_map(named)
}

/// Whether an `error` is one: `false`, `null` and `""` say that there is none.
fn is_error(kept: &Kept, field: u8) -> bool {
    kept.raw(field).is_some_and(|raw| !matches!(raw, "false" | "\"\""))
}

fn set<T>(slot: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *slot = value;
    }
}

/// Every chunk repeats the model and provider: the same again costs no allocation.
fn set_label(slot: &mut Option<String>, kept: &Kept, field: u8) {
    if let Some(text) = kept.text(field)
        && slot.as_deref() != Some(&*text)
    {
        set(slot, Attribution::label(&text));
    }
}

/// A number's own text, or the text of a string that holds one.
fn number(kept: &Kept, field: u8) -> Option<Cow<'_, str>> {
    kept.text(field).or_else(|| kept.raw(field).map(Cow::Borrowed))
}

/// A count of tokens; what is none is not taken.
fn count(kept: &Kept, field: u8) -> Option<i64> {
    let text = number(kept, field)?;
    // Some serialisers write whole numbers as `12.0`.
    let whole =
        text.split_once('.').map_or(&*text, |(whole, rest)| if rest.trim_matches('0').is_empty() { whole } else { "" });
    whole.parse().ok().filter(|count| *count >= 0)
}

/// An amount; an error when there is one that is none, or is below zero: no call earns money, and a reply is no bill.
fn amount(kept: &Kept, field: u8) -> Option<Result<Money, ()>> {
    if kept.is_passed_over(field) {
        return Some(Err(()));
    }
    number(kept, field).map(|text| Money::parse(&text).ok().filter(|amount| *amount >= Money::ZERO).ok_or(()))
}

/// A code or type as a short text, whether it was a number or a string.
fn word(kept: &Kept, field: u8) -> Option<String> {
    number(kept, field).filter(|text| text.len() <= MAX_WORD).and_then(|text| Attribution::label(&text))
}

/// Longest error code or type kept, in bytes.
const MAX_WORD: usize = 128;
