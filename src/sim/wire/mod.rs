//! The wire's forms: bodies and events as OpenRouter writes them.

pub(super) mod account;
pub(super) mod analytics;
pub(super) mod chat;
pub(super) mod events;
pub(super) mod export;
pub(super) mod messages;
pub(super) mod others;
pub(super) mod record;
pub(super) mod refusal;
pub(super) mod responses;
pub(super) mod traces;

use super::plan::Plan;

/// `text` as a JSON string, quotes included.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// `text` as a JSON string, or `null`.
pub(super) fn nullable(text: Option<&str>) -> String {
    text.map_or_else(|| "null".to_owned(), quoted)
}

/// The text that a call's completion consists of, JSON-escaped, piece by piece.
#[derive(Debug)]
pub(super) struct Words {
    fixed: Option<String>,
    start: usize,
    bytes: usize,
}

/// What completions are made of.
const VOCABULARY: &[&str] = &[
    "The", " budget", " resets", " on", " the", " first", " of", " each", " month", ",", " and", " every", " call",
    " is", " counted", " when", " its", " cost", " is", " known", ".", " A", " short", " answer", " follows", ":",
    " yes", ",", " with", " care", ".",
];

impl Words {
    /// The words of `plan`.
    pub(super) fn of(plan: &Plan) -> Self {
        let behaviour = &plan.behaviour;
        let pieces = if plan.streamed { plan.chunks().max(1) as usize } else { 1 };
        let bytes = behaviour.chunk_bytes.or(behaviour.big.map(|all| all.div_ceil(pieces))).unwrap_or(0);
        let fixed = behaviour.text.as_deref().map(|text| {
            let escaped = quoted(text);
            escaped[1..escaped.len() - 1].to_owned()
        });
        Self { fixed, start: usize::from(plan.seed.to_le_bytes()[0]), bytes }
    }

    /// From now on every piece is `text`, which needs no escaping.
    pub(super) fn say(&mut self, text: String) {
        self.fixed = Some(text);
    }

    /// Writes the nth piece.
    pub(super) fn push(&self, nth: u32, out: &mut String) {
        let start = out.len();
        loop {
            if let Some(text) = &self.fixed {
                out.push_str(text);
            } else {
                out.push_str(VOCABULARY[(self.start + nth as usize + out.len() - start) % VOCABULARY.len()]);
            }
            if out.len() - start >= self.bytes {
                return;
            }
        }
    }

    /// Pieces `0..count` in one.
    pub(super) fn all(&self, count: u32) -> String {
        let mut text = String::with_capacity((count as usize) * self.bytes.max(8));
        for nth in 0..count {
            self.push(nth, &mut text);
        }
        text
    }
}
