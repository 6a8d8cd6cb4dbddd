//! The simulated OpenRouter through its own door: wire forms, bills, visibility, faults.

use std::io::Read as _;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tallyd::clock::{Clock, Entropy};
use tallyd::domain::time::Timestamp;
use tallyd::sim::live::{self, Live};
use tallyd::sim::picos::{Notation, Picos};
use tallyd::sim::truth::Outcome;
use tallyd::sim::{Chance, SimConfig, SimKey, Simulator, Target};
use tokio_util::sync::CancellationToken;

const KEY: &str = "sk-or-v1-0123456789abcdef";
const OTHER_KEY: &str = "sk-or-v1-fedcba9876543210";

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_mins(1);

async fn start(config: SimConfig) -> Simulator {
    Simulator::start(config, Clock::system(), Entropy::seeded(7)).await.expect("the simulator starts")
}

struct Caller {
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
    key: &'static str,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
    /// Whether the body ended properly.
    whole: bool,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn id(&self) -> String {
        self.headers["x-generation-id"].to_str().expect("an ID is text").to_owned()
    }

    /// The JSON of every `data:` line that is JSON.
    fn events(&self) -> Vec<Value> {
        let text = self.text();
        text.lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .filter_map(|data| serde_json::from_str(data).ok())
            .collect()
    }
}

impl Caller {
    fn of(sim: &Simulator) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, base: sim.base_url().to_owned(), key: KEY }
    }

    fn with_key(&self, key: &'static str) -> Self {
        Self { client: self.client.clone(), base: self.base.clone(), key }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<http::Response<Incoming>, hyper_util::client::legacy::Error> {
        let mut request = Request::builder().method(method).uri(format!("{}/{path}", self.base));
        if !self.key.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.key));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.client.request(request.body(Full::from(body)).expect("a good request")).await
    }

    async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: String) -> Answer {
        let response = self.send(method, path, headers, body).await.expect("a reply head");
        let (head, mut incoming) = response.into_parts();
        let mut answer =
            Answer { status: head.status, headers: head.headers, body: Vec::new(), trailers: None, whole: true };
        while let Some(frame) = incoming.frame().await {
            match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(data)) => answer.body.extend_from_slice(&data),
                Ok(Err(other)) => answer.trailers = other.into_trailers().ok(),
                Err(_) => answer.whole = false,
            }
        }
        answer
    }

    /// A chat call that goes as `behaviour` says.
    async fn chat(&self, streamed: bool, behaviour: &str) -> Answer {
        self.post("chat/completions", "openai/gpt-4o-mini", streamed, behaviour).await
    }

    async fn post(&self, path: &str, model: &str, streamed: bool, behaviour: &str) -> Answer {
        self.call(Method::POST, path, &[("x-sim", behaviour)], ask(model, streamed)).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], String::new()).await
    }

    async fn record(&self, id: &str) -> Answer {
        self.get(&format!("generation?id={id}")).await
    }
}

fn ask(model: &str, streamed: bool) -> String {
    json!({ "model": model, "stream": streamed, "user": "cust-1", "session_id": "s-1",
        "messages": [{ "role": "user", "content": "What does the budget say?" }] })
    .to_string()
}

/// The number's own text after `"name":`, so that amounts are compared without a float.
fn number<'a>(body: &'a str, name: &str) -> &'a str {
    let start = body.find(&format!("\"{name}\":")).unwrap_or_else(|| panic!("no {name} in {body}")) + name.len() + 3;
    let end = body[start..].find([',', '}']).expect("a number ends");
    &body[start..start + end]
}

#[tokio::test]
async fn reply_record_and_truth_say_the_same_cost() {
    let sim = start(SimConfig::default()).await;
    let caller = Caller::of(&sim);
    let answer = caller.chat(false, "prompt_tokens=15;completion_tokens=6;provider=openai;cached=0").await;
    assert_eq!(answer.status, StatusCode::OK);
    let body = answer.json();
    assert_eq!(body["id"], answer.id());
    assert_eq!(body["provider"], "OpenAI");
    assert_eq!(body["usage"]["total_tokens"], 21);
    // 15 × $0.15 and 6 × $0.60 per million, less 1 % for data logging.
    assert_eq!(number(&answer.text(), "cost"), "0.0000057915");
    assert_eq!(number(&answer.text(), "upstream_inference_cost"), "0.00000585");
    let billed = sim.truth().get(&answer.id()).unwrap();
    assert_eq!(billed.cost, Picos(5_791_500));
    assert_eq!(sim.truth().total(), Picos(5_791_500));
    let record = caller.record(&answer.id()).await;
    assert_eq!(number(&record.text(), "total_cost"), "0.0000057915");
    let data = &record.json()["data"];
    assert_eq!(data["model"], "openai/gpt-4o-mini-2024-07-18");
    assert_eq!(data["native_tokens_prompt"], 15);
    assert_eq!(data["external_user"], "cust-1");
    assert_eq!(data["session_id"], "s-1");
    assert_eq!(data["cancelled"], false);
}

#[tokio::test]
async fn every_form_of_a_chat_stream_is_what_the_wire_shows() {
    let sim = start(SimConfig::default()).await;
    let caller = Caller::of(&sim);

    let usual = caller.chat(true, "chunks=3;comments=2").await;
    assert_eq!(usual.headers["content-type"], "text/event-stream");
    assert!(usual.text().starts_with(": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\ndata: {"));
    assert!(usual.text().ends_with("data: [DONE]\n\n"));
    let events = usual.events();
    assert_eq!(events.len(), 5);
    assert!(events.iter().all(|event| event["id"] == usual.id()));
    assert_eq!(events[3]["choices"], events[4]["choices"], "the finish chunk comes twice");
    assert!(events[3]["usage"].is_null() && events[4]["usage"]["cost"].is_number());

    let empty = caller.chat(true, "usage=empty").await.events();
    assert_eq!(empty.last().unwrap()["choices"], json!([]));
    assert!(empty.last().unwrap()["usage"]["cost"].is_number());

    let none = caller.chat(true, "usage=none").await;
    assert!(none.events().iter().all(|event| event["usage"].is_null()));
    assert_ne!(sim.truth().get(&none.id()).unwrap().cost, Picos::ZERO, "what the reply hides is billed all the same");

    let costless = caller.chat(true, "usage=no_cost").await.events();
    assert!(
        costless.last().unwrap()["usage"]["cost"].is_null()
            && costless.last().unwrap()["usage"]["total_tokens"].is_number()
    );

    let odd = caller.chat(true, "odd_comment=1;eol=crlf;no_done=1").await.text();
    assert!(odd.starts_with("data: : OPENROUTER PROCESSING\r\n\r\n"));
    assert!(!odd.contains("[DONE]") && !odd.replace("\r\n", "").contains('\n'));

    let failing = caller.chat(true, "chunks=9;error_after=2").await;
    assert!(!failing.text().contains("[DONE]") && failing.whole);
    let last = failing.events().pop().unwrap();
    assert_eq!((&last["error"]["code"], &last["choices"][0]["finish_reason"]), (&json!(502), &json!("error")));
    let billed = sim.truth().get(&failing.id()).unwrap();
    assert_eq!((billed.outcome, billed.cost), (Outcome::Failed, Picos::ZERO));
    let old = caller.chat(true, "error_after=0;error_code=text;error_billed=1").await;
    assert_eq!(old.events().pop().unwrap()["error"]["code"], "server_error");

    for (how, whole) in [("json", false), ("frame", false), ("clean", true), ("reset", false)] {
        let cut = caller.chat(true, &format!("chunks=5;cut=2;cut_how={how};split=7;completion_tokens=50")).await;
        assert_eq!(cut.whole, whole, "{how}");
        assert!(!cut.text().contains("usage"), "{how}");
        let billed = sim.truth().get(&cut.id()).unwrap();
        assert_eq!((billed.tokens.completion, billed.outcome), (50, Outcome::Complete), "{how}: the provider finished");
    }
}

#[tokio::test]
async fn the_other_dialects_show_their_usage_where_the_wire_has_it() {
    let sim = start(SimConfig::default()).await;
    let caller = Caller::of(&sim);
    let model = "anthropic/claude-sonnet-4";
    let bill = "prompt_tokens=100;completion_tokens=10;cached=60;cache_write=20;provider=anthropic";

    let message = caller.post("messages", model, false, bill).await;
    let usage = &message.json()["usage"];
    assert_eq!((&usage["input_tokens"], &usage["cache_read_input_tokens"]), (&json!(20), &json!(60)));
    // 20 at $3, 60 read at $0.30, 20 written at $3.75, 10 out at $15 per million.
    assert_eq!(number(&message.text(), "cost"), "0.000303");

    let streamed = caller.post("messages", model, true, bill).await;
    let kinds: Vec<_> =
        streamed.text().lines().filter_map(|line| line.strip_prefix("event: ").map(str::to_owned)).collect();
    assert_eq!(kinds.first().unwrap(), "message_start");
    assert_eq!(kinds[kinds.len() - 3..], ["message_delta", "message_stop", "data"]);
    let delta = streamed.events().into_iter().find(|event| event["type"] == "message_delta").unwrap();
    assert_eq!(delta["usage"]["output_tokens"], 10);
    assert_eq!(streamed.events()[0]["message"]["id"], streamed.id());

    let response = caller.post("responses", model, false, "").await;
    assert_eq!((&response.json()["id"], &response.json()["status"]), (&json!(response.id()), &json!("completed")));
    let streamed = caller.post("responses", model, true, "chunks=2").await;
    let events = streamed.events();
    let sequence: Vec<_> = events.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(sequence, (0..10).collect::<Vec<_>>());
    assert_eq!(events[9]["type"], "response.completed");
    assert!(events[9]["response"]["usage"]["cost"].is_number() && events[0]["response"]["usage"].is_null());
    let failed = caller.post("responses", model, true, "error_after=1").await.events().pop().unwrap();
    assert_eq!(failed["type"], "response.failed");
    assert!(caller.post("messages", model, true, "error_after=1").await.text().contains("event: error\ndata: {"));

    let legacy = caller.post("completions", model, false, "").await.json();
    assert_eq!(legacy["object"], "text_completion");
    assert!(legacy["choices"][0]["text"].is_string());
    let legacy = caller.post("completions", model, true, "").await.events();
    assert!(legacy.last().unwrap()["usage"]["cost"].is_number());

    let preset = caller.post("presets/mine/chat/completions", model, false, "").await;
    assert_eq!(preset.status, StatusCode::OK);
}

#[tokio::test]
async fn the_rest_of_the_paid_endpoints_carry_an_id_that_settles() {
    let sim = start(SimConfig::default()).await;
    let caller = Caller::of(&sim);
    for (path, model, prefix, api_type) in [
        ("embeddings", "openai/text-embedding-3-small", "gen-emb-", "embeddings"),
        ("rerank", "cohere/rerank-v3.5", "gen-rerank-", "rerank"),
        ("images", "google/gemini-2.5-flash-image", "gen-", "image"),
        ("audio/transcriptions", "openai/gpt-4o-mini-transcribe", "gen-stt-", "stt"),
        ("audio/speech", "openai/gpt-4o-mini-tts", "gen-tts-", "tts"),
        ("videos", "google/veo-3.1", "gen-", "video"),
    ] {
        let answer = caller.post(path, model, false, "prompt_tokens=1000;completion_tokens=10").await;
        let status = if path == "videos" { StatusCode::ACCEPTED } else { StatusCode::OK };
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.id().starts_with(prefix), "{path}");
        let record = caller.record(&answer.id()).await;
        assert_eq!(record.json()["data"]["api_type"], api_type);
        let billed = sim.truth().get(&answer.id()).unwrap();
        assert!(billed.cost > Picos::ZERO, "{path}");
        assert_eq!(number(&record.text(), "total_cost"), billed.cost.json(Notation::JavaScript));
    }
    let speech = caller.post("audio/speech", "openai/gpt-4o-mini-tts", false, "big=100").await;
    assert_eq!((speech.headers["content-type"].to_str().unwrap(), speech.body.len()), ("audio/mpeg", 100));
    let video = caller.post("videos", "google/veo-3.1", false, "").await.json();
    let job = caller.get(&format!("videos/{}", video["id"].as_str().unwrap())).await.json();
    assert_eq!(job["usage"]["cost"], json!(3.2));
}

#[tokio::test]
async fn a_record_is_there_only_for_the_key_that_made_it() {
    let sim = start(SimConfig::default()).await;
    let caller = Caller::of(&sim);
    let id = caller.chat(false, "").await.id();
    assert_eq!(caller.record(&id).await.status, StatusCode::OK);
    let stranger = caller.with_key(OTHER_KEY).record(&id).await;
    assert_eq!(stranger.status, StatusCode::NOT_FOUND);
    let unknown = caller.record("gen-1789000001-A1b2C3d4E5f6G7h8I9j0").await;
    assert_eq!(unknown.text().replace("gen-1789000001-A1b2C3d4E5f6G7h8I9j0", &id), stranger.text());
    for (key, status) in [("", 401), ("tally-no-such", 401), ("sk-or-v1-", 401)] {
        assert_eq!(caller.with_key(key).record(&id).await.status.as_u16(), status);
        assert_eq!(caller.with_key(key).chat(false, "").await.status.as_u16(), status);
    }
}

#[tokio::test]
async fn a_record_comes_after_its_lag_and_its_bad_readings() {
    let clock = Clock::manual(Timestamp(1_795_000_000_000));
    let config = SimConfig { lag_ms: 1000..=3000, ..SimConfig::default() };
    let sim = Simulator::start(config, clock.clone(), Entropy::seeded(7)).await.unwrap();
    let caller = Caller::of(&sim);

    let drawn = caller.chat(false, "").await.id();
    let fixed = caller
        .chat(
            false,
            "lag_ms=500;hung_reads=1;bad_reads=1;read_status=429;read_retry_after=9;garbage_reads=1;zero_reads=2",
        )
        .await
        .id();
    let never = caller.chat(false, "never=1").await.id();
    clock.advance(Duration::from_millis(499));
    assert_eq!(caller.record(&fixed).await.status, StatusCode::NOT_FOUND);
    clock.advance(Duration::from_millis(1));
    let patience = Clock::system();
    assert!(
        patience.timeout(Duration::from_millis(200), caller.record(&fixed)).await.is_none(),
        "the first reading hangs"
    );
    let busy = caller.record(&fixed).await;
    assert_eq!((busy.status.as_u16(), &busy.headers["retry-after"]), (429, &http::HeaderValue::from_static("9")));
    assert!(serde_json::from_slice::<Value>(&caller.record(&fixed).await.body).is_err());
    for _ in 0..2 {
        let unready = caller.record(&fixed).await.json();
        assert_eq!((&unready["data"]["total_cost"], &unready["data"]["native_tokens_prompt"]), (&json!(0), &json!(0)));
    }
    assert!(caller.record(&fixed).await.json()["data"]["total_cost"].as_f64().unwrap() > 0.0);
    assert_eq!(caller.record(&drawn).await.status, StatusCode::NOT_FOUND);
    clock.advance(Duration::from_secs(3));
    assert_eq!(caller.record(&drawn).await.status, StatusCode::OK);
    clock.advance(Duration::from_hours(1000));
    assert_eq!(caller.record(&never).await.status, StatusCode::NOT_FOUND);
    assert!(drawn.starts_with("gen-1795000000-"));
}

#[tokio::test]
async fn leaving_a_stream_stops_the_bill_only_where_the_provider_can_be_stopped() {
    let sim = start(SimConfig::default()).await;
    let caller = Caller::of(&sim);
    // One event is out when the reply falls silent; a second is being made when the client is found gone.
    for (provider, tokens) in [("anthropic", 20), ("amazon-bedrock", 100)] {
        let config =
            format!("provider={provider};chunks=10;completion_tokens=100;prompt_tokens=50;hang=body;comments=0");
        let body = ask("anthropic/claude-sonnet-4", true);
        let before = sim.truth().totals().generations;
        let response = caller.send(Method::POST, "chat/completions", &[("x-sim", &config)], body).await.unwrap();
        let id = response.headers()["x-generation-id"].to_str().unwrap().to_owned();
        let mut incoming = response.into_body();
        let first = incoming.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(first.starts_with(b"data: {"));
        drop(incoming);
        Clock::system().timeout(PATIENCE, sim.truth().wait_for(before + 1)).await.expect("the call is billed");
        let billed = sim.truth().get(&id).unwrap();
        assert!(billed.outcome == Outcome::Cancelled && billed.streamed);
        assert_eq!(billed.tokens.completion, tokens, "{provider}");
        assert_eq!(billed.cost, Picos(50 * 3_000_000 + i128::from(tokens) * 15_000_000));
        let record = caller.record(&id).await.json();
        assert_eq!((&record["data"]["cancelled"], &record["data"]["finish_reason"]), (&json!(true), &json!(null)));
        assert_eq!(record["data"]["provider_responses"][0]["status"], 499);
    }
    assert_eq!(sim.truth().totals().cancelled, 2);
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_is_billed() {
    let sim = start(SimConfig::default()).await;
    let caller = Caller::of(&sim);
    for (streamed, expected) in [(false, 100), (true, 10)] {
        let before = sim.truth().totals().generations;
        let behaviour = "hang=head;completion_tokens=100;prompt_tokens=50;chunks=10;provider=openai";
        let headers = [("x-sim", behaviour)];
        let call = caller.send(Method::POST, "chat/completions", &headers, ask("openai/gpt-4o", streamed));
        let clock = Clock::system();
        let left = async {
            while sim.in_flight() == 0 {
                clock.sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            _ = call => panic!("the reply hangs"),
            () = left => {}
        }
        clock.timeout(PATIENCE, sim.truth().wait_for(before + 1)).await.expect("the call is billed");
        let billed = sim.truth().all().pop().unwrap();
        assert_eq!((billed.tokens.completion, billed.outcome), (expected, Outcome::Cancelled), "streamed: {streamed}");
        assert!(billed.cost > Picos::ZERO);
    }
    let reset =
        caller.send(Method::POST, "chat/completions", &[("x-sim", "reset=1")], ask("openai/gpt-4o", false)).await;
    assert!(reset.is_err());
    assert_eq!(sim.truth().totals().generations, 3, "a reset call did its work");
}

#[tokio::test]
async fn compressed_replies_read_back_and_stream() {
    let sim = start(SimConfig::default()).await;
    let caller = Caller::of(&sim);
    for coding in ["gzip", "deflate", "br", "zstd"] {
        for streamed in [false, true] {
            let headers = [("x-sim", "coding=auto;chunks=4"), ("accept-encoding", coding)];
            let answer = caller.call(Method::POST, "chat/completions", &headers, ask("openai/gpt-4o", streamed)).await;
            assert_eq!(answer.headers["content-encoding"], coding);
            let plain = decode(coding, &answer.body);
            assert!(plain.contains("\"usage\":{"), "{coding}, streamed: {streamed}: {plain}");
            assert_eq!(plain.ends_with("[DONE]\n\n"), streamed);
        }
    }
    let refused = [("x-sim", "coding=gzip"), ("accept-encoding", "gzip;q=0, identity")];
    let answer = caller.call(Method::POST, "chat/completions", &refused, ask("openai/gpt-4o", false)).await;
    assert!(answer.headers.get("content-encoding").is_none());
    assert!(answer.json()["usage"].is_object());
    let unknown = caller.chat(true, "forced_coding=x-unknown").await;
    assert_eq!(unknown.headers["content-encoding"], "x-unknown");
    assert!(!unknown.text().contains("data:"));
    // Each event can be read as soon as it is there.
    let headers = [("x-sim", "coding=gzip;chunks=2;hang=body"), ("accept-encoding", "gzip")];
    let response = caller.send(Method::POST, "chat/completions", &headers, ask("openai/gpt-4o", true)).await.unwrap();
    let first = response.into_body().frame().await.unwrap().unwrap().into_data().unwrap();
    let mut plain = vec![0; 23];
    flate2::read::GzDecoder::new(&first[..]).read_exact(&mut plain).unwrap();
    assert_eq!(plain, b": OPENROUTER PROCESSING");
}

fn decode(coding: &str, bytes: &[u8]) -> String {
    let mut text = String::new();
    let read = match coding {
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_string(&mut text),
        "deflate" => flate2::read::ZlibDecoder::new(bytes).read_to_string(&mut text),
        "br" => brotli::Decompressor::new(bytes, 4096).read_to_string(&mut text),
        _ => zstd::stream::read::Decoder::new(bytes).expect("a decoder").read_to_string(&mut text),
    };
    read.expect("the coding reads back");
    text
}

#[tokio::test]
async fn errors_have_their_real_forms() {
    let sim = start(SimConfig::default()).await;
    let caller = Caller::of(&sim);
    for status in [400, 401, 402, 403, 404, 408, 429, 500, 502, 503, 529] {
        let answer = caller.chat(false, &format!("status={status}")).await;
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(answer.json()["error"]["code"], status);
        assert!(answer.headers.get("x-generation-id").is_none());
    }
    assert_eq!(caller.chat(false, "status=429").await.headers["retry-after"], "40");
    let own = caller.chat(false, "status=429;form=other").await;
    assert_eq!(own.headers["x-ratelimit-limit"], "50");
    assert_eq!(caller.chat(false, "status=503;retry_after=3").await.headers["retry-after"], "3");
    let moderated = caller.chat(false, "status=403").await.json();
    assert_eq!(moderated["error"]["metadata"]["flagged_input"], "What does the budget say?");
    let availability = caller.chat(false, "status=503;form=availability").await.json();
    assert!(availability["error"]["code"].is_null() && availability["error"]["http_status"] == 503);
    let edge = caller.chat(false, "status=524").await;
    assert_eq!(edge.headers["content-type"], "text/html; charset=UTF-8");
    let moved = caller.chat(false, "status=307;location=http://127.0.0.1:1/x").await;
    assert_eq!((moved.status.as_u16(), moved.headers["location"].to_str().unwrap()), (307, "http://127.0.0.1:1/x"));
    let unknown = caller.post("chat/completions", "acme/fake-1.0", false, "").await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST);
    assert_eq!(unknown.json()["error"]["message"], "acme/fake-1.0 is not a valid model ID");
    let message = caller.post("messages", "openai/gpt-4o", false, "status=529").await.json();
    assert_eq!((&message["type"], &message["error"]["type"]), (&json!("error"), &json!("overloaded_error")));
    let response = caller.post("responses", "openai/gpt-4o", false, "status=429").await.json();
    assert_eq!(
        (&response["error"]["code"], &response["error_type"]),
        (&json!("rate_limit_exceeded"), &json!("rate_limit_exceeded"))
    );
    let mistaken = caller.chat(false, "stauts=500").await;
    assert_eq!(mistaken.status, StatusCode::BAD_REQUEST);
    assert!(mistaken.text().contains("no behaviour 'stauts'"));
    assert_eq!(sim.truth().totals().generations, 0, "a refused call costs nothing");

    let embedded = caller.chat(false, "embedded=choice").await;
    assert_eq!(embedded.json()["choices"][0]["error"]["code"], 502);
    let top = caller.chat(false, "embedded=top").await;
    assert_eq!((top.status, &top.json()["error"]["code"]), (StatusCode::OK, &json!(502)));
    assert_eq!(sim.truth().total(), Picos::ZERO);
    let billed = caller.chat(false, "status=502;error_billed=1").await;
    assert!(sim.truth().get(&billed.id()).unwrap().cost > Picos::ZERO);
    let lost = caller.chat(false, "status=502;error_id=1").await;
    assert_eq!(caller.record(&lost.id()).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn own_provider_keys_fees_fallbacks_and_short_counts_show_in_the_record() {
    let keys = vec![SimKey { byok: true, ..SimKey::new(KEY) }];
    let sim = start(SimConfig { keys, any_key: false, ..SimConfig::default() }).await;
    let caller = Caller::of(&sim);
    assert_eq!(caller.with_key(OTHER_KEY).chat(false, "").await.status, StatusCode::UNAUTHORIZED);
    let tokens = "prompt_tokens=1000;completion_tokens=100;cached=0;provider=openai";
    let own = caller.post("chat/completions", "openai/gpt-4o", false, tokens).await;
    assert_eq!((number(&own.text(), "cost"), &own.json()["usage"]["is_byok"]), ("0", &json!(true)));
    let record = caller.record(&own.id()).await;
    assert_eq!(
        (number(&record.text(), "total_cost"), number(&record.text(), "upstream_inference_cost")),
        ("0", "0.0035")
    );
    assert_eq!(sim.truth().get(&own.id()).unwrap().spend(), Picos(3_500_000_000));
    let fee = caller.post("chat/completions", "openai/gpt-4o", false, &format!("{tokens};byok_fee=1")).await;
    assert_eq!(number(&fee.text(), "cost"), "0.000175");

    let body =
        json!({ "models": ["anthropic/claude-3.5-haiku", "google/gemini-2.5-flash"], "messages": [] }).to_string();
    let answer = caller.call(Method::POST, "chat/completions", &[("x-sim", "fallbacks=2;byok=0")], body).await;
    assert_eq!(answer.json()["model"], "google/gemini-2.5-flash");
    let record = caller.record(&answer.id()).await.json();
    let statuses: Vec<_> =
        record["data"]["provider_responses"].as_array().unwrap().iter().map(|tried| tried["status"].clone()).collect();
    assert_eq!(statuses, [529, 429, 200]);

    let short = caller.chat(false, "byok=0;inline_short=10;completion_tokens=100;notation=python").await;
    assert_eq!(short.json()["usage"]["completion_tokens"], 90);
    let record = caller.record(&short.id()).await;
    assert_eq!(record.json()["data"]["native_tokens_completion"], 100);
    let (shown, settled) = (number(&short.text(), "cost").to_owned(), number(&record.text(), "total_cost").to_owned());
    assert!(shown.contains("e-05") && shown != settled);
}

#[tokio::test]
async fn a_repeated_call_hits_the_response_cache_for_nothing() {
    let sim = start(SimConfig::default()).await;
    let caller = Caller::of(&sim);
    let headers = [("x-openrouter-cache", "true")];
    let ask = || ask("openai/gpt-4o", false);
    let first = caller.call(Method::POST, "chat/completions", &headers, ask()).await;
    assert_eq!(first.headers["x-openrouter-cache-status"], "MISS");
    let second = caller.call(Method::POST, "chat/completions", &headers, ask()).await;
    assert_eq!(second.headers["x-openrouter-cache-status"], "HIT");
    assert_eq!(second.headers["x-openrouter-cache-source-id"], first.id());
    assert_ne!(second.id(), first.id());
    assert_eq!(second.json()["usage"]["total_tokens"], 0);
    let record = caller.record(&second.id()).await.json();
    assert_eq!(
        (&record["data"]["total_cost"], &record["data"]["response_cache_source_id"]),
        (&json!(0), &json!(first.id()))
    );
}

#[tokio::test]
async fn the_account_knows_what_its_keys_spent() {
    let keys = vec![
        SimKey { limit: Some(Picos(1_000_000)), ..SimKey::new(KEY) },
        SimKey { management: true, ..SimKey::new("sk-or-v1-management") },
    ];
    let sim = start(SimConfig { keys, ..SimConfig::default() }).await;
    let caller = Caller::of(&sim);
    caller.chat(false, "prompt_tokens=1000;completion_tokens=1;cached=0").await;
    caller.with_key(OTHER_KEY).chat(false, "").await;
    let spent = sim.truth().all()[0].cost;
    let key = caller.get("key").await;
    for name in ["usage", "usage_daily", "usage_weekly", "usage_monthly"] {
        assert_eq!(number(&key.text(), name), spent.json(Notation::JavaScript));
    }
    assert_eq!(key.json()["data"]["limit_reset"], "monthly");
    let over = caller.chat(false, "").await;
    assert_eq!(over.status, StatusCode::PAYMENT_REQUIRED);
    assert_eq!(caller.get("credits").await.json()["data"], json!({ "total_credits": 0, "total_usage": 0 }));
    let manager = caller.with_key("sk-or-v1-management");
    assert_eq!(manager.get("credits").await.json()["data"]["total_credits"], 1000);
    assert_eq!(manager.chat(false, "").await.status, StatusCode::FORBIDDEN);
    let models = caller.with_key("").get("models").await.json();
    assert_eq!(models["data"][0]["pricing"]["prompt"], "0.00000015");
    assert_eq!(models["total_count"], models["data"].as_array().unwrap().len());
    assert_eq!(caller.get("activity").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn scripts_and_chances_bend_calls_in_order() {
    let chances = vec![Chance { target: Target::Inference, share: 1.0, behaviour: "status=500".to_owned() }];
    let sim = start(SimConfig { chances, ..SimConfig::default() }).await;
    let caller = Caller::of(&sim);
    sim.script(Target::Inference, "status=502").unwrap();
    sim.script(Target::Generation, "status=529;retry_after=2").unwrap();
    sim.script(Target::Generation, "garbage_reads=1").unwrap();
    assert!(sim.script(Target::Generation, "no").is_err());
    assert_eq!(caller.chat(false, "").await.status.as_u16(), 502);
    assert_eq!(caller.chat(false, "").await.status.as_u16(), 500);
    assert_eq!(caller.chat(false, "status=503").await.status.as_u16(), 503);
    let busy = caller.record("gen-x").await;
    assert_eq!((busy.status.as_u16(), busy.headers["retry-after"].to_str().unwrap()), (529, "2"));
    assert!(serde_json::from_slice::<Value>(&caller.record("gen-x").await.body).is_err());
    assert_eq!(caller.record("gen-x").await.status, StatusCode::NOT_FOUND);
    assert_eq!((sim.calls(), sim.readings()), (3, 3));
}

#[tokio::test]
async fn bodies_come_in_the_asked_size_pieces_and_framing() {
    let sim = start(SimConfig { keep_exchanges: 10, ..SimConfig::default() }).await;
    let caller = Caller::of(&sim);
    let big = caller.chat(true, "big=300000;chunks=7").await;
    assert!(big.body.len() > 300_000 && big.events().len() == 9);
    assert_eq!(sim.exchanges()[0].sent(), big.body);
    let asked = &sim.exchanges()[0];
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/api/v1/chat/completions"));
    assert_eq!(asked.body, ask("openai/gpt-4o-mini", true));

    let told = caller.chat(false, "split=100").await;
    assert_eq!(told.headers["content-length"], told.body.len().to_string());
    let chunked = caller.chat(false, "framing=chunked;padding=2;text=canary").await;
    assert!(chunked.headers.get("content-length").is_none());
    assert!(chunked.text().starts_with('\n') && chunked.json()["choices"][0]["message"]["content"] == "canary");
    let half = caller.chat(false, "cut=1").await;
    assert!(!half.whole && serde_json::from_slice::<Value>(&half.body).is_err());
    let headers = [("x-sim", "trailers=1"), ("te", "trailers")];
    let trailing = caller.call(Method::POST, "chat/completions", &headers, ask("openai/gpt-4o", true)).await;
    assert_eq!(trailing.trailers.unwrap()["x-sim-trailer"], "at the end");
    let hop = caller.chat(false, "hop=1;cookie=theirs;no_id=1;no_body_id=1").await;
    assert_eq!(hop.headers["connection"], "x-sim-hop");
    assert_eq!(hop.headers.get_all("set-cookie").iter().count(), 2);
    assert!(hop.headers.get("x-generation-id").is_none() && hop.json()["id"].is_null());
}

#[tokio::test]
async fn streams_keep_the_pace_and_the_clock_they_are_given() {
    let clock = Clock::system();
    let sim = Simulator::start(SimConfig::default(), clock.clone(), Entropy::seeded(7)).await.unwrap();
    let caller = Caller::of(&sim);
    let began = clock.elapsed();
    let stamped = caller.chat(true, "chunks=3;chunk_ms=20;stamped=1;empty_first=1;usage=none").await.events();
    assert_eq!(stamped[0]["choices"], json!([]));
    let mut last = began;
    for event in &stamped[1..4] {
        let made: u64 = event["choices"][0]["delta"]["content"].as_str().unwrap().parse().unwrap();
        let made = Duration::from_micros(made);
        assert!(made >= last + Duration::from_micros(19_999), "{made:?} after {last:?}");
        last = made;
    }
    assert!(last <= clock.elapsed());
    let split = caller.chat(true, "text=größer;split=1;comments=0").await;
    assert!(split.text().contains("größer"));
}

#[tokio::test]
async fn odd_records_still_say_what_was_billed() {
    let sim = start(SimConfig::default()).await;
    let caller = Caller::of(&sim);
    let odd = caller.chat(false, "odd_record=1;wrong_id=1").await.id();
    let record = caller.record(&odd).await;
    assert_eq!(record.json()["data"]["api_type"], "decisions");
    assert_ne!(record.json()["data"]["id"], odd);
    assert_eq!(number(&record.text(), "total_cost"), sim.truth().get(&odd).unwrap().cost.json(Notation::Python));
    let old = caller.chat(false, "old_record=1").await.id();
    assert!(caller.record(&old).await.json()["data"].get("session_id").is_none());
}

#[tokio::test]
async fn living_traffic_flows_until_it_is_stopped() {
    let sim = start(SimConfig { keep_exchanges: 200, ..SimConfig::default() }).await;
    let stop = CancellationToken::new();
    let live = Live { base_url: sim.base_url().to_owned(), rate: 500.0 };
    let driving = live::drive(live, Clock::system(), Entropy::seeded(3), stop.clone());
    let enough = async {
        Clock::system().timeout(PATIENCE, sim.truth().wait_for(150)).await.expect("calls are made");
        stop.cancel();
    };
    tokio::join!(driving, enough);
    let exchanges = sim.exchanges();
    assert!(exchanges.iter().all(|exchange| exchange.headers.contains_key("x-openrouter-title")));
    assert!(exchanges.iter().all(|exchange| !exchange.sent().starts_with(b"{\"error\":{\"message\":\"there is no")));
    let billed = sim.truth().all();
    assert!(billed.iter().any(|billed| billed.streamed) && billed.iter().any(|billed| !billed.streamed));
    assert!(billed.iter().any(|billed| billed.user.is_some() && billed.session.is_some()));
    assert!(sim.truth().total() > Picos::ZERO);
}
