//! What OpenRouter Broadcast pushes: OTLP/HTTP JSON, of which one root span for each generation counts (openrouter.md section 8).
//!
//! The text is read as it comes. Of a span's attributes only the named ones are kept: prompts and completions, which make
//! bodies large, are passed over without being held, and errors tell a place and never a text.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::domain::attribution::{Attribution, MAX_TAGS};
use crate::domain::facts::{Facts, MAX_TOKENS};
use crate::domain::ids::GenerationId;
use crate::domain::money::Money;
use crate::domain::observation::Pushed;
use crate::domain::time::Timestamp;

use super::fields::Fields;

/// Most root spans taken of one body.
pub const MAX_SPANS: usize = 10_000;

/// Most attributes kept of one span, and the longest, in bytes.
const MAX_ATTRIBUTES: usize = 96;
const MAX_ATTRIBUTE: usize = 8 * 1024;

/// Longest text of a JSON value that is looked into, in bytes: one that holds no more than [`MAX_ATTRIBUTE`] is shorter, even if
/// each character is escaped. What a longer one would be taken apart into could be many times as large.
const MAX_VALUE: usize = 8 * MAX_ATTRIBUTE;

/// Largest count (tokens, milliseconds) believed.
const MAX_COUNT: i64 = MAX_TOKENS;

/// What precedes the names that callers gave to `trace`, and those that OpenRouter adds.
const METADATA: &str = "trace.metadata.";
const OWN_METADATA: &str = "trace.metadata.openrouter.";
const ATTEMPTS: &str = "trace.metadata.provider_responses";

/// The spans of one body.
#[derive(Debug, Default)]
pub struct Spans {
    /// One for each generation told.
    pub spans: Vec<Span>,
    /// Root spans that tell of no generation.
    pub rejected: u64,
    /// Why the first of them was rejected.
    pub reason: Option<&'static str>,
    /// There were more root spans than [`MAX_SPANS`]; the rest is counted in `rejected`.
    pub too_many: bool,
}

/// What a root span tells of its generation.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The generation.
    pub id: GenerationId,
    /// What was asked, and what came of it.
    pub pushed: Pushed,
    /// Who it was for.
    pub attribution: Attribution,
    /// OpenRouter's name for the key.
    pub key_name: Option<String>,
}

/// Why a body can not be read; no text of it is shown.
#[derive(Debug, thiserror::Error)]
pub enum BroadcastError {
    /// It broke off, or its coding is damaged, or it is larger than allowed.
    #[error("the body could not be read")]
    Body(io::Error),
    /// It is no OTLP JSON.
    #[error("the body is not OTLP in JSON (line {line}, column {column})")]
    Syntax {
        /// Where, from 1.
        line: usize,
        /// Where, from 1.
        column: usize,
    },
}

/// Reads a body to its end.
pub fn read(body: impl io::Read) -> Result<Spans, BroadcastError> {
    let mut spans = Spans::default();
    let mut deserializer = serde_json::Deserializer::from_reader(body);
    let read = Members { path: &["resourceSpans", "scopeSpans", "spans"], into: &mut spans }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    match read {
        Ok(()) => Ok(spans),
        Err(error) if error.is_io() => Err(BroadcastError::Body(error.into())),
        Err(error) => Err(BroadcastError::Syntax { line: error.line(), column: error.column() }),
    }
}

/// An object, of which the member that `path` begins with is looked into.
struct Members<'a> {
    path: &'a [&'static str],
    into: &'a mut Spans,
}

/// The elements of a list: objects that lead on along `path`, or spans at its end.
struct Elements<'a> {
    path: &'a [&'static str],
    into: &'a mut Spans,
}

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((wanted, rest)) = self.path.split_first() else { return Ok(()) };
        while let Some(name) = map.next_key::<String>()? {
            if name == *wanted {
                map.next_value_seed(Elements { path: rest, into: self.into })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Elements<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    /// `null` is an empty list.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if self.path.is_empty() {
            while let Some(raw) = list.next_element::<RawSpan>()? {
                raw.add_to(self.into);
            }
        } else {
            while list.next_element_seed(Members { path: self.path, into: self.into })?.is_some() {}
        }
        Ok(())
    }
}

/// A span as it stands, reduced to what may matter.
#[derive(Default)]
struct RawSpan {
    name: String,
    has_parent: bool,
    started_at: Option<Timestamp>,
    failed: bool,
    attributes: BTreeMap<String, String>,
}

impl<'de> serde::Deserialize<'de> for RawSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = RawSpan;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a span")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawSpan, A::Error> {
                let mut span = RawSpan::default();
                while let Some(name) = map.next_key::<String>()? {
                    match name.as_str() {
                        "name" => span.name = text(&map.next_value::<Box<RawValue>>()?).unwrap_or_default(),
                        "parentSpanId" => {
                            let parent = text(&map.next_value::<Box<RawValue>>()?);
                            span.has_parent = parent.is_some_and(|id| id.bytes().any(|byte| byte != b'0'));
                        }
                        "startTimeUnixNano" => {
                            let nanos = text(&map.next_value::<Box<RawValue>>()?);
                            let nanos = nanos.and_then(|text| text.parse::<i64>().ok()).filter(|nanos| *nanos > 0);
                            span.started_at = nanos.map(|nanos| Timestamp(nanos / 1_000_000));
                        }
                        "status" => {
                            let status = map.next_value::<Box<RawValue>>()?;
                            let short = Some(&*status).filter(|status| status.get().len() <= MAX_VALUE);
                            let code = short.and_then(Fields::of_value).and_then(|status| text(status.value("code")?));
                            span.failed = code.is_some_and(|code| code == "2" || code == "STATUS_CODE_ERROR");
                        }
                        "attributes" => span.attributes = map.next_value::<Attributes>()?.0,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(span)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// The named attributes of a span, each as its own text.
struct Attributes(BTreeMap<String, String>);

impl<'de> serde::Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Attributes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of attributes")
            }

            fn visit_unit<E>(self) -> Result<Attributes, E> {
                Ok(Attributes(BTreeMap::new()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Attributes, A::Error> {
                let mut attributes = BTreeMap::new();
                while let Some(Attribute(attribute)) = list.next_element()? {
                    if let Some((name, value)) = attribute
                        && attributes.len() < MAX_ATTRIBUTES
                    {
                        attributes.insert(name, value);
                    }
                }
                Ok(Attributes(attributes))
            }
        }
        deserializer.deserialize_any(List)
    }
}

/// One attribute; `None` if it is not one of those that are kept.
struct Attribute(Option<(String, String)>);

impl<'de> serde::Deserialize<'de> for Attribute {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Attribute;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an attribute")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attribute, A::Error> {
                let (mut name, mut value) = (None::<String>, None);
                while let Some(member) = map.next_key::<String>()? {
                    match member.as_str() {
                        "key" => name = text(&map.next_value::<Box<RawValue>>()?),
                        // The key stands first on the wire, so what is not wanted is not held.
                        "value" if name.as_deref().is_none_or(is_wanted) => {
                            value = scalar(&map.next_value::<Box<RawValue>>()?);
                        }
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                let name = name.filter(|name| is_wanted(name) && name.len() <= MAX_ATTRIBUTE);
                Ok(Attribute(name.zip(value.filter(|value| value.len() <= MAX_ATTRIBUTE))))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Whether an attribute is kept: never what was asked or answered.
fn is_wanted(name: &str) -> bool {
    matches!(name, "gen_ai.request.model" | "user.id" | "session.id")
        || ["gen_ai.usage.", "gen_ai.response.", METADATA].iter().any(|start| name.starts_with(start))
}

/// The content of a JSON string, or the text of a number.
fn text(value: &RawValue) -> Option<String> {
    let text = value.get();
    if text.len() > MAX_VALUE {
        return None;
    }
    if text.starts_with('"') {
        return serde_json::from_str(text).ok();
    }
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit()).then(|| text.to_owned())
}

/// The text of an OTLP value: of a list the first.
fn scalar(value: &RawValue) -> Option<String> {
    if value.get().len() > MAX_VALUE {
        return None;
    }
    let fields = Fields::of_value(value)?;
    for kind in ["stringValue", "intValue", "doubleValue"] {
        if let Some(value) = fields.value(kind) {
            return text(value);
        }
    }
    if let Some(value) = fields.value("boolValue") {
        return Some(value.get().to_owned());
    }
    let list = Fields::of_value(fields.value("arrayValue")?)?;
    let values: Vec<&RawValue> = serde_json::from_str(list.value("values")?.get()).ok()?;
    // Lists of lists name nothing of interest.
    let first = Fields::of_value(values.first()?)?;
    text(first.value("stringValue")?)
}

impl RawSpan {
    /// A child repeats its root's cost; a root may have a parent, if the caller named one of its own.
    fn is_child(&self) -> bool {
        self.has_parent && (self.name == "generation" || self.name.starts_with("provider attempt "))
    }

    /// What OpenRouter sends to try the connection.
    fn is_test(&self) -> bool {
        matches!(self.name.as_str(), "openrouter-connection-test" | "Test Generation")
    }

    fn add_to(self, spans: &mut Spans) {
        if self.is_child() || self.is_test() {
            return;
        }
        let reason = if spans.spans.len() >= MAX_SPANS {
            spans.too_many = true;
            "there are more spans than are taken at once"
        } else {
            match self.get("gen_ai.response.id").map(str::parse::<GenerationId>) {
                Some(Ok(id)) => {
                    spans.spans.push(self.span(id));
                    return;
                }
                Some(Err(_)) => "gen_ai.response.id of a root span is no generation ID (gen-…)",
                None => "a root span has no gen_ai.response.id, so it tells of no generation",
            }
        };
        spans.rejected += 1;
        spans.reason.get_or_insert(reason);
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    fn own(&self, name: &str) -> Option<&str> {
        self.attributes.get(&format!("{OWN_METADATA}{name}")).map(String::as_str)
    }

    fn label(&self, name: &str) -> Option<String> {
        self.get(name).and_then(Attribution::label)
    }

    fn count(&self, name: &str) -> Option<i64> {
        count(self.get(&format!("gen_ai.usage.{name}"))?)
    }

    fn span(&self, id: GenerationId) -> Span {
        let first = |names: &[&str]| names.iter().find_map(|name| self.count(name));
        let finish_reason = ["gen_ai.response.finish_reason", "gen_ai.response.finish_reasons"]
            .into_iter()
            .find_map(|name| self.label(name))
            .or_else(|| self.own("finish_reason").and_then(Attribution::label));
        let cache_write = self.count("input_tokens.cache_write").or_else(|| {
            let parts = ["input_tokens.cache_write_5m", "input_tokens.cache_write_1h"].map(|name| self.count(name));
            parts.iter().any(Option::is_some).then(|| parts.into_iter().flatten().sum())
        });
        let mut facts = Facts {
            created_at: self.started_at,
            permaslug: self.label("gen_ai.response.model"),
            provider: self.own("provider_name").and_then(Attribution::label),
            // A span that failed says so; its status's message is a provider's text and not kept.
            finish_reason: finish_reason.or_else(|| self.failed.then(|| "error".to_owned())),
            is_byok: self.get(ATTEMPTS).and_then(is_byok),
            native_tokens_prompt: first(&["input_tokens", "prompt_tokens"]),
            native_tokens_completion: first(&["output_tokens", "completion_tokens"]),
            native_tokens_reasoning: first(&["output_tokens.reasoning"]),
            native_tokens_cached: first(&["input_tokens.cached"]),
            cache_write_tokens: cache_write,
            // Below zero it is none, as in a reply.
            inline_cost: self
                .get("gen_ai.usage.total_cost")
                .and_then(|cost| Money::parse(cost).ok())
                .filter(|cost| *cost >= Money::ZERO),
            latency_ms: self.own("first_token_ms").and_then(millis),
            ..Facts::default()
        };
        let used = facts.native_tokens_prompt.unwrap_or(0) > 0 || facts.native_tokens_completion.unwrap_or(0) > 0;
        if facts.inline_cost == Some(Money::ZERO) && facts.is_byok.is_none() && used {
            // Zero is the truth of a free model, and half of it where the caller's own provider key paid: not known yet.
            facts.inline_cost = None;
        }
        Span {
            id,
            pushed: Pushed { facts, requested_model: self.label("gen_ai.request.model") },
            attribution: Attribution {
                app: None,
                user: self.label("user.id"),
                session: self.label("session.id"),
                tags: self.tags(),
            },
            key_name: self.own("api_key_name").and_then(Attribution::label),
        }
    }

    /// What the caller named in the request's `trace`.
    fn tags(&self) -> BTreeMap<String, String> {
        let named = self.attributes.iter().filter_map(|(name, value)| {
            let own = name.starts_with(OWN_METADATA) || name == ATTEMPTS;
            let name = name.strip_prefix(METADATA).filter(|_| !own)?;
            Some((Attribution::label(name)?, Attribution::label(value)?))
        });
        named.take(MAX_TAGS).collect()
    }
}

/// Whether the attempt that answered was made with the caller's own provider key; attempts are a JSON text in a text.
fn is_byok(attempts: &str) -> Option<bool> {
    let attempts: Vec<&RawValue> = serde_json::from_str(attempts).ok()?;
    Fields::of_value(attempts.last()?)?.boolean("is_byok")
}

/// A whole number: `12`, `12.0`; `None` if it is negative, broken or beyond belief.
fn count(text: &str) -> Option<i64> {
    let whole =
        text.split_once('.').map_or(text, |(whole, rest)| if rest.trim_matches('0').is_empty() { whole } else { "" });
    whole.trim().parse().ok().filter(|count| (0..=MAX_COUNT).contains(count))
}

/// Milliseconds, cut to whole ones.
fn millis(text: &str) -> Option<i64> {
    count(text.split_once('.').map_or(text, |(whole, _)| whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(body: &str) -> Spans {
        read(body.as_bytes()).unwrap()
    }

    fn body(spans: &str) -> String {
        format!("{{\"resourceSpans\":[{{\"scopeSpans\":[{{\"spans\":[{spans}]}}]}}]}}")
    }

    #[test]
    fn the_root_of_a_trace_tells_of_its_generation_and_its_children_do_not() {
        let spans = read_text(include_str!("../../tests/fixtures/payloads/broadcast_otlp.json"));
        assert_eq!((spans.spans.len(), spans.rejected), (1, 0));
        let span = &spans.spans[0];
        assert_eq!(span.id.as_str(), "gen-1789000001-A1b2C3d4E5f6G7h8I9j0");
        let expected = Facts {
            created_at: Timestamp::parse("2026-09-10T00:26:41Z"),
            permaslug: Some("openai/gpt-4o-mini-2024-07-18".to_owned()),
            provider: Some("OpenAI".to_owned()),
            finish_reason: Some("stop".to_owned()),
            is_byok: Some(false),
            native_tokens_prompt: Some(212),
            native_tokens_completion: Some(87),
            native_tokens_reasoning: Some(0),
            native_tokens_cached: Some(0),
            inline_cost: Some(Money::from_picos(83_160_000)),
            latency_ms: Some(412),
            ..Facts::default()
        };
        assert_eq!(span.pushed.facts, expected);
        assert_eq!(span.pushed.requested_model.as_deref(), Some("openai/gpt-4o-mini"));
        assert_eq!(span.key_name.as_deref(), Some("prod"));
        assert_eq!(
            (span.attribution.user.as_deref(), span.attribution.session.as_deref()),
            (Some("team-billing"), Some("sess-42"))
        );
        assert_eq!(span.attribution.tags, [("cost_center".to_owned(), "CC-7".to_owned())].into());
        let private = read_text(include_str!("../../tests/fixtures/payloads/broadcast_otlp_privacy_mode.json"));
        assert_eq!(private.spans.len(), 1);
    }

    #[test]
    fn old_names_texts_for_numbers_and_lists_are_read() {
        let spans = read_text(&body(
            r#"{"attributes":[{"value":{"stringValue":"gen-1"},"key":"gen_ai.response.id"},
                {"key":"gen_ai.usage.prompt_tokens","value":{"intValue":12}},
                {"key":"gen_ai.usage.completion_tokens","value":{"doubleValue":7.0}},
                {"key":"gen_ai.usage.total_cost","value":{"stringValue":"8.41005e-05"}},
                {"key":"gen_ai.response.finish_reasons","value":{"arrayValue":{"values":[{"stringValue":"length"}]}}},
                {"key":"gen_ai.usage.input_tokens.cache_write_5m","value":{"intValue":"3"}},
                {"key":"gen_ai.usage.input_tokens.cache_write_1h","value":{"intValue":"4"}}],
              "parentSpanId":"","name":"my own name","startTimeUnixNano":1789000001000000000}"#,
        ));
        let facts = &spans.spans[0].pushed.facts;
        assert_eq!((facts.native_tokens_prompt, facts.native_tokens_completion), (Some(12), Some(7)));
        assert_eq!(facts.inline_cost, Some(Money::from_picos(84_100_500)));
        assert_eq!((facts.finish_reason.as_deref(), facts.cache_write_tokens), (Some("length"), Some(7)));
        assert_eq!(facts.created_at, Some(Timestamp(1_789_000_001_000)));
    }

    #[test]
    fn an_amount_of_more_digits_than_a_float_holds_is_exact() {
        let spans = read_text(&body(
            r#"{"attributes":[{"key":"gen_ai.response.id","value":{"stringValue":"gen-1"}},
                {"key":"gen_ai.usage.total_cost","value":{"doubleValue":9007199.254740993001}}],
              "parentSpanId":"","name":"chat","startTimeUnixNano":"1789000001000000000"}"#,
        ));
        let exact = Money::from_picos(9_007_199_254_740_993_001);
        assert_eq!(spans.spans[0].pushed.facts.inline_cost, Some(exact));
    }

    #[test]
    fn what_is_too_long_to_be_kept_is_not_taken_apart() {
        let with = |value: &str| {
            let id = r#"{"key":"gen_ai.response.id","value":{"stringValue":"gen-1"}}"#;
            read_text(&body(&format!(r#"{{"attributes":[{id},{{"key":"user.id","value":{value}}}]}}"#))).spans.remove(0)
        };
        let user = |value: &str| with(value).attribution.user;
        let list =
            |length: usize| format!(r#"{{"arrayValue":{{"values":[{{"stringValue":"u"}}{}]}}}}"#, ",1".repeat(length));
        assert_eq!(user(&list(1_000)).as_deref(), Some("u"));
        assert_eq!(user(&list(MAX_VALUE)), None);
        let escaped = format!(r#"{{"stringValue":"{}"}}"#, "\\u0075".repeat(MAX_ATTRIBUTE));
        assert!(user(&escaped).is_some_and(|user| user.starts_with("uuu")));
        assert_eq!(user(&format!(r#"{{"stringValue":"{}"}}"#, "u".repeat(MAX_ATTRIBUTE + 1))), None);
    }

    #[test]
    fn a_root_below_the_callers_own_span_counts_and_a_root_of_nothing_is_rejected() {
        let with_id = |name: &str, parent: &str| {
            format!(
                r#"{{"name":"{name}","parentSpanId":"{parent}","attributes":[{{"key":"gen_ai.response.id","value":{{"stringValue":"gen-x"}}}}]}}"#
            )
        };
        let spans = read_text(&body(
            &[with_id("my call", "00a1"), with_id("generation", "00a1"), with_id("provider attempt 2: X", "00a1")]
                .join(","),
        ));
        assert_eq!((spans.spans.len(), spans.rejected), (1, 0));
        let spans = read_text(&body(
            r#"{"name":"LLM Generation"},{"name":"Test Generation"},{"name":"openrouter-connection-test"}"#,
        ));
        assert_eq!((spans.spans.len(), spans.rejected), (0, 1));
        assert!(spans.reason.unwrap().contains("gen_ai.response.id"));
    }

    #[test]
    fn zero_is_not_believed_where_the_callers_own_key_may_have_paid() {
        let with = |attempts: &str| {
            body(&format!(
                r#"{{"attributes":[{{"key":"gen_ai.response.id","value":{{"stringValue":"gen-x"}}}},{{"key":"gen_ai.usage.total_cost","value":{{"doubleValue":0}}}},{{"key":"gen_ai.usage.input_tokens","value":{{"intValue":"5"}}}}{attempts}]}}"#
            ))
        };
        assert_eq!(read_text(&with("")).spans[0].pushed.facts.inline_cost, None);
        let attempts = r#",{"key":"trace.metadata.provider_responses","value":{"stringValue":"[{\"is_byok\":true}]"}}"#;
        let byok = &read_text(&with(attempts)).spans[0].pushed.facts;
        assert_eq!((byok.inline_cost, byok.is_byok), (Some(Money::ZERO), Some(true)));
        let below = with("").replace("\"doubleValue\":0", "\"doubleValue\":-0.5");
        assert_eq!(read_text(&below).spans[0].pushed.facts.inline_cost, None);
    }

    #[test]
    fn what_is_no_otlp_is_told_by_place_and_never_by_text() {
        for bad in [
            "",
            "[",
            "{\"resourceSpans\":\"SECRET\"}",
            "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[\"SECRET\"]}]}]}",
            "{} x",
        ] {
            let error = read(bad.as_bytes()).unwrap_err();
            assert!(matches!(error, BroadcastError::Syntax { .. }) && !error.to_string().contains("SECRET"), "{error}");
        }
        for empty in
            ["{}", "{\"resourceSpans\":[]}", "{\"resourceSpans\":null}", "{\"resourceSpans\":[{\"scopeSpans\":null}]}"]
        {
            assert!(read_text(empty).spans.is_empty());
        }
    }
}
