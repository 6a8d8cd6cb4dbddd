//! Every endpoint in every form, through the gateway: what is learnt of each reply, and that each settles to what was
//! billed.

use http::Method;
use serde_json::{Value, json};
use tallyd::clock::{Clock, Entropy};
use tallyd::domain::table::Cell;
use tallyd::domain::time::Timestamp;
use tallyd::sim::{SimConfig, Simulator};

use crate::support::caller::{Caller, Reply, read};
use crate::support::installation::{Installation, KEY, QUICK, number, text};
use crate::support::pacer::Pacer;
use crate::support::running::Running;
use crate::support::until;

const START: Timestamp = Timestamp(1_795_082_400_000);

/// How much faster than real time the wait for records passes.
const FAST: u32 = 100;

/// A daemon in front of a simulator, on a clock of the test's.
pub(crate) struct Scene {
    pub(crate) at: Installation,
    pub(crate) simulator: Simulator,
    pub(crate) running: Running,
    pub(crate) caller: Caller,
    pub(crate) clock: Clock,
    pub(crate) pacer: Pacer,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let clock = Clock::manual(START);
        let pacer = Pacer::start(&clock);
        let simulator = Simulator::start(SimConfig::default(), clock.clone(), Entropy::seeded(5)).await.unwrap();
        // Time that passes fast must not end what takes real time.
        let tables = format!("connect_timeout = \"1m\"\n{QUICK}timeout = \"5m\"\n[journal]\nsync_timeout = \"5m\"\n");
        let at = Installation::new(simulator.base_url(), &tables);
        let running = Running::start(&at, &clock).await;
        let caller = Caller::new(running.address());
        Self { at, simulator, running, caller, clock, pacer }
    }

    /// Makes a call that the simulator answers as `behaviour` says.
    pub(crate) async fn call(&self, path: &str, behaviour: &str, body: &Value) -> Reply {
        let bearer = format!("Bearer {KEY}");
        let headers = [("authorization", &*bearer), ("content-type", "application/json"), ("x-sim", behaviour)];
        self.caller.post(path, &headers, body.to_string()).await
    }

    /// Waits until every record has been read.
    pub(crate) async fn settled(&self) {
        self.pacer.set_speed(FAST);
        let rows = i128::from(self.simulator.truth().totals().generations);
        until("every record", async || {
            let settled = self.at.number("SELECT COUNT(*) FROM usage WHERE state = 'settled'").await;
            (settled >= rows).then_some(())
        })
        .await;
        self.pacer.set_speed(1);
    }

    pub(crate) async fn end(self) {
        self.running.stop().await;
        self.at.verify().await;
    }

    /// The row of the generation, as the columns named.
    pub(crate) async fn row(&self, id: &str, columns: &str) -> Vec<Cell> {
        let query = format!("SELECT {columns} FROM usage WHERE generation_id = '{id}'");
        until(&format!("the row of {id}"), async || self.at.sql(&query).await.pop()).await
    }
}

/// The generation ID in a reply's head.
pub(crate) fn id(reply: &Reply) -> String {
    reply.headers["x-generation-id"].to_str().unwrap().to_owned()
}

/// Every path, a model that answers there, and what is asked.
fn asked() -> Vec<(&'static str, Value, bool)> {
    let words = json!([{ "role": "user", "content": "How much was it?" }]);
    vec![
        ("chat/completions", json!({ "model": "openai/gpt-4o-mini", "messages": words }), true),
        ("completions", json!({ "model": "openai/gpt-4o-mini", "prompt": "How much?" }), true),
        ("responses", json!({ "model": "openai/gpt-4o-mini", "input": "How much?" }), true),
        ("messages", json!({ "model": "anthropic/claude-sonnet-4", "max_tokens": 300, "messages": words }), true),
        ("presets/mine/chat/completions", json!({ "model": "openai/gpt-4o-mini", "messages": words }), true),
        ("presets/mine/responses", json!({ "model": "openai/gpt-4o-mini", "input": "How much?" }), true),
        ("presets/mine/messages", json!({ "model": "openai/gpt-4o-mini", "max_tokens": 300, "messages": words }), true),
        ("embeddings", json!({ "model": "openai/text-embedding-3-small", "input": "How much?" }), false),
        ("rerank", json!({ "model": "cohere/rerank-v3.5", "query": "cost", "documents": ["a", "b"] }), false),
        ("images", json!({ "model": "google/gemini-2.5-flash-image", "prompt": "A bill" }), false),
        ("audio/transcriptions", json!({ "model": "openai/gpt-4o-mini-transcribe", "input_audio": {} }), false),
        ("audio/speech", json!({ "model": "openai/gpt-4o-mini-tts", "input": "How much?", "voice": "alloy" }), false),
        ("videos", json!({ "model": "google/veo-3.1", "prompt": "A bill" }), false),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_is_understood_and_settles_to_what_was_billed() {
    let scene = Scene::new().await;
    let mut calls = Vec::new();
    for (path, body, streams) in asked() {
        for streamed in [false, true] {
            if streamed && !streams {
                continue;
            }
            for usage in ["", ";usage=none", ";no_body_id=1;coding=gzip", ";byok=1;byok_fee=1"] {
                let mut body = body.clone();
                if streamed {
                    body["stream"] = true.into();
                }
                let behaviour = format!("prompt_tokens=1000;completion_tokens=60;cached=300{usage}");
                let reply = scene.call(&format!("/api/v1/{path}"), &behaviour, &body).await;
                let status = if path == "videos" { 202 } else { 200 };
                assert_eq!(reply.status, status, "{path}: {}", reply.text());
                assert!(reply.whole);
                calls.push((id(&reply), path, streamed, usage));
            }
        }
    }
    // What the reply itself told, before any record is read.
    let tells = |path: &str, usage: &str| {
        let none =
            usage.contains("none") && !matches!(path, "embeddings" | "rerank" | "images" | "audio/transcriptions");
        !none && path != "audio/speech" && path != "videos"
    };
    for (id, path, streamed, usage) in &calls {
        let row = scene.row(id, "endpoint, streamed, requested_model, inline_cost_usd IS NOT NULL, http_status").await;
        assert_eq!(text(&row[0]), Some(*path));
        assert_eq!(is_true(&row[1]), *streamed, "{path}");
        assert!(text(&row[2]).is_some(), "{path}");
        assert_eq!(is_true(&row[3]), tells(path, usage), "{path} {usage}");
    }
    scene.settled().await;
    for (id, path, streamed, usage) in &calls {
        let billed = scene.simulator.truth().get(id).unwrap_or_else(|| panic!("{path} was not billed"));
        let columns =
            "cost_picousd, model, provider, finish_reason, native_tokens_prompt, is_byok, flags, state, error_type";
        let row = scene.row(id, columns).await;
        let which = format!("{path}, streamed {streamed}, {usage}: {row:?}");
        assert_eq!(number(&row[0]), billed.spend().0, "{which}");
        let model = text(&row[1]).unwrap();
        assert!(model == billed.model.id || model == billed.model.permaslug, "{which}");
        assert_eq!(text(&row[2]), Some(billed.provider.name), "{which}");
        assert_eq!(text(&row[3]), Some("stop"), "{which}");
        assert_eq!(number(&row[4]), i128::from(billed.tokens.prompt), "{which}");
        assert_eq!(is_true(&row[5]), billed.is_byok, "{which}");
        assert_eq!((text(&row[6]), text(&row[7]), text(&row[8])), (Some(""), Some("settled"), None), "{which}");
    }
    assert_eq!(scene.at.number("SELECT SUM(cost_picousd) FROM usage").await, scene.simulator.truth().total().0);
    assert_eq!(scene.at.number("SELECT COUNT(*) FROM usage").await, i128::try_from(calls.len()).unwrap());
    scene.end().await;
}

/// A truth as the engine tells it: of a column, or of a comparison.
pub(crate) fn is_true(cell: &Cell) -> bool {
    matches!(cell, Cell::Boolean(true) | Cell::Integer(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_films_cost_comes_with_its_job_even_after_a_restart() {
    let Scene { at, simulator, running, caller, clock, pacer } = Scene::new().await;
    let body = json!({ "model": "google/veo-3.1", "prompt": "A bill" }).to_string();
    let bearer = format!("Bearer {KEY}");
    let post = async |caller: &Caller, behaviour: &str| {
        let headers = [("authorization", &*bearer), ("content-type", "application/json"), ("x-sim", behaviour)];
        let reply = caller.post("/api/v1/videos", &headers, body.clone()).await;
        assert_eq!(reply.status, 202);
        let body = reply.json();
        (body["id"].as_str().unwrap().to_owned(), body["generation_id"].as_str().unwrap().to_owned())
    };
    let look = async |caller: &Caller, job: &str| {
        let path = format!("/api/v1/videos/{job}");
        let reply = caller.send(Method::GET, &path, &[("authorization", &bearer)], String::new()).await.unwrap();
        read(reply).await.json()
    };
    // One whose record never comes: only its job tells. One whose record is there, and shows nothing until it is made.
    let (told_job, told) = post(&caller, "job_ms=60000;never=1;no_id=1").await;
    let (_, settled) = post(&caller, "job_ms=60000").await;
    assert_eq!(look(&caller, &told_job).await["status"], "in_progress");
    let row = async |id: &str| {
        let query = format!("SELECT cost_picousd, state, job_id, flags FROM usage WHERE generation_id = '{id}'");
        until("the film's row", async || at.sql(&query).await.pop()).await
    };
    assert_eq!((&row(&told).await[0], text(&row(&told).await[2])), (&Cell::Null, Some(&*told_job)));

    running.stop().await;
    let running = Running::start(&at, &clock).await;
    let caller = Caller::new(running.address());
    pacer.set_speed(FAST);
    let done = until("the film", async || {
        let job = look(&caller, &told_job).await;
        (job["status"] == "completed").then_some(job)
    })
    .await;
    let billed = simulator.truth().get(&told).unwrap();
    assert_eq!(done["usage"]["cost"], json!(3.2));
    until("the job's cost", async || (row(&told).await[0] != Cell::Null).then_some(())).await;
    let seen = row(&told).await;
    assert_eq!((number(&seen[0]), text(&seen[1]), text(&seen[3])), (billed.spend().0, Some("pending"), Some("")));
    // Told again, it changes nothing; a look is no call.
    look(&caller, &told_job).await;
    until("the other's record", async || (text(&row(&settled).await[1]) == Some("settled")).then_some(())).await;
    assert_eq!(number(&row(&settled).await[0]), billed.spend().0);
    assert_eq!(text(&row(&settled).await[3]), Some(""), "no record of nothing was believed");
    assert_eq!(at.number("SELECT COUNT(*) FROM usage").await, 2);
    assert_eq!(at.number("SELECT SUM(cost_picousd) FROM usage").await, simulator.truth().total().0);
    pacer.set_speed(1);
    running.stop().await;
    at.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_in_mid_stream_are_told_in_every_dialect_and_insured() {
    let scene = Scene::new().await;
    let mut ids = Vec::new();
    for (path, mut body, _) in asked().into_iter().take(4) {
        body["stream"] = true.into();
        let ways: &[&str] = match path {
            "responses" => &["error_event=failed", "error_event=response.error", "error_event=error"],
            "messages" => &[""],
            _ => &["error_code=number", "error_code=text", "error_code=missing"],
        };
        for way in ways {
            let behaviour = format!("prompt_tokens=1000;completion_tokens=60;error_after=2;{way}");
            let reply = scene.call(&format!("/api/v1/{path}"), &behaviour, &body).await;
            assert!(reply.status == 200 && reply.whole, "{path}");
            ids.push((id(&reply), path, *way));
        }
    }
    scene.settled().await;
    for (id, path, way) in ids {
        let row = scene.row(&id, "error_type, cost_picousd, flags, http_status").await;
        assert!(text(&row[0]).is_some(), "{path} {way}: {row:?}");
        assert_eq!((number(&row[1]), text(&row[2])), (0, Some("zero_completion")), "{path} {way}: {row:?}");
    }
    let body = json!({ "model": "openai/gpt-4o-mini", "stream": true, "messages": [] });
    let billed =
        id(&scene.call("/api/v1/chat/completions", "completion_tokens=60;error_after=2;error_billed=1", &body).await);
    scene.settled().await;
    let row = scene.row(&billed, "cost_picousd > 0, flags").await;
    assert_eq!((is_true(&row[0]), text(&row[1])), (true, Some("")), "what was billed was not insured");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_answered_is_told_against_what_was_asked() {
    let scene = Scene::new().await;
    let chat = async |behaviour: &str, more: Value| {
        let mut body = json!({ "model": "openai/gpt-4o-mini", "messages": [{ "role": "user", "content": "?" }] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        id(&scene.call("/api/v1/chat/completions", behaviour, &body).await)
    };
    let fallback =
        chat("fallbacks=1", json!({ "models": ["openai/gpt-4o-mini", "deepseek/deepseek-chat-v3.1"] })).await;
    let nitro = chat("", json!({ "model": "openai/gpt-4o-mini:nitro" })).await;
    let free = chat("", json!({ "model": "meta-llama/llama-3.3-70b-instruct:free" })).await;
    let hit = chat("cache_hit=1", json!({})).await;
    let ordered =
        chat("provider=openai", json!({ "provider": { "order": ["openai"], "allow_fallbacks": false } })).await;
    let in_vain = chat(
        "provider=openai",
        json!({ "provider": { "only": ["azure"], "sort": "price", "preferred_max_latency": 1 } }),
    );
    let in_vain = in_vain.await;
    let forbidden =
        chat("provider=azure;fallbacks=1", json!({ "provider": { "order": ["azure"], "allow_fallbacks": false } }))
            .await;
    let headed = {
        let body = json!({ "model": "openai/gpt-4o-mini", "input": "?" });
        id(&scene.call("/api/v1/responses", "provider_header=1;never=1", &body).await)
    };
    let until_then = |id: &str| format!("SELECT provider FROM usage WHERE generation_id = '{id}' AND duration_ms >= 0");
    let provider = until("a row", async || scene.at.sql(&until_then(&headed)).await.pop()).await;
    let served = scene.simulator.truth().get(&headed).unwrap().provider.name;
    assert_eq!(text(&provider[0]), Some(served), "the head names the provider where the body does not");
    scene.pacer.set_speed(FAST);
    until("every record", async || (scene.at.pending().await == 1).then_some(())).await;
    scene.pacer.set_speed(1);
    let columns =
        "flags, requested_model, model, variant, attempts, failed_attempts, requested_models, routing, cost_picousd";
    let row = scene.row(&fallback, columns).await;
    assert_eq!(text(&row[0]), Some("fallback_model,fallback_provider"), "{row:?}");
    assert_eq!((text(&row[1]), text(&row[2])), (Some("openai/gpt-4o-mini"), Some("deepseek/deepseek-chat-v3.1")));
    assert_eq!((number(&row[4]), number(&row[5])), (2, 1));
    assert_eq!(text(&row[6]), Some(r#"["openai/gpt-4o-mini","deepseek/deepseek-chat-v3.1"]"#));
    let row = scene.row(&nitro, columns).await;
    assert_eq!((text(&row[0]), text(&row[3]), number(&row[4])), (Some(""), Some("nitro"), 1), "{row:?}");
    let row = scene.row(&free, columns).await;
    assert_eq!((text(&row[0]), text(&row[3]), number(&row[8])), (Some(""), Some("free"), 0), "{row:?}");
    let row = scene.row(&hit, columns).await;
    assert_eq!((text(&row[0]), number(&row[8])), (Some("response_cache_hit"), 0), "{row:?}");
    let row = scene.row(&ordered, columns).await;
    assert_eq!(text(&row[7]), Some(r#"{"allow_fallbacks":false,"order":["openai"]}"#));
    assert_eq!(text(&row[0]), Some(""), "{row:?}");
    let row = scene.row(&in_vain, columns).await;
    assert_eq!(text(&row[0]), Some("routing_no_effect"), "{row:?}");
    let row = scene.row(&forbidden, columns).await;
    assert_eq!(text(&row[0]), Some("fallback_provider,routing_no_effect"), "{row:?}");

    let page = scene.caller.get(&format!("/completions/{in_vain}")).await.text();
    for said in ["Asked of providers", "served by OpenAI", "OpenAI served, which is not among the allowed", "no effect"]
    {
        assert!(page.contains(said), "{said}: {page}");
    }
    let page = scene.caller.get(&format!("/completions/{forbidden}")).await.text();
    assert!(page.contains("Fallbacks were forbidden, and"), "{page}");
    let page = scene.caller.get(&format!("/completions/{fallback}")).await.text();
    assert!(page.contains("Fallbacks named") && page.contains("deepseek/deepseek-chat-v3.1"), "{page}");
    let flagged = scene.caller.get("/completions?flag=routing_no_effect").await.text();
    assert!(flagged.contains(&in_vain) && flagged.contains(&forbidden) && !flagged.contains(&ordered));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn anthropics_key_header_and_base_url_work() {
    let scene = Scene::new().await;
    let body = json!({ "model": "anthropic/claude-sonnet-4", "max_tokens": 9, "messages": [] }).to_string();
    let headers = [("x-api-key", KEY), ("anthropic-version", "2023-06-01"), ("content-type", "application/json")];
    // Its SDKs add /v1/messages to a base URL that ends in /api.
    let reply = scene.caller.post("/api/v1/messages", &headers, body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["type"], "message");
    let row = scene.row(&id(&reply), "endpoint, key_name").await;
    assert_eq!((text(&row[0]), text(&row[1])), (Some("messages"), Some("default")));
    scene.end().await;
}
