//! The corpus: a good reply of each dialect and form, and everything that is done to it.

use std::io::Write as _;

use base64::Engine as _;
use bytes::Bytes;

use super::upstream::{Script, head};

/// One reply, and what is to be known of it.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) path: &'static str,
    pub(super) script: Script,
    pub(super) known: Known,
}

/// A row as far as it is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) state: String,
    pub(super) id: Option<String>,
    /// In pico-dollars.
    pub(super) cost: Option<i64>,
    pub(super) flags: String,
    pub(super) model: Option<String>,
    pub(super) prompt: Option<i64>,
}

/// What the good replies cost: $0.25.
const COST: i64 = 250_000_000_000;

/// Dialects by their file, path and whether they are streams.
const REPLIES: [(&str, &str, bool); 6] = [
    ("chat.json", "/api/v1/chat/completions", false),
    ("responses.json", "/api/v1/responses", false),
    ("messages.json", "/api/v1/messages", false),
    ("chat.sse.txt", "/api/v1/chat/completions", true),
    ("responses.sse.txt", "/api/v1/responses", true),
    ("messages.sse.txt", "/api/v1/messages", true),
];

const OK: &str = "200 OK";
const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream; charset=utf-8";

const CODINGS: [&str; 4] = ["gzip", "deflate", "br", "zstd"];

fn file(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/fixtures/hostile/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn replace(text: &[u8], mark: &str, with: &[u8]) -> Vec<u8> {
    let mark = mark.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
    while at < text.len() {
        if text[at..].starts_with(mark) {
            out.extend_from_slice(with);
            at += mark.len();
        } else {
            out.push(text[at]);
            at += 1;
        }
    }
    out
}

/// The generation of a case.
fn id(case: &str) -> String {
    let tail: String = case.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("gen-1795082400-{tail}")
}

/// A reply whose marks are filled, with these values or those of a good reply.
fn filled(case: &str, name: &str, values: &[(&str, &[u8])]) -> Vec<u8> {
    let id = format!("\"{}\"", id(case));
    let good: [(&str, &[u8]); 6] = [
        ("@ID", id.as_bytes()),
        ("@MODEL", b"\"openai/gpt-4o-mini\""),
        ("@COST", b"0.25"),
        ("@MORE", b"null"),
        ("@TEXT", b"It was a quarter."),
        ("@AGAIN", b""),
    ];
    let text = values.iter().fold(file(name), |text, (mark, value)| replace(&text, mark, value));
    good.iter().fold(text, |text, (mark, value)| replace(&text, mark, value))
}

/// The good reply.
pub(super) fn whole(case: &str, name: &str) -> Vec<u8> {
    filled(case, name, &[])
}

/// What is known of a good reply.
fn all(case: &str) -> Known {
    Known {
        state: "pending".to_owned(),
        id: Some(id(case)),
        cost: Some(COST),
        flags: String::new(),
        model: Some("openai/gpt-4o-mini".to_owned()),
        prompt: Some(212),
    }
}

/// What is known when a reply told nothing.
fn nothing(flags: &str) -> Known {
    Known {
        state: "unsettled".to_owned(),
        id: None,
        cost: None,
        flags: flags.to_owned(),
        // What was asked for stands in for what answered nowhere.
        model: None,
        prompt: None,
    }
}

impl Known {
    fn cost(mut self, picos: Option<i64>) -> Self {
        self.cost = picos;
        self
    }

    fn flags(mut self, flags: &str) -> Self {
        flags.clone_into(&mut self.flags);
        self
    }

    fn without_id(mut self) -> Self {
        self.id = None;
        "unsettled".clone_into(&mut self.state);
        self
    }

    fn without_usage(mut self) -> Self {
        (self.cost, self.prompt) = (None, None);
        self
    }

    fn model(mut self, model: Option<&str>) -> Self {
        self.model = model.map(str::to_owned);
        self
    }
}

/// Costs as hostile as they come, and what they are worth in pico-dollars.
const COSTS: [(&str, &str, Option<i64>, &str); 16] = [
    ("cost_text", "\"0.25\"", Some(COST), ""),
    ("cost_exponent", "2.5E-1", Some(COST), ""),
    ("cost_text_exponent", "\"25e-2\"", Some(COST), ""),
    ("cost_tiny", "1e-30", Some(0), ""),
    ("cost_30_digits_below_half", "0.083160000000499999999999999999", Some(83_160_000_000), ""),
    ("cost_30_digits_above_half", "0.083160000000500000000000000001", Some(83_160_000_001), ""),
    ("cost_30_zeros", "0.250000000000000000000000000000", Some(COST), ""),
    ("cost_null", "null", None, ""),
    ("cost_negative", "-0.25", None, "cost_not_read"),
    ("cost_negative_text", "\"-1e3\"", None, "cost_not_read"),
    ("cost_huge", "1e400", None, "cost_not_read"),
    ("cost_30_digits_whole", "123456789012345678901234567890", None, "cost_not_read"),
    ("cost_word", "\"free\"", None, "cost_not_read"),
    ("cost_true", "true", None, "cost_not_read"),
    ("cost_object", "{\"usd\":0.25}", None, "cost_not_read"),
    ("cost_list", "[0.25]", None, "cost_not_read"),
];

/// Every damage to every reply, in one framing or another.
pub(super) fn matrix() -> Vec<Case> {
    let mut matrix = Matrix::default();
    for (name, path, stream) in REPLIES {
        matrix = Matrix { name, path, stream, ..matrix };
        matrix.figures();
        matrix.names();
        matrix.texts();
        matrix.beginnings();
        matrix.ends();
        matrix.others();
        matrix.codings();
    }
    matrix.cases
}

/// What is done to one reply after the other.
#[derive(Default)]
struct Matrix {
    cases: Vec<Case>,
    name: &'static str,
    path: &'static str,
    stream: bool,
}

impl Matrix {
    /// A reply made for its case, under a head.
    fn add(
        &mut self,
        damage: &str,
        head: (&str, &str, &str),
        body: impl Fn(&str) -> Vec<u8>,
        known: impl Fn(&str) -> Known,
    ) {
        let name = format!("{damage}-{}", self.name);
        let (body, known) = (body(&name), known(&name));
        let (status, content_type, headers) = head;
        // Each way a body can be framed has its turn.
        let script = match self.cases.len() % 3 {
            0 if status == OK => Script::with_length(content_type, headers, body),
            0 | 1 => Script::in_chunks(status, content_type, headers, &body),
            _ => Script::until_the_end(status, content_type, headers, vec![(body.into(), 1)]),
        };
        self.cases.push(Case { name, path: self.path, script, known });
    }

    fn form(&self) -> &'static str {
        if self.stream { EVENTS } else { JSON }
    }

    /// The flag of a reply without its end.
    fn cut(&self) -> &'static str {
        if self.stream { "cut" } else { "reply_not_read" }
    }

    /// The reply with these values.
    fn with(&mut self, damage: &str, values: &[(&str, &[u8])], known: impl Fn(&str) -> Known) {
        let reply = self.name;
        self.add(damage, (OK, self.form(), ""), |case| filled(case, reply, values), known);
    }

    /// The good reply, changed.
    fn changed(&mut self, damage: &str, change: impl Fn(Vec<u8>) -> Vec<u8>, known: impl Fn(&str) -> Known) {
        let reply = self.name;
        self.add(damage, (OK, self.form(), ""), |case| change(whole(case, reply)), known);
    }

    fn figures(&mut self) {
        self.with("good", &[], all);
        for (damage, text, picos, flags) in COSTS {
            self.with(damage, &[("@COST", text.as_bytes())], |case| all(case).cost(picos).flags(flags));
        }
        let again: &[u8] = b",\"usage\":{\"cost\":0.75,\"prompt_tokens\":213,\"input_tokens\":213}";
        let last = |case: &str| Known { prompt: Some(213), ..all(case).cost(Some(3 * COST)) };
        self.with("usage_twice", &[("@AGAIN", again)], last);
        self.with("usage_null_after", &[("@AGAIN", b",\"usage\":null")], all);
        self.with("usage_text_after", &[("@AGAIN", b",\"usage\":\"{\\\"cost\\\":9}\"")], all);
    }

    fn names(&mut self) {
        for (damage, value) in [
            ("id_foreign", &b"\"chatcmpl-Hostile\""[..]),
            ("id_number", b"17"),
            ("id_null", b"null"),
            ("id_object", b"{\"id\":\"gen-1\"}"),
            ("id_nul", b"\"gen-a\\u0000b\""),
            ("id_not_ascii", "\"gen-ü\"".as_bytes()),
            ("id_not_utf8", b"\"gen-\xff\xfe\""),
            ("id_long", format!("\"gen-{}\"", "x".repeat(20_000)).as_bytes()),
        ] {
            self.with(damage, &[("@ID", value)], |case| all(case).without_id());
        }
        for (damage, value, model) in [
            ("model_nul", &b"\"openai/gpt-4o\\u0000mini\""[..], Some("openai/gpt-4o mini")),
            ("model_raw_nul", b"\"openai/gpt-4o\0mini\"", Some("openai/gpt-4o mini")),
            ("model_not_utf8", b"\"a/\xc3\x28\"", None),
            ("model_lone_surrogate", b"\"a/\\ud800\"", None),
            ("model_number", b"4", None),
            ("model_empty", b"\"\"", None),
        ] {
            let flags = if model.is_some() { "fallback_model" } else { "" };
            self.with(damage, &[("@MODEL", value)], |case| all(case).model(model).flags(flags));
        }
        // The head has it from OpenRouter itself.
        let head = format!("x-generation-id: {}\r\n", id(&format!("id_in_head-{}", self.name)));
        let reply = self.name;
        let foreign: &[(&str, &[u8])] = &[("@ID", b"\"gen-of-somebody-else\"")];
        self.add("id_in_head", (OK, self.form(), &head), |case| filled(case, reply, foreign), all);
    }

    fn texts(&mut self) {
        for (damage, value) in [
            ("text_not_utf8", &b"caf\xe9 \xff\xfe\xed\xa0\x80"[..]),
            ("text_nul", b"a\0b\0"),
            ("text_of_usage", br#"\"usage\":{\"cost\":9} data: [DONE]\n\ndata: {\"usage\":{\"cost\":9}}"#),
            ("text_backslashes", &[b'\\'; 4096]),
        ] {
            self.with(damage, &[("@TEXT", value)], all);
        }
        let lists = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
        let objects = ["{\"usage\":".repeat(50_000).as_bytes(), b"1", "}".repeat(50_000).as_bytes()].concat();
        let members = format!("{{{}\"z\":0}}", "\"cost\":9,".repeat(20_000)).into_bytes();
        for (damage, value) in [("nested_lists", lists), ("nested_objects", objects), ("many_members", members)] {
            self.with(damage, &[("@MORE", &value)], all);
        }
    }

    fn beginnings(&mut self) {
        self.changed("mark_before", |text| [&b"\xef\xbb\xbf"[..], &text].concat(), all);
        self.changed("blank_before", |text| [&b"\n\n  \r\n"[..], &text].concat(), all);
        let (cut, reply, stream) = (self.cut(), self.name, self.stream);
        // Half an event is none: its client throws it away too.
        let known = |case: &str| if stream { all(case).without_usage().flags(cut) } else { all(case).flags(cut) };
        self.changed("cut_after_cost", |text| before(&text, b"\"is_byok\""), known);
        self.changed("cut_in_cost", |text| before(&text, b".25,"), |case| Known { cost: None, ..known(case) });
        let known = |case: &str| {
            let known = all(case).without_usage().flags(cut);
            // The other streams name both in their first event; chat's first event is the one that is cut.
            if reply == "chat.sse.txt" { known.model(None).without_id() } else { known }
        };
        self.changed("cut_in_text", |text| before(&text, b"quarter"), known);
        self.changed("one_byte", |text| text[..1].to_vec(), |_| nothing(cut));
    }

    fn ends(&mut self) {
        let (reply, stream) = (self.name, self.stream);
        let broken = if stream { "" } else { "reply_not_read" };
        self.changed("garbage_behind", |text| [&text[..], b"}]\0\xff"].concat(), |case| all(case).flags(broken));
        let half = |text: Vec<u8>| [&before(&text, b"data: [DONE]")[..], b"\n\ndata: {\"usage\":{\"cost\":9"].concat();
        // The other streams have come to their end before it.
        let flags = if reply == "chat.sse.txt" { "cut" } else { broken };
        self.changed("half_an_event", half, |case| all(case).flags(flags));
    }

    /// Bodies that have nothing of a reply.
    fn others(&mut self) {
        let (cut, empty) = (self.cut(), if self.stream { "cut" } else { "" });
        let noise: Vec<u8> = (0..20_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
        for (damage, body, flags) in [
            ("empty", Vec::new(), empty),
            ("blank", b" \r\n\t\n".to_vec(), empty),
            ("nul_only", vec![0; 4096], cut),
            ("html_as_good_reply", file("edge.html"), cut),
            ("noise", noise, cut),
        ] {
            self.changed(damage, |_| body.clone(), |_| nothing(flags));
        }
        let failed = |_: &str| Known { state: "failed".to_owned(), cost: Some(0), ..nothing("") };
        self.add("html_error", ("502 Bad Gateway", "text/html", ""), |_| file("edge.html"), failed);
    }

    fn codings(&mut self) {
        let (reply, form, empty) = (self.name, self.form(), if self.stream { "cut" } else { "" });
        for coding in CODINGS {
            let header = format!("content-encoding: {coding}\r\n");
            let head = (OK, form, &*header);
            self.add(&format!("{coding}_good"), head, |case| coded(coding, &whole(case, reply)), all);
            self.add(&format!("{coding}_not"), head, |case| whole(case, reply), |_| nothing("reply_not_read"));
            let half = |case: &str| coded(coding, &whole(case, reply))[..12].to_vec();
            self.add(&format!("{coding}_half"), head, half, |_| nothing(empty));
            let blank = coded(coding, &vec![b' '; 100_000]);
            let damaged = |_: &str| [&blank[..blank.len().min(14)], &[0xff; 64]].concat();
            self.add(&format!("{coding}_damaged"), head, damaged, |_| nothing("reply_not_read"));
        }
        let head = (OK, form, "content-encoding: rot13\r\n");
        self.add("coding_unknown", head, |case| whole(case, reply), |_| nothing("reply_not_read"));
    }
}

/// The text up to a mark that is in it.
fn before(text: &[u8], mark: &[u8]) -> Vec<u8> {
    let at = text.windows(mark.len()).position(|window| window == mark);
    at.map_or_else(|| text.to_vec(), |at| text[..at].to_vec())
}

fn coded(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let level = flate2::Compression::default();
    match coding {
        "gzip" => {
            let mut to = flate2::write::GzEncoder::new(Vec::new(), level);
            to.write_all(bytes).unwrap();
            to.finish().unwrap()
        }
        "deflate" => {
            let mut to = flate2::write::ZlibEncoder::new(Vec::new(), level);
            to.write_all(bytes).unwrap();
            to.finish().unwrap()
        }
        "br" => {
            let mut to = brotli::CompressorWriter::new(Vec::new(), 4096, 4, 18);
            to.write_all(bytes).unwrap();
            to.into_inner()
        }
        _ => zstd::encode_all(bytes, 3).unwrap(),
    }
}

/// Framings that lie.
pub(super) fn framings() -> Vec<Case> {
    let mut cases = Vec::new();
    lengths(&mut cases);
    chunks(&mut cases);
    codings(&mut cases);
    cases
}

/// A chat completion that comes in just these bytes.
fn raw(cases: &mut Vec<Case>, name: &str, bytes: impl Fn(&[u8]) -> Vec<u8>, known: impl Fn(&str) -> Known) {
    let script = Script::raw(bytes(&whole(name, "chat.json")));
    cases.push(Case { name: name.to_owned(), path: "/api/v1/chat/completions", script, known: known(name) });
}

fn reply(headers: &str, parts: &[&[u8]]) -> Vec<u8> {
    [&head(OK, JSON, headers)[..], &parts.concat()].concat()
}

fn cut(case: &str) -> Known {
    all(case).flags("cut")
}

fn lengths(cases: &mut Vec<Case>) {
    let told = |length: usize| format!("content-length: {length}\r\n");
    let more = b"HTTP/1.1 200 OK\r\n\r\n{\"usage\":{\"cost\":9}}";
    raw(cases, "longer_than_told", |body| reply(&told(body.len()), &[body, more]), all);
    raw(cases, "shorter_than_told", |body| reply(&told(body.len() + 9), &[body]), cut);
    let little = |case: &str| cut(case).without_usage().model(None);
    raw(cases, "much_shorter_than_told", |body| reply(&told(1 << 40), &[&body[..60]]), little);
    raw(cases, "told_to_be_empty", |body| reply(&told(0), &[body]), |_| nothing(""));
    let early = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
    raw(cases, "news_before_the_head", |body| [early, &reply(&told(body.len()), &[body])[..]].concat(), all);
}

fn chunks(cases: &mut Vec<Case>) {
    let chunked = "transfer-encoding: chunked\r\n";
    // The body as one chunk that says to be so much longer, and what follows.
    let chunk = |body: &[u8], longer: isize, then: &[u8]| {
        let size = format!("{:x}\r\n", body.len().checked_add_signed(longer).unwrap());
        reply(chunked, &[size.as_bytes(), body, then])
    };
    raw(cases, "chunks_without_end", |body| chunk(body, 0, b"\r\n"), cut);
    raw(cases, "chunk_shorter_than_told", |body| chunk(body, 1, b""), cut);
    raw(cases, "chunk_longer_than_told", |body| chunk(body, -1, b"\r\n0\r\n\r\n"), cut);
    raw(cases, "size_that_is_none", |body| chunk(body, 0, b"\r\nzz\r\nmore\r\n0\r\n\r\n"), cut);
    let digits = [b"\r\n", &[b'f'; 40][..], b"\r\n0\r\n\r\n"].concat();
    raw(cases, "size_of_many_digits", |body| chunk(body, 0, &digits), cut);
    let trailers = b"\r\n0\r\nx-generation-id: gen-of-a-trailer\r\n\r\n";
    raw(cases, "trailers", |body| chunk(body, 0, trailers), all);
    let extended = |body: &[u8]| {
        let size = format!("{:x};x={}\r\n", body.len(), "y".repeat(20_000));
        reply(chunked, &[size.as_bytes(), body, b"\r\n0\r\n\r\n"])
    };
    raw(cases, "extension_too_long", extended, |_| nothing("cut"));
    let both = |body: &[u8]| {
        let size = format!("{:x}\r\n", body.len());
        reply(&format!("{chunked}content-length: 3\r\n"), &[size.as_bytes(), body, b"\r\n0\r\n\r\n"])
    };
    raw(cases, "length_and_chunks", both, all);
}

fn codings(cases: &mut Vec<Case>) {
    let gzip = "content-encoding: gzip\r\n";
    raw(cases, "two_codings", |body| reply(&gzip.repeat(2), &[body]), |_| nothing("reply_not_read"));
    raw(cases, "coding_of_nothing", |_| reply(&format!("{gzip}content-length: 0\r\n"), &[]), |_| nothing(""));
    let twice = |body: &[u8]| {
        let (first, second) = body.split_at(50);
        reply(gzip, &[&coded("gzip", first), &coded("gzip", second)])
    };
    raw(cases, "gzip_in_two_members", twice, all);
    let behind = |body: &[u8]| reply(gzip, &[&coded("gzip", body), b"garbage behind the end"]);
    raw(cases, "gzip_and_garbage", behind, |case| all(case).flags("reply_not_read"));
}

/// A body of `size` bytes or a little more: `start`, one part again and again, and `end`.
fn large(start: Vec<u8>, part: Vec<u8>, size: usize, end: Vec<u8>) -> Vec<(Bytes, usize)> {
    let times = size.div_ceil(part.len());
    vec![(start.into(), 1), (part.into(), times), (end.into(), 1)]
}

/// Replies too large to be kept, in any way.
pub(super) fn giants() -> Vec<Case> {
    const SIZE: usize = 50 << 20;
    let mut cases = Vec::new();
    let mut add = |name: &str, path, content_type: &str, headers: &str, body: Vec<(Bytes, usize)>, known: Known| {
        let script = Script::until_the_end(OK, content_type, headers, body);
        cases.push(Case { name: name.to_owned(), path, script, known });
    };
    let base64 = base64::engine::general_purpose::STANDARD
        .encode((0..48_000_u32).map(|n| n.to_le_bytes()[1]).collect::<Vec<u8>>())
        .into_bytes();
    for (name, path, stream) in REPLIES {
        let case = format!("base64-{name}");
        let text = filled(&case, name, &[("@TEXT", b"@HERE")]);
        let start = before(&text, b"@HERE");
        let end = text[start.len() + "@HERE".len()..].to_vec();
        let form = if stream { EVENTS } else { JSON };
        add(&case, path, form, "", large(start, base64.clone(), SIZE, end), all(&case));
    }
    let chat = "/api/v1/chat/completions";
    let blank = nothing("cut");
    add(
        "endless_line",
        chat,
        EVENTS,
        "",
        large(b"data: {\"x\":\"".to_vec(), base64.clone(), SIZE, Vec::new()),
        blank.clone(),
    );
    add("endless_comment", chat, EVENTS, "", large(b":".to_vec(), base64.clone(), SIZE, Vec::new()), blank.clone());
    add("endless_name", chat, EVENTS, "", large(Vec::new(), base64.clone(), SIZE, Vec::new()), blank.clone());
    add(
        "endless_data_lines",
        chat,
        EVENTS,
        "",
        large(b"data: [\n".to_vec(), b"data: 1,\n".repeat(4096), SIZE, Vec::new()),
        blank.clone(),
    );
    add("endless_pings", chat, EVENTS, "", large(Vec::new(), b": PING\n\n".repeat(4096), SIZE, Vec::new()), blank);
    add(
        "endless_id",
        chat,
        JSON,
        "",
        large(b"{\"id\":\"gen-".to_vec(), base64.clone(), SIZE, Vec::new()),
        nothing("reply_not_read"),
    );
    add(
        "endless_number",
        chat,
        JSON,
        "",
        large(b"{\"usage\":{\"cost\":0.".to_vec(), vec![b'1'; 1 << 16], SIZE, Vec::new()),
        nothing("cost_not_read,reply_not_read"),
    );
    add("endless_key", chat, JSON, "", large(b"{\"".to_vec(), base64, SIZE, Vec::new()), nothing("reply_not_read"));
    add(
        "endless_depth",
        chat,
        JSON,
        "",
        large(Vec::new(), vec![b'['; 1 << 16], SIZE, Vec::new()),
        nothing("reply_not_read"),
    );
    add(
        "endless_usage",
        chat,
        JSON,
        "",
        large(b"{\"usage\":{\"cost\":1".to_vec(), b",\"cost\":2".repeat(8192), SIZE, b",\"cost\":0.25}}".to_vec()),
        // So many are not kept, and one that is not the last is not it.
        nothing("cost_not_read"),
    );
    for coding in CODINGS {
        let header = format!("content-encoding: {coding}\r\n");
        for (form, start) in
            [(JSON, "{\"usage\":{\"cost\":0.25},\"x\":\""), (EVENTS, "data: {\"usage\":{\"cost\":0.25}}\n\n:")]
        {
            let name = format!("bomb-{coding}-{}", form.len());
            let bomb = coded(coding, &[start.as_bytes(), &vec![b' '; 16 << 20]].concat());
            let known = Known { cost: Some(COST), ..nothing("reply_not_read") };
            add(&name, chat, form, &header, vec![(bomb.into(), 1)], known);
        }
    }
    cases
}
