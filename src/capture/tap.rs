//! A JSON reader that takes a few named values out of a text of any size as it passes by.
//!
//! It is pushed bytes in any pieces, keeps nothing but the values that a [`Node`] tree names (each
//! under a bound) and where it stands, and so costs the same memory for ten bytes as for ten
//! megabytes. It knows strings from structure: a completion that talks of `"usage"` is a string to it.
//! It may not judge what the values mean.

mod kept;
mod node;

pub(super) use self::kept::Kept;
pub(super) use self::node::{EACH, Node};

/// Longest single value kept, in bytes; a longer one is passed over.
pub(super) const MAX_VALUE: usize = 16 * 1024;

/// Most bytes kept of one text, all values together.
const MAX_KEPT: usize = 48 * 1024;

/// Room made at once for a key, in bytes.
const USUAL_KEY: usize = 32;

/// Longest key looked at, in bytes; no key of interest is longer.
const MAX_KEY: usize = 64;

/// Deepest nesting of a [`Node`] tree.
const MAX_DEPTH: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A value is due; in an array that has just begun, or its end.
    Value { or_end: bool },
    /// A key is due; in an object that has just begun, or its end.
    Key { or_end: bool },
    /// Inside a key.
    InKey { escaped: bool },
    /// The colon after a key is due.
    Colon,
    /// A comma or the end of the container is due.
    After,
    /// Inside a string value.
    Text { escaped: bool },
    /// Inside a number, `true`, `false` or `null`.
    Word,
    /// Inside an object or array that is not looked into, so many levels deep.
    Passing { depth: u32, text: bool, escaped: bool },
    /// The whole value was read; only white space may follow.
    Done,
    /// Not JSON.
    Broken,
}

#[derive(Clone, Copy)]
struct Level {
    node: &'static Node,
    array: bool,
}

/// Reads one JSON text.
pub(super) struct Tap {
    root: &'static Node,
    state: State,
    levels: [Level; MAX_DEPTH],
    depth: usize,
    /// The node of the value that is due or under way.
    node: Option<&'static Node>,
    key: Vec<u8>,
    /// Where in `Kept` the value under way began; `None` when it is not kept.
    keeping: Option<usize>,
    /// The value under way is to be marked once it shows that it is not empty.
    seeking: bool,
}

impl Tap {
    /// A reader that looks for what `root` names.
    pub(super) fn new(root: &'static Node) -> Self {
        Self {
            root,
            state: State::Value { or_end: false },
            levels: [Level { node: root, array: false }; MAX_DEPTH],
            depth: 0,
            node: Some(root),
            key: Vec::with_capacity(USUAL_KEY),
            keeping: None,
            seeking: false,
        }
    }

    /// Begins a new text.
    pub(super) fn reset(&mut self) {
        self.state = State::Value { or_end: false };
        self.depth = 0;
        self.node = Some(self.root);
        self.key.clear();
        self.keeping = None;
        self.seeking = false;
    }

    /// Whether a whole value was read and nothing but white space after it.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the text is not JSON.
    #[cfg(test)]
    fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    /// Whether nothing but white space was read.
    pub(super) fn is_blank(&self) -> bool {
        self.depth == 0 && self.state == State::Value { or_end: false }
    }

    /// Reads on. A number at the top is only done when something follows it; no text of interest is one.
    pub(super) fn push(&mut self, bytes: &[u8], kept: &mut Kept) {
        let mut at = 0;
        while at < bytes.len() {
            at += match self.state {
                State::Broken => return,
                State::Text { .. } | State::InKey { .. } => self.in_text(&bytes[at..], kept),
                State::Passing { .. } => self.passing(&bytes[at..], kept),
                State::Word => self.in_word(&bytes[at..], kept),
                _ => {
                    self.structure(bytes[at], kept);
                    1
                }
            };
        }
    }

    fn structure(&mut self, byte: u8, kept: &mut Kept) {
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            return;
        }
        match (self.state, byte) {
            (State::Value { or_end: true }, b']') | (State::Key { or_end: true }, b'}') => self.close(),
            (State::Value { .. }, _) => self.begin(byte, kept),
            (State::Key { .. }, b'"') => {
                self.key.clear();
                self.state = State::InKey { escaped: false };
            }
            (State::Colon, b':') => self.state = State::Value { or_end: false },
            (State::After, _) => self.after(byte),
            _ => self.state = State::Broken,
        }
    }

    fn begin(&mut self, byte: u8, kept: &mut Kept) {
        let field = self.node.and_then(|node| node.field);
        match byte {
            b'{' | b'[' => {
                let looked_into = self.node.filter(|node| !node.whole && !node.members.is_empty());
                if let (Some(node), true) = (looked_into, self.depth < MAX_DEPTH) {
                    let array = byte == b'[';
                    if let Some(field) = field.filter(|_| !node.seen) {
                        let end = kept.bytes.len();
                        kept.set(field, end);
                    }
                    self.levels[self.depth] = Level { node, array };
                    self.depth += 1;
                    self.node = if array { node.member(EACH.as_bytes()) } else { None };
                    self.state = if array { State::Value { or_end: true } } else { State::Key { or_end: true } };
                    return;
                }
                let whole = self.node.is_some_and(|node| node.whole);
                self.seeking = self.node.is_some_and(|node| node.seen);
                if let (Some(field), false) = (field, whole || self.seeking) {
                    let end = kept.bytes.len();
                    kept.set(field, end);
                }
                self.keeping = whole.then_some(kept.bytes.len());
                self.keep(&[byte], kept);
                self.state = State::Passing { depth: 1, text: false, escaped: false };
            }
            b'"' => {
                self.seeking = self.node.is_some_and(|node| node.seen);
                self.keeping = field.filter(|_| !self.seeking).map(|_| kept.bytes.len());
                self.keep(b"\"", kept);
                self.state = State::Text { escaped: false };
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                // Of a word that is only to be seen, null and false say that there is nothing.
                let seen = self.node.is_some_and(|node| node.seen);
                self.seeking = seen && !matches!(byte, b'n' | b'f');
                self.mark(kept);
                self.keeping = field.filter(|_| !seen).map(|_| kept.bytes.len());
                self.keep(&[byte], kept);
                self.state = State::Word;
            }
            _ => self.state = State::Broken,
        }
    }

    /// Keeps bytes of the value under way, or lets the value go when it grows beyond its bound.
    fn keep(&mut self, bytes: &[u8], kept: &mut Kept) {
        let Some(from) = self.keeping else { return };
        if kept.bytes.len() - from + bytes.len() > MAX_VALUE || kept.bytes.len() + bytes.len() > MAX_KEPT {
            kept.bytes.truncate(from);
            self.keeping = None;
            if let Some(field) = self.node.and_then(|node| node.field) {
                // The last word counts: what an earlier one said is not known to hold.
                kept.spans[usize::from(field)] = None;
                kept.passed_over |= 1 << field;
            }
            return;
        }
        kept.bytes.extend_from_slice(bytes);
    }

    /// The value under way is not empty: marks it, if it is only to be seen.
    fn mark(&mut self, kept: &mut Kept) {
        if std::mem::take(&mut self.seeking)
            && let Some(field) = self.node.and_then(|node| node.field)
        {
            let end = kept.bytes.len();
            kept.set(field, end);
        }
    }

    fn end_value(&mut self, kept: &mut Kept) {
        self.seeking = false;
        if let (Some(from), Some(field)) = (self.keeping.take(), self.node.and_then(|node| node.field)) {
            // A later null says nothing, and takes nothing back.
            if &kept.bytes[from..] == b"null" {
                kept.bytes.truncate(from);
            } else {
                kept.set(field, from);
            }
        }
        self.state = if self.depth == 0 { State::Done } else { State::After };
    }

    fn after(&mut self, byte: u8) {
        let level = self.levels[self.depth - 1];
        match (byte, level.array) {
            (b',', true) => {
                self.node = level.node.member(EACH.as_bytes());
                self.state = State::Value { or_end: false };
            }
            (b',', false) => self.state = State::Key { or_end: false },
            (b']', true) | (b'}', false) => self.close(),
            _ => self.state = State::Broken,
        }
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.state = if self.depth == 0 { State::Done } else { State::After };
    }

    /// Inside a string: runs to its end in strides. Returns how many bytes were read.
    fn in_text(&mut self, bytes: &[u8], kept: &mut Kept) -> usize {
        let (key, escaped) = match self.state {
            State::InKey { escaped } => (true, escaped),
            State::Text { escaped } => (false, escaped),
            _ => return bytes.len(),
        };
        let stride = if escaped { Some(0) } else { bytes.iter().position(|&b| b == b'"' || b == b'\\') };
        let read = stride.map_or(bytes.len(), |at| at + 1);
        let ends = !escaped && stride.is_some_and(|at| bytes[at] == b'"');
        let backslash = !escaped && !ends && stride.is_some();
        if key {
            let take = if ends { read - 1 } else { read };
            if self.key.len() <= MAX_KEY {
                let room = (MAX_KEY + 1 - self.key.len()).min(take);
                self.key.extend_from_slice(&bytes[..room]);
            }
            if ends {
                self.end_key();
            } else {
                self.state = State::InKey { escaped: backslash };
            }
        } else {
            if self.seeking && (read > 1 || !ends) {
                self.mark(kept);
            }
            self.keep(&bytes[..read], kept);
            if ends {
                self.end_value(kept);
            } else {
                self.state = State::Text { escaped: backslash };
            }
        }
        read
    }

    fn end_key(&mut self) {
        let level = self.levels[self.depth - 1];
        self.node = if self.key.len() > MAX_KEY {
            None
        } else if self.key.contains(&b'\\') {
            let quoted = [b"\"", self.key.as_slice(), b"\""].concat();
            serde_json::from_slice::<String>(&quoted).ok().and_then(|name| level.node.member(name.as_bytes()))
        } else {
            level.node.member(&self.key)
        };
        self.state = State::Colon;
    }

    fn in_word(&mut self, bytes: &[u8], kept: &mut Kept) -> usize {
        let in_word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
        let read = bytes.iter().position(|b| !in_word(b)).unwrap_or(bytes.len());
        self.keep(&bytes[..read], kept);
        if read < bytes.len() {
            self.end_value(kept);
        }
        read
    }

    fn passing(&mut self, bytes: &[u8], kept: &mut Kept) -> usize {
        let State::Passing { mut depth, mut text, mut escaped } = self.state else { return bytes.len() };
        let mut at = 0;
        while at < bytes.len() {
            if text {
                if escaped {
                    escaped = false;
                    at += 1;
                    continue;
                }
                match bytes[at..].iter().position(|&b| b == b'"' || b == b'\\') {
                    None => at = bytes.len(),
                    Some(stride) => {
                        at += stride + 1;
                        if bytes[at - 1] == b'"' {
                            text = false;
                        } else {
                            escaped = true;
                        }
                    }
                }
                continue;
            }
            if self.seeking && !matches!(bytes[at], b' ' | b'\t' | b'\n' | b'\r' | b'}' | b']') {
                self.mark(kept);
            }
            match bytes[at] {
                b'"' => text = true,
                b'{' | b'[' => depth = depth.saturating_add(1),
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            at += 1;
            if depth == 0 {
                self.keep(&bytes[..at], kept);
                self.end_value(kept);
                return at;
            }
        }
        self.keep(bytes, kept);
        self.state = State::Passing { depth, text, escaped };
        bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROOT: Node = Node::members(
        "",
        &[
            Node::value("id", 0),
            Node::members("usage", &[Node::value("cost", 1)]),
            Node::members("choices", &[Node::members(EACH, &[Node::value("finish_reason", 2)])]),
            Node::marked("error", 3, &[Node::value("message", 4)]),
            Node::whole("metadata", 5),
        ],
    );
    static TREE: Node = ROOT;

    fn read(pieces: &[&[u8]]) -> (Kept, bool) {
        let (mut tap, mut kept) = (Tap::new(&TREE), Kept::default());
        for piece in pieces {
            tap.push(piece, &mut kept);
        }
        let done = tap.is_done();
        (kept, done)
    }

    #[test]
    fn takes_what_is_named_and_nothing_that_only_looks_like_it() {
        let text = br#" {"x":{"usage":{"cost":9},"a":["}","\"]"]},"choices":[{"text":"\"usage\":{\"cost\":7} [DONE]","finish_reason":"stop"}],
            "\u0069d":"a\u0062c","usage":{"cost":0.0000057915,"more":[1,{"cost":3}]},"error":null,"metadata":{"k":"v}"}} "#;
        let (kept, done) = read(&[text]);
        assert!(done);
        assert_eq!(kept.text(0).as_deref(), Some("abc"));
        assert_eq!(kept.raw(1), Some("0.0000057915"));
        assert_eq!(kept.text(2).as_deref(), Some("stop"));
        assert_eq!(kept.raw(3), None);
        assert_eq!(kept.raw(5), Some(r#"{"k":"v}"}"#));
    }

    #[test]
    fn marks_objects_and_keeps_the_last_of_a_name() {
        let (kept, _) = read(&[br#"{"error":{"message":"a"},"id":"1","id":"2","id":null}"#]);
        assert_eq!(kept.raw(3), Some(""));
        assert_eq!(kept.text(4).as_deref(), Some("a"));
        assert_eq!(kept.text(0).as_deref(), Some("2"));
        let (kept, _) = read(&[br#"{"error":"plain words"}"#]);
        assert_eq!(kept.text(3).as_deref(), Some("plain words"));
    }

    static SEEN: Node = Node::members(
        "",
        &[Node::seen_or("delta", 0, &[Node::seen("text", 0)]), Node::seen("tools", 1), Node::seen("image", 2)],
    );

    #[test]
    fn of_what_may_not_be_kept_only_a_mark_is() {
        for (text, seen) in [
            (r#"{"delta":"secret"}"#, [true, false, false]),
            (r#"{"delta":"\n"}"#, [true, false, false]),
            (r#"{"delta":""}"#, [false, false, false]),
            (r#"{"delta":null,"tools":[],"image":false}"#, [false, false, false]),
            (r#"{"delta":{},"tools":[ ],"image":{ }}"#, [false, false, false]),
            (r#"{"delta":{"text":"secret"},"tools":[{"name":"secret"}],"image":7}"#, [true, true, true]),
            (r#"{"delta":{"text":"","other":"secret"},"tools":[[]]}"#, [false, true, false]),
        ] {
            for size in [1, 3, text.len()] {
                let (mut tap, mut kept) = (Tap::new(&SEEN), Kept::default());
                for piece in text.as_bytes().chunks(size) {
                    tap.push(piece, &mut kept);
                }
                assert!(tap.is_done(), "{text}");
                assert_eq!([0, 1, 2].map(|field| kept.raw(field).is_some()), seen, "{text} in pieces of {size}");
                assert!(kept.bytes.is_empty(), "{text}");
            }
        }
    }

    #[test]
    fn garbage_is_known_as_such_and_overlong_values_are_let_go() {
        for bad in [&b": OPENROUTER PROCESSING"[..], b"[DONE]", b"{id:1}", b"{\"id\" 1}", b"{} x", b"{,}", b"{\"id\":}"]
        {
            let (mut tap, mut kept) = (Tap::new(&TREE), Kept::default());
            tap.push(bad, &mut kept);
            assert!(tap.is_broken(), "{}", String::from_utf8_lossy(bad));
        }
        let long = format!(r#"{{"id":"{}","usage":{{"cost":1}}}}"#, "x".repeat(MAX_VALUE));
        let (kept, done) = read(&[long.as_bytes()]);
        assert!(done);
        assert_eq!((kept.raw(0), kept.raw(1)), (None, Some("1")));
        assert!(kept.bytes.capacity() <= 2 * MAX_KEPT);
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let name = prop_oneof!["id|usage|cost|choices|error|message|finish_reason|metadata", ".{0,6}"];
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            ".{0,12}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 40, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::vec((name.clone(), inner), 0..5)
                    .prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Reads any JSON, in any pieces, as a whole parse does.
        #[test]
        fn agrees_with_a_whole_parse(value in json(), pretty in any::<bool>(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap() + " ";
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len())).collect();
            at.extend([0, text.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|w| &text.as_bytes()[w[0]..w[1]]).collect();
            let (kept, done) = read(&pieces);
            prop_assert!(done);
            let id = kept.raw(0).filter(|raw| !raw.is_empty()).map(|raw| serde_json::from_str(raw).unwrap());
            let expected = value.get("id").filter(|v| !v.is_null() && !v.is_object() && !v.is_array()).cloned();
            prop_assert_eq!(id, expected);
            let metadata: Option<serde_json::Value> = kept.raw(5).map(|raw| serde_json::from_str(raw).unwrap());
            prop_assert_eq!(metadata, value.get("metadata").filter(|v| !v.is_null()).cloned());
        }
    }
}
