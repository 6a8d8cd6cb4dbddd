use std::io::Write as _;

use http::HeaderValue;
use proptest::prelude::*;

use super::*;
use crate::domain::money::Money;
use crate::domain::observation::ErrorFacts;

const CODINGS: [&str; 6] = ["identity", "gzip", "deflate", "raw deflate", "br", "zstd"];

fn limits() -> ObserveLimits {
    ObserveLimits { decoded: 8 << 20, memory: Allowance::new(64 << 20) }
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/fixtures/payloads/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn headers(content_type: &str, coding: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
    if coding != "identity" {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_str(coding.trim_start_matches("raw ")).unwrap());
    }
    headers
}

fn encode(coding: &str, bytes: &[u8]) -> Vec<u8> {
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
        "raw deflate" => {
            let mut to = flate2::write::DeflateEncoder::new(Vec::new(), level);
            to.write_all(bytes).unwrap();
            to.finish().unwrap()
        }
        "br" => {
            let mut to = brotli::CompressorWriter::new(Vec::new(), 4096, 4, 20);
            to.write_all(bytes).unwrap();
            to.into_inner()
        }
        "zstd" => zstd::encode_all(bytes, 3).unwrap(),
        _ => bytes.to_vec(),
    }
}

fn observe(content_type: &str, coding: &str, pieces: &[&[u8]]) -> Observed {
    let mut observer = Observer::new(&headers(content_type, coding), &limits());
    for piece in pieces {
        observer.push(piece);
    }
    observer.finish(true)
}

const SSE: &str = "text/event-stream; charset=utf-8";

#[test]
fn a_stream_with_usage_beside_choices_is_understood_in_every_coding() {
    for name in ["chat_stream.sse.txt", "chat_stream_usage_empty_choices.sse.txt"] {
        for coding in CODINGS {
            let observed = observe(SSE, coding, &[&encode(coding, &fixture(name))]);
            let facts = &observed.reading.facts;
            assert!(!observed.open_ended, "{name} {coding}");
            assert_eq!(observed.reading.flags, Vec::<&str>::new(), "{name} {coding}");
            assert!(observed.reading.generation_id.is_some());
            assert_eq!(facts.finish_reason.as_deref(), Some("stop"), "{name} {coding}");
            assert!(facts.inline_cost.is_some() && facts.native_tokens_prompt.is_some(), "{name} {coding}");
            assert_eq!(facts.is_byok, Some(false));
        }
    }
    let facts = observe(SSE, "identity", &[&fixture("chat_stream.sse.txt")]).reading.facts;
    assert_eq!(facts.inline_cost, Some(Money::from_picos(83_160_000)));
    assert_eq!(facts.inline_upstream_cost, Some(Money::from_picos(84_000_000)));
    assert_eq!(facts.reply_model.as_deref(), Some("openai/gpt-4o-mini"));
    assert_eq!(facts.provider.as_deref(), Some("OpenAI"));
    assert_eq!((facts.native_tokens_prompt, facts.native_tokens_completion), (Some(212), Some(87)));
    assert_eq!((facts.cache_write_tokens, facts.native_tokens_reasoning), (Some(0), Some(0)));
}

#[test]
fn bodies_of_every_dialect_are_understood() {
    let chat = observe("application/json", "identity", &[&fixture("chat_completion.json")]).reading;
    assert_eq!(chat.generation_id.unwrap().as_str(), "gen-1789000122-Zy9Xw8Vu7Ts6Rq5Po4Nm");
    assert_eq!(chat.facts.inline_cost, Some(Money::from_picos(11_241_600_000)));
    assert_eq!(chat.facts.native_tokens_cached, Some(9172));
    assert_eq!(chat.facts.native_tokens_reasoning, Some(96));

    let byok = observe("application/json", "identity", &[&fixture("chat_completion_byok.json")]).reading;
    assert_eq!(byok.facts.is_byok, Some(true));
    assert_eq!(byok.facts.inline_upstream_cost, Some(Money::from_picos(36_078_000_000)));

    let messages = observe("application/json", "identity", &[&fixture("messages_nonstream.json")]).reading;
    assert_eq!(messages.facts.native_tokens_prompt, Some(10_412));
    assert_eq!(messages.facts.native_tokens_cached, Some(9172));
    assert_eq!(messages.facts.finish_reason.as_deref(), Some("end_turn"));

    for name in ["embeddings.json", "completions_legacy.json", "responses_nonstream.json"] {
        let reading = observe("application/json", "gzip", &[&encode("gzip", &fixture(name))]).reading;
        assert!(reading.generation_id.is_some() && reading.facts.inline_cost.is_some(), "{name}");
        assert_eq!(reading.error, None);
    }
}

#[test]
fn ends_of_every_dialect_are_seen() {
    for name in ["messages_stream.sse.txt", "responses_stream.sse.txt", "chat_stream_tool_call.sse.txt"] {
        let observed = observe(SSE, "identity", &[&fixture(name)]);
        assert!(!observed.open_ended, "{name}");
        assert!(observed.reading.facts.inline_cost.is_some(), "{name}");
    }
    let cut = observe(SSE, "identity", &[&fixture("chat_stream_cut_off.sse.txt")]);
    assert!(cut.open_ended);
    assert!(cut.reading.generation_id.is_some());
    let failed = observe(SSE, "identity", &[&fixture("chat_stream_midstream_error.sse.txt")]);
    assert!(!failed.open_ended);
    assert_eq!(
        failed.reading.error,
        Some(ErrorFacts {
            code: Some("502".to_owned()),
            error_type: Some("provider_unavailable".to_owned()),
            message: Some("Provider disconnected".to_owned()),
        })
    );
}

#[test]
fn replies_without_words_are_understood() {
    let read = |name: &str| observe("application/json", "identity", &[&fixture(name)]).reading;
    let rerank = read("rerank.json");
    assert_eq!(rerank.generation_id.unwrap().as_str(), "gen-rerank-1789000730-RerankExampleAb1");
    assert_eq!((rerank.facts.inline_cost, rerank.facts.native_tokens_prompt), (Money::parse("0.002").ok(), None));
    assert_eq!(rerank.facts.reply_model.as_deref(), Some("cohere/rerank-v3.5"));
    let images = read("images.json");
    assert_eq!((images.generation_id, images.facts.inline_cost), (None, Money::parse("0.03874").ok()));
    let heard = read("audio_transcription.json").facts;
    assert_eq!((heard.native_tokens_prompt, heard.native_tokens_completion), (Some(57), Some(8)));
    assert_eq!(heard.inline_cost, Money::parse("0.0000971").ok());
    let film = read("video_accepted.json");
    assert_eq!(film.generation_id.unwrap().as_str(), "gen-1789000750-VideoGenerationAb1");
    assert_eq!((film.facts.job_id.as_deref(), film.facts.inline_cost), (Some("Vd8QmZ3xT1job"), None));
    assert_eq!(film.facts.finish_reason, None);
    let done = read("video_done.json").facts;
    assert_eq!((done.inline_cost, done.is_byok), (Money::parse("3.2").ok(), Some(false)));
    let lone = observe("application/json", "identity", &[br#"{"id":"abc","polling_url":"/x","status":"pending"}"#]);
    assert_eq!(lone.reading.facts.job_id.as_deref(), Some("abc"));
    assert_eq!(read("chat_completion.json").facts.job_id, None);
}

#[test]
fn ends_and_answers_are_told_in_every_dialect() {
    for (name, finish, content) in [
        ("chat_stream.sse.txt", Some("stop"), true),
        ("chat_stream_tool_call.sse.txt", Some("tool_calls"), true),
        ("completions_stream.sse.txt", Some("stop"), true),
        ("responses_stream.sse.txt", Some("completed"), true),
        ("responses_stream_incomplete.sse.txt", Some("max_output_tokens"), false),
        ("responses_stream_error.sse.txt", None, true),
        ("messages_stream.sse.txt", Some("end_turn"), true),
        ("messages_stream_no_cost.sse.txt", Some("tool_use"), true),
        ("messages_stream_error.sse.txt", None, false),
    ] {
        let observed = observe(SSE, "identity", &[&fixture(name)]);
        assert!(!observed.open_ended, "{name}");
        assert_eq!(observed.reading.facts.finish_reason.as_deref(), finish, "{name}");
        assert_eq!(observed.reading.content, content, "{name}");
        assert!(observed.reading.generation_id.is_some(), "{name}");
    }
    let facts = observe(SSE, "identity", &[&fixture("messages_stream_no_cost.sse.txt")]).reading.facts;
    assert_eq!(
        (facts.inline_cost, facts.native_tokens_prompt, facts.native_tokens_cached),
        (None, Some(512), Some(100))
    );
    let error = observe(SSE, "identity", &[&fixture("messages_stream_error.sse.txt")]).reading.error.unwrap();
    assert_eq!(error.error_type.as_deref(), Some("provider_overloaded"));
    let error = observe(SSE, "identity", &[&fixture("responses_stream_error.sse.txt")]).reading.error.unwrap();
    assert_eq!(error.message.as_deref(), Some("Provider disconnected"));
    for stream in [
        r#"data: {"choices":[{"delta":{"content":"","reasoning":"hm"}}]}"#,
        r#"data: {"choices":[{"delta":{"content":null,"tool_calls":[],"role":"assistant"}}]}"#,
        r#"data: {"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":"hm"}}"#,
        r#"data: {"type":"ping"}"#,
    ] {
        assert!(!observe(SSE, "identity", &[stream.as_bytes(), b"\n\n"]).reading.content, "{stream}");
    }
}

#[test]
fn comments_and_pings_are_no_chunks() {
    let mut observer = Observer::new(&headers(SSE, "identity"), &limits());
    let mut after = |piece: &str| {
        observer.push(piece.as_bytes());
        observer.chunks()
    };
    assert_eq!(after(": OPENROUTER PROCESSING\n\n"), 0);
    assert_eq!(after("data: : OPENROUTER PROCESSING\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n"), 0);
    assert_eq!(after("data: {\"choices\""), 0);
    assert_eq!(after(":[]}\n\ndata: {}\n\n"), 2);
    assert_eq!(after("data: [DONE]\n\n"), 3);
}

#[test]
fn errors_are_reduced_to_what_may_be_kept() {
    let moderated = observe("application/json", "identity", &[&fixture("error_403_moderation.json")]).reading;
    let error = moderated.error.unwrap();
    assert_eq!(error.code.as_deref(), Some("403"));
    assert!(!format!("{error:?}").contains("last part"));
    let skin = observe("application/json", "identity", &[&fixture("error_messages_skin_401.json")]).reading;
    assert_eq!(skin.error.unwrap().error_type.as_deref(), Some("authentication"));
    for (body, code, error_type) in [
        (r#"{"error":{"code":"server_error","message":"m"}}"#, Some("server_error"), None),
        (
            r#"{"choices":[{"finish_reason":"error","error":{"code":502,"message":"m","metadata":{"error_type":"timeout"}}}]}"#,
            Some("502"),
            Some("timeout"),
        ),
        (r#"{"error":{"error_type":"not_found","http_status":404,"message":"m"}}"#, Some("404"), Some("not_found")),
        (
            r#"{"error":{"code":"rate_limit_exceeded","message":"m"},"error_type":"rate_limit_exceeded"}"#,
            Some("rate_limit_exceeded"),
            Some("rate_limit_exceeded"),
        ),
        (r#"{"error":"m"}"#, None, None),
    ] {
        let error = observe("application/json", "identity", &[body.as_bytes()]).reading.error.unwrap();
        assert_eq!((error.code.as_deref(), error.error_type.as_deref()), (code, error_type), "{body}");
        assert_eq!(error.message.as_deref(), Some("m"), "{body}");
    }
}

#[test]
fn text_that_talks_of_ends_and_costs_fools_nobody() {
    let stream = concat!(
        "data: {\"id\":\"gen-1-a\",\"choices\":[{\"delta\":{\"content\":\"data: [DONE]\\n\\n\\\"usage\\\":{\\\"cost\\\":9}\"}}]}\r\n\r\n",
        "data: : OPENROUTER PROCESSING\r\n\r\n",
        ": [DONE]\n\nevent: [DONE]\ndata:\n\ndata: [DONE] not yet\n\n",
        "data: {\"error\":null,\"usage\":null}\n\n",
    );
    let observed = observe(SSE, "identity", &[stream.as_bytes()]);
    assert!(observed.open_ended);
    assert_eq!(observed.reading.facts.inline_cost, None);
    assert_eq!(observed.reading.error, None);
    let ended = format!("{stream}data:[DONE]\r\r");
    assert!(!observe(SSE, "identity", &[ended.as_bytes()]).open_ended);
}

#[test]
fn an_event_over_several_lines_is_one_text() {
    let stream = "data: {\"usage\":\ndata: {\"cost\":\ndata: \"0.5\"}}\n\ndata: [DONE]\n\n";
    let observed = observe(SSE, "identity", &[stream.as_bytes()]);
    assert_eq!(observed.reading.facts.inline_cost, Money::parse("0.5").ok());
}

#[test]
fn an_amount_of_more_digits_than_a_float_holds_is_exact() {
    let reply = br#"{"id":"gen-1-a","usage":{"cost":9007199.254740993001}}"#;
    let observed = observe("application/json", "identity", &[reply]);
    assert_eq!(observed.reading.facts.inline_cost, Some(Money::from_picos(9_007_199_254_740_993_001)));
}

#[test]
fn hostile_amounts_are_flagged_and_not_taken() {
    for amount in ["1e400", "\"NaN\"", "true", "{}", "[1]", "99999999999", "-0.01", "\"-1e-12\""] {
        let body = format!(r#"{{"usage":{{"cost":{amount},"prompt_tokens":-3,"completion_tokens":1e3}}}}"#);
        let reading = observe("application/json", "identity", &[body.as_bytes()]).reading;
        assert_eq!(reading.facts.inline_cost, None, "{amount}");
        assert_eq!(reading.flags, [flags::COST_NOT_READ], "{amount}");
        assert_eq!((reading.facts.native_tokens_prompt, reading.facts.native_tokens_completion), (None, None));
    }
}

#[test]
fn what_cannot_be_read_is_flagged_and_never_called_cut() {
    let plain = fixture("chat_stream.sse.txt");
    for coding in ["compress", "gzip, br"] {
        let observed = observe(SSE, coding, &[&plain]);
        assert_eq!((observed.open_ended, observed.reading.flags), (false, vec![flags::REPLY_NOT_READ]), "{coding}");
    }
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let observed = observe(SSE, coding, &[b"\xff\xfe\xfd\xfc", &plain]);
        assert_eq!((observed.open_ended, observed.reading.flags), (false, vec![flags::REPLY_NOT_READ]), "{coding}");
    }
    let html = observe("application/json", "identity", &[b"<html>bad gateway</html>"]);
    assert_eq!(html.reading.flags, [flags::REPLY_NOT_READ]);
    let audio = observe("audio/mpeg", "compress", &[b"\xff\xfb"]);
    assert_eq!(audio.reading, Reading::default());
}

#[test]
fn bombs_and_crowds_are_bounded() {
    let bomb = vec![b' '; 64 << 20];
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let coded = encode(coding, &bomb);
        let observed = observe("application/json", coding, &[&coded]);
        assert_eq!(observed.reading.flags, [flags::REPLY_NOT_READ], "{coding}");
    }
    let limits = ObserveLimits { decoded: 1 << 20, memory: Allowance::new(200 << 10) };
    let coded = encode("gzip", &fixture("chat_stream.sse.txt"));
    let mut crowd: Vec<Observer> = (0..3).map(|_| Observer::new(&headers(SSE, "gzip"), &limits)).collect();
    for observer in &mut crowd {
        observer.push(&coded);
    }
    let read: Vec<bool> = crowd.into_iter().map(|one| one.finish(true).reading.flags.is_empty()).collect();
    assert_eq!(read, [true, true, false]);
    let mut later = Observer::new(&headers(SSE, "gzip"), &limits);
    assert!(later.push(&coded), "memory is given back");
}

/// Whatever the pieces it comes in, a reply that unpacks to more than is looked at is read up to the same place.
#[test]
fn what_is_looked_at_of_a_bomb_does_not_depend_on_its_pieces() {
    let event = "data: {\"id\":\"gen-1-a\",\"usage\":{\"cost\":0.25}}\n\n";
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let coded = encode(coding, &[event.as_bytes(), " ".repeat(1 << 16).as_bytes()].concat());
        for decoded in [event.len() as u64 - 3, event.len() as u64, 5_000] {
            let read = |size: usize| {
                let limits = ObserveLimits { decoded, ..limits() };
                let mut observer = Observer::new(&headers(SSE, coding), &limits);
                for piece in coded.chunks(size) {
                    observer.push(piece);
                }
                observer.finish(true)
            };
            let cost = (decoded >= event.len() as u64).then(|| Money::parse("0.25").unwrap());
            assert_eq!(read(usize::MAX).reading.facts.inline_cost, cost, "{coding} {decoded}");
            assert_eq!(read(1), read(usize::MAX), "{coding} {decoded}");
        }
    }
}

fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let mut samples: Vec<(&'static str, Vec<u8>)> = [
        "chat_stream.sse.txt",
        "chat_stream_usage_empty_choices.sse.txt",
        "chat_stream_tool_call.sse.txt",
        "chat_stream_cut_off.sse.txt",
        "chat_stream_midstream_error.sse.txt",
        "completions_stream.sse.txt",
        "messages_stream.sse.txt",
        "messages_stream_no_cost.sse.txt",
        "messages_stream_error.sse.txt",
        "responses_stream.sse.txt",
        "responses_stream_incomplete.sse.txt",
        "responses_stream_error.sse.txt",
    ]
    .into_iter()
    .map(|name| (SSE, fixture(name)))
    .collect();
    for name in [
        "chat_completion.json",
        "completions_legacy.json",
        "responses_nonstream.json",
        "messages_nonstream.json",
        "embeddings.json",
        "rerank.json",
        "images.json",
        "audio_transcription.json",
        "video_accepted.json",
        "video_done.json",
        "error_429.json",
    ] {
        samples.push(("application/json", fixture(name)));
    }
    let crlf = String::from_utf8(fixture("chat_stream.sse.txt")).unwrap().replace('\n', "\r\n");
    samples.push((SSE, crlf.into_bytes()));
    samples
}

/// Bytes made of what replies are made of.
fn looks_like_it() -> impl Strategy<Value = Vec<u8>> {
    let part = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        "\"",
        "\\",
        ":",
        ",",
        "\n",
        "\r",
        " ",
        "data:",
        "data: {",
        "\"usage\":{",
        "\"cost\":",
        "\"error\":",
        "1e",
        "0.5",
        "null",
        "\"id\":\"gen-1\"",
        "\"choices\":[{",
        "\"metadata\":",
        "[DONE]",
    ]);
    prop::collection::vec(part, 0..120).prop_map(|parts| parts.concat().into_bytes())
}

/// A stream's events, with its usage, its error and whether its end was missing.
fn told(stream: &str) -> (Option<i64>, bool, bool) {
    let one_by_one: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
    let observed = observe(SSE, "", &[stream.as_bytes()]);
    assert_eq!(observe(SSE, "", &one_by_one), observed, "{stream:?}");
    let Observed { reading, open_ended } = observed;
    (reading.facts.native_tokens_prompt, reading.error.is_some(), open_ended)
}

#[test]
fn a_byte_order_mark_hides_no_event() {
    let usage = "data: {\"usage\":{\"prompt_tokens\":7}}\n\n";
    assert_eq!(told(&format!("\u{feff}{usage}data: [DONE]\n\n")), (Some(7), false, false));
    // In the middle of a stream it is a part of a name that nobody knows; so is a part of one at its start.
    assert_eq!(told(&format!("data: {{}}\n\n\u{feff}{usage}data: [DONE]\n\n")), (None, false, false));
    let parted = [b"\xef\xbb", usage.as_bytes()].concat();
    assert_eq!(observe(SSE, "", &[&parted]).reading.facts.native_tokens_prompt, None);
}

#[test]
fn a_comment_that_became_a_data_line_hides_no_event() {
    for line in ["data: : OPENROUTER PROCESSING", "data:: OPENROUTER PROCESSING", ": OPENROUTER PROCESSING"] {
        for (before, after) in [(line, ""), ("", line)] {
            let stream = format!("{before}\ndata: {{\"usage\":{{\"prompt_tokens\":7}}}}\n{after}\n\ndata: [DONE]\n\n");
            let stream = stream.trim_start_matches('\n');
            assert_eq!(told(stream), (Some(7), false, false), "{stream:?}");
        }
    }
}

#[test]
fn an_error_that_is_none_ends_no_stream() {
    for none in ["null", "false", "\"\""] {
        let stream = format!(
            "data: {{\"error\":{none},\"choices\":[{{\"error\":{none}}}]}}\n\ndata: {{\"usage\":{{\"prompt_tokens\":7}}}}\n\n"
        );
        assert_eq!(told(&stream), (Some(7), false, true), "{none}");
    }
    for some in ["{}", "true", "\"overloaded\"", "{\"code\":502}"] {
        let stream = format!("data: {{\"error\":{some}}}\n\n");
        assert_eq!(told(&stream), (None, true, false), "{some}");
    }
}

#[test]
fn a_generation_that_only_the_body_names_is_known_before_its_end() {
    let named = br#"{"type":"error","error":{"type":"api_error"},"request_id":"gen-1795098726-a"}"#;
    for coding in CODINGS {
        let mut observer = Observer::new(&headers("application/json", coding), &limits());
        assert!(!observer.names_generation());
        observer.push(&encode(coding, named));
        assert!(observer.names_generation(), "{coding}");
    }
    let mut observer = Observer::new(&headers("application/json", ""), &limits());
    observer.push(br#"{"error":{"code":400},"request_id":null}"#);
    assert!(!observer.names_generation());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However a reply is split, the same is learnt of it, and its end is seen in the same place.
    #[test]
    fn any_split_teaches_the_same(
        sample in any::<prop::sample::Index>(),
        coding in any::<prop::sample::Index>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let samples = samples();
        let (content_type, plain) = &samples[sample.index(samples.len())];
        let coding = CODINGS[coding.index(CODINGS.len())];
        let bytes = encode(coding, plain);
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let pieces: Vec<&[u8]> = at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
        prop_assert_eq!(observe(content_type, coding, &pieces), observe(content_type, coding, &[&bytes]));
        let one_by_one: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(observe(content_type, coding, &one_by_one), observe(content_type, coding, &[&bytes]));
    }

    /// No bytes make it panic, in any coding.
    #[test]
    fn any_bytes_are_survived(bytes in prop_oneof![prop::collection::vec(any::<u8>(), 0..400), looks_like_it()], coding in any::<prop::sample::Index>(), stream in any::<bool>()) {
        let coding = CODINGS[coding.index(CODINGS.len())];
        let content_type = if stream { SSE } else { "application/json" };
        observe(content_type, coding, &[&bytes]);
        observe(content_type, coding, &[&encode(coding, &bytes)]);
    }
}
