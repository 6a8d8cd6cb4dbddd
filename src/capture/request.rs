//! What a request's body asks for: model, stream, user, session, metadata, providers.
//!
//! Reads the JSON as it comes in and keeps nothing else of it, least of all its messages.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::tap::{EACH, Kept, Node, Tap};
use crate::domain::attribution::{Attribution, MAX_LABEL};
use crate::domain::estimate::Size;

const MODEL: u8 = 0;
const MODELS: u8 = 1;
const STREAM: u8 = 2;
const USER: u8 = 3;
const SESSION: u8 = 4;
const METADATA: u8 = 5;
const PROVIDER: u8 = 6;
const EXTRA_BODY: u8 = 7;
const MAX_TOKENS: u8 = 8;
const MAX_COMPLETION_TOKENS: u8 = 9;
const MAX_OUTPUT_TOKENS: u8 = 10;
const CHOICES: u8 = 11;
const MORE_THAN_TEXT: u8 = 12;

/// What is more than text in a piece of a message, whichever dialect names it; of it, nothing is kept but that it is there.
static PIECE: [Node; 7] = [
    Node::seen("image_url", MORE_THAN_TEXT),
    Node::seen("input_audio", MORE_THAN_TEXT),
    Node::seen("video_url", MORE_THAN_TEXT),
    Node::seen("file", MORE_THAN_TEXT),
    Node::seen("file_id", MORE_THAN_TEXT),
    Node::seen("file_data", MORE_THAN_TEXT),
    Node::seen("source", MORE_THAN_TEXT),
];
static PIECES: [Node; 1] = [Node::members(EACH, &PIECE)];
static MESSAGE: [Node; 1] = [Node::members("content", &PIECES)];
static MESSAGES: [Node; 1] = [Node::members(EACH, &MESSAGE)];

static REQUEST: Node = Node::members(
    "",
    &[
        Node::value("model", MODEL),
        Node::whole("models", MODELS),
        Node::value("stream", STREAM),
        Node::value("user", USER),
        Node::value("session_id", SESSION),
        Node::whole("metadata", METADATA),
        Node::whole("provider", PROVIDER),
        Node::seen("extra_body", EXTRA_BODY),
        Node::value("max_tokens", MAX_TOKENS),
        Node::value("max_completion_tokens", MAX_COMPLETION_TOKENS),
        Node::value("max_output_tokens", MAX_OUTPUT_TOKENS),
        Node::members("messages", &MESSAGES),
        Node::members("input", &MESSAGES),
        Node::value("n", CHOICES),
        // What is no text, is not in this body, or buys more than tokens.
        Node::seen("modalities", MORE_THAN_TEXT),
        Node::seen("plugins", MORE_THAN_TEXT),
        Node::seen("web_search_options", MORE_THAN_TEXT),
        Node::seen("previous_response_id", MORE_THAN_TEXT),
    ],
);

/// Most entries of `models` looked at; OpenRouter takes fewer.
const MAX_MODELS: usize = 32;

/// Most pairs of `metadata` that become tags: as many as OpenRouter takes.
const MAX_PAIRS: usize = 16;

/// What is kept of the request's `provider`, as `usage.routing` shows it.
const ROUTING: [&str; 7] = [
    "order",
    "only",
    "allow_fallbacks",
    "require_parameters",
    "sort",
    "preferred_min_throughput",
    "preferred_max_latency",
];

/// What a request asks for.
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that a body says or is")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// `model`.
    pub model: Option<String>,
    /// `models`: the fallbacks.
    pub models: Vec<String>,
    /// `models` holds more than was read of it: any model may answer.
    pub models_unread: bool,
    /// Whether a stream was asked for.
    pub streamed: bool,
    /// `user`.
    pub user: Option<String>,
    /// `session_id`.
    pub session: Option<String>,
    /// `metadata`, its first 16 pairs.
    pub metadata: BTreeMap<String, String>,
    /// What was asked of providers, as compact JSON with sorted names; `None` when nothing was.
    pub routing: Option<String>,
    /// A label was there and could not be read.
    pub malformed: bool,
    /// There is a literal `extra_body`: an option of `OpenAI`'s client, whose contents belong into the body itself.
    pub extra_body: bool,
    /// What it says of its own size.
    pub size: Size,
}

/// Reads a request's body as it comes.
pub struct RequestReader {
    tap: Tap,
    kept: Kept,
    bytes: u64,
}

impl Default for RequestReader {
    fn default() -> Self {
        Self { tap: Tap::new(&REQUEST), kept: Kept::default(), bytes: 0 }
    }
}

impl RequestReader {
    /// Looks at the body's next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.tap.push(bytes, &mut self.kept);
        self.bytes += bytes.len() as u64;
    }

    /// What the whole body asked for; `None` when it is not JSON.
    pub fn finish(self) -> Option<Asked> {
        if !self.tap.is_done() {
            return None;
        }
        let kept = &self.kept;
        let (models, models_unread) = models(kept);
        let mut asked = Asked {
            model: kept.text(MODEL).and_then(|model| Attribution::label(&model)),
            models,
            models_unread,
            malformed: [USER, SESSION, METADATA, MODELS].into_iter().any(|field| kept.is_passed_over(field)),
            streamed: kept.raw(STREAM) == Some("true"),
            routing: kept.raw(PROVIDER).and_then(routing),
            extra_body: kept.raw(EXTRA_BODY).is_some(),
            size: size(kept, self.bytes),
            ..Asked::default()
        };
        asked.user = asked.label(kept, USER);
        asked.session = asked.label(kept, SESSION);
        asked.read_metadata(kept);
        Some(asked)
    }
}

impl Asked {
    fn label(&mut self, kept: &Kept, field: u8) -> Option<String> {
        let raw = kept.raw(field)?;
        let label = kept.text(field).and_then(|text| Attribution::label(&text));
        // An empty one says nothing, which is not wrong.
        self.malformed |= label.is_none() && raw != "\"\"";
        label
    }

    fn read_metadata(&mut self, kept: &Kept) {
        let Some(raw) = kept.raw(METADATA) else { return };
        let Ok(pairs) = serde_json::from_str::<BTreeMap<String, &RawValue>>(raw) else {
            self.malformed = true;
            return;
        };
        self.malformed |= pairs.len() > MAX_PAIRS;
        for (name, value) in pairs.into_iter().take(MAX_PAIRS) {
            let value = serde_json::from_str::<String>(value.get()).ok().and_then(|value| Attribution::label(&value));
            match (Attribution::label(&name), value) {
                (Some(name), Some(value)) => {
                    self.metadata.insert(name, value);
                }
                _ => self.malformed = true,
            }
        }
    }
}

/// The fallbacks, and whether there are more than these.
fn models(kept: &Kept) -> (Vec<String>, bool) {
    if kept.is_passed_over(MODELS) {
        return (Vec::new(), true);
    }
    let Some(raw) = kept.raw(MODELS) else { return (Vec::new(), false) };
    let Ok(named) = serde_json::from_str::<Vec<&RawValue>>(raw) else { return (Vec::new(), true) };
    let text = |raw: &&RawValue| serde_json::from_str::<String>(raw.get()).ok().filter(|text| text.len() <= MAX_LABEL);
    let models: Vec<String> =
        named.iter().filter_map(text).filter_map(|model| Attribution::label(&model)).take(MAX_MODELS).collect();
    let unread = models.len() < named.len();
    (models, unread)
}

/// What the body says of its own size; of several bounds the highest holds.
fn size(kept: &Kept, bytes: u64) -> Size {
    let bound = |field| kept.raw(field).and_then(|raw| raw.parse::<i64>().ok()).filter(|tokens| *tokens > 0);
    Size {
        bytes: Some(bytes),
        max_tokens: [MAX_TOKENS, MAX_COMPLETION_TOKENS, MAX_OUTPUT_TOKENS].into_iter().filter_map(bound).max(),
        text_only: kept.raw(MORE_THAN_TEXT).is_none() && kept.raw(CHOICES).is_none_or(|n| n == "1"),
    }
}

fn routing(raw: &str) -> Option<String> {
    let asked: BTreeMap<String, serde_json::Value> = serde_json::from_str(raw).ok()?;
    let kept: BTreeMap<&str, serde_json::Value> = asked
        .iter()
        .filter(|(name, value)| ROUTING.contains(&name.as_str()) && !value.is_null())
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    if kept.is_empty() { None } else { serde_json::to_string(&kept).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Option<Asked> {
        let mut reader = RequestReader::default();
        for piece in body.as_bytes().chunks(7) {
            reader.push(piece);
        }
        reader.finish()
    }

    #[test]
    fn what_matters_is_read_and_messages_are_passed_over() {
        let asked = read(
            r#"{"messages":[{"role":"user","content":"{\"model\":\"no\",\"user\":\"no\"}"}],"model":"openai/gpt-4o:nitro",
            "models":["a/b",3,"c/d"],"stream":true,"user":"u\u00fc","session_id":"s","metadata":{"team":"a","n":3},
            "provider":{"order":["OpenAI"],"zdr":true,"sort":"price","allow_fallbacks":null,"max_price":{"prompt":1}}}"#,
        )
        .unwrap();
        assert_eq!(asked.model.as_deref(), Some("openai/gpt-4o:nitro"));
        assert_eq!(asked.models, ["a/b", "c/d"]);
        assert!(asked.models_unread, "3 is no model we know");
        assert!(asked.streamed && asked.malformed && !asked.extra_body);
        assert!(read(r#"{"model":"a/b","extra_body":{"provider":{"sort":"price"}}}"#).unwrap().extra_body);
        assert!(!read(r#"{"model":"a/b","extra_body":null,"metadata":{"extra_body":"x"}}"#).unwrap().extra_body);
        assert_eq!((asked.user.as_deref(), asked.session.as_deref()), (Some("uü"), Some("s")));
        assert_eq!(asked.metadata.into_iter().collect::<Vec<_>>(), [("team".to_owned(), "a".to_owned())]);
        assert_eq!(asked.routing.as_deref(), Some(r#"{"order":["OpenAI"],"sort":"price"}"#));
    }

    #[test]
    fn a_request_says_how_large_it_is_and_whether_it_is_all_text() {
        let size = |body: &str| read(body).unwrap().size;
        let text = r#"{"max_tokens":7,"max_completion_tokens":9,"n":1,"modalities":[],"messages":[{"role":"user","content":"image_url"},
            {"content":[{"type":"text","text":"{\"image_url\":1}"}]}],"tools":[{"function":{"parameters":{"file":{}}}}]}"#;
        assert_eq!(size(text), Size { bytes: Some(text.len() as u64), max_tokens: Some(9), text_only: true });
        assert_eq!(size(r#"{"max_output_tokens":100,"input":"x"}"#).max_tokens, Some(100));
        for odd in ["-1", "1.5", "\"7\"", "null", "0"] {
            assert_eq!(size(&format!(r#"{{"max_tokens":{odd}}}"#)).max_tokens, None, "{odd}");
        }
        for more in [
            r#"{"messages":[{"content":"x"},{"content":[{"type":"image_url","image_url":{"url":"data:"}}]}]}"#,
            r#"{"messages":[{"content":[{"type":"image","source":{"type":"base64"}}]}]}"#,
            r#"{"input":[{"content":[{"type":"input_image","image_url":"https://x"}]}]}"#,
            r#"{"input":[{"content":[{"type":"input_file","file_id":"f"}]}]}"#,
            r#"{"modalities":["text","image"]}"#,
            r#"{"plugins":[{"id":"web"}]}"#,
            r#"{"previous_response_id":"r"}"#,
            r#"{"n":2}"#,
        ] {
            assert!(!size(more).text_only, "{more}");
        }
    }

    #[test]
    fn what_is_too_long_to_keep_is_told() {
        let long = "x".repeat(crate::capture::tap::MAX_VALUE);
        let asked = read(&format!(r#"{{"model":"a/b","metadata":{{"team":"a","note":"{long}"}}}}"#)).unwrap();
        assert!(asked.malformed && asked.metadata.is_empty() && !asked.models_unread);
        let asked = read(&format!(r#"{{"model":"a/b","models":["c/d","{long}"]}}"#)).unwrap();
        assert!(asked.malformed && asked.models_unread && asked.models.is_empty());
        let many = vec![r#""a/b""#; MAX_MODELS + 1].join(",");
        let asked = read(&format!(r#"{{"models":[{many}]}}"#)).unwrap();
        assert_eq!((asked.models.len(), asked.models_unread, asked.malformed), (MAX_MODELS, true, false));
        let asked = read(r#"{"models":["a/b"]}"#).unwrap();
        assert!(!asked.models_unread && !asked.malformed);
    }

    #[test]
    fn what_is_not_json_or_not_whole_is_not_read() {
        for body in ["", "prompt=x", "{\"model\":\"a\"", "{\"model\":\"a\"}}"] {
            assert_eq!(read(body), None, "{body}");
        }
        let sized = |bytes| Size { bytes: Some(bytes), max_tokens: None, text_only: true };
        assert_eq!(read("{}"), Some(Asked { size: sized(2), ..Asked::default() }));
        let blank = r#"{"user":null,"session_id":"","provider":{}}"#;
        assert_eq!(read(blank), Some(Asked { size: sized(43), ..Asked::default() }));
        assert!(read(r#"{"user":7}"#).unwrap().malformed);
    }
}
