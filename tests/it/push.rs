//! OpenRouter's Broadcast pushes: taken once, durable, settled; and everything that must not come in, or be kept.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tallyd::clock::{Clock, Entropy};
use tallyd::domain::table::Cell;
use tallyd::domain::time::Timestamp;
use tallyd::sim::broadcast::Broadcast;
use tallyd::sim::{SimConfig, Simulator};

use crate::store::engines::on_a_postgres_of_its_own;
use crate::support::caller::{Caller, Reply, read};
use crate::support::installation::{Installation, KEY, QUICK, text};
use crate::support::mixture::Call;
use crate::support::pacer::Pacer;
use crate::support::process::Process;
use crate::support::running::Running;
use crate::support::until;

/// Thursday, 19 November 2026, 10:00 UTC.
const START: Timestamp = Timestamp(1_795_082_400_000);

const NOWHERE: &str = "http://127.0.0.1:9/api/v1";
const JSON: (&str, &str) = ("content-type", "application/json");
const SPAN: &str = include_str!("../fixtures/payloads/broadcast_otlp.json");

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(text).unwrap();
    packed.finish().unwrap()
}

async fn push(caller: &Caller, headers: &[(&str, &str)], body: impl Into<bytes::Bytes>) -> Reply {
    let headers: Vec<(&str, &str)> = [JSON].iter().chain(headers).copied().collect();
    caller.post("/v1/traces", &headers, body).await
}

/// A daemon that can ask nobody.
async fn daemon(tables: &str) -> (Installation, Running, Caller) {
    let at = Installation::new(NOWHERE, tables);
    let running = Running::start(&at, &Clock::system()).await;
    let caller = Caller::new(running.address());
    (at, running, caller)
}

/// Calls made past the gateway, pushed twice, are rows once, and come to what was billed.
async fn pushed_calls_settle(database_url: &str) {
    let clock = Clock::manual(START);
    let pacer = Pacer::start(&clock);
    let simulator = Simulator::start(SimConfig::default(), clock.clone(), Entropy::seeded(5)).await.unwrap();
    let at = Installation::on(database_url, simulator.base_url(), QUICK);
    let running = Running::start(&at, &clock).await;
    simulator.broadcast_to(Broadcast {
        url: format!("http://{}/v1/traces", running.address()),
        gzip: true,
        times: 2,
        ..Broadcast::default()
    });
    let upstream = Caller::new(simulator.address());
    let bearer = format!("Bearer {KEY}");
    for number in 0..60 {
        let call = Call::nth(number);
        let behaviour = call.behaviour.split("usage=").next().unwrap().trim_end_matches(';').to_owned();
        let headers = [JSON, ("authorization", &*bearer), ("x-sim", &*behaviour)];
        let reply = upstream.send(Method::POST, &call.path(), &headers, call.body()).await;
        // Faults that were asked for end some replies early; the bill is written all the same.
        if let Ok(reply) = reply {
            read(reply).await;
        }
    }
    until("the end of every call", async || (simulator.in_flight() == 0).then_some(())).await;
    let billed = simulator.truth().all();
    assert!(billed.len() > 40, "{}", billed.len());
    let pushes = 2 * billed.len() as u64;
    until("every push", async || (simulator.pushed() == pushes).then_some(())).await;
    let rows = at.number("SELECT COUNT(*) FROM usage WHERE captured_by = 'broadcast'").await;
    assert_eq!(rows, billed.len() as i128);
    pacer.set_speed(200);
    until("every record", async || (at.pending().await == 0).then_some(())).await;
    let settled = at.number("SELECT COUNT(*) FROM usage WHERE state = 'settled'").await;
    assert_eq!(settled, billed.len() as i128);
    let sum = at.sql("SELECT CAST(SUM(cost_picousd) AS TEXT) FROM usage").await;
    assert_eq!(text(&sum[0][0]), Some(&*simulator.truth().total().0.to_string()));
    running.stop().await;
    at.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_twice_is_one_row_that_settles() {
    pushed_calls_settle("sqlite:data/tallyd.db").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_twice_is_one_row_that_settles_on_postgres() {
    on_a_postgres_of_its_own("pushed", async |url| pushed_calls_settle(url).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_was_acknowledged_survives_a_kill_and_nothing_asked_or_answered_is_kept() {
    let at = Installation::new(NOWHERE, "[broadcast]\ntoken = \"CANARY-token-of-the-webhook\"\n");
    let process = Process::start(&at).await;
    let caller = Caller::new(process.address());
    let body = SPAN
        .replace("Explain budget alerts.", "CANARY-prompt")
        .replace("Budget alerts are e-mails.", "CANARY-completion");
    assert!(body.contains("CANARY-completion"));
    let reply = push(&caller, &[("authorization", "Bearer CANARY-token-of-the-webhook")], gzip(body.as_bytes())).await;
    assert_eq!(
        (reply.status, reply.text().as_str()),
        (StatusCode::BAD_REQUEST, r#"{"code":3,"message":"the body is not OTLP in JSON (line 1, column 1)"}"#)
    );
    let headers = [("authorization", "Bearer CANARY-token-of-the-webhook"), ("content-encoding", "gzip")];
    let reply = push(&caller, &headers, gzip(body.as_bytes())).await;
    assert_eq!((reply.status, reply.text().as_str()), (StatusCode::OK, "{}"));
    assert_eq!(
        push(&caller, &[("authorization", "Bearer CANARY-wrong")], body.clone()).await.status,
        StatusCode::UNAUTHORIZED
    );
    let broken = body.replace("\"kind\": 3", "\"kind\" 3");
    assert_eq!(push(&caller, &headers[..1], broken).await.status, StatusCode::BAD_REQUEST);
    process.kill().await;

    let query = "SELECT generation_id, state, captured_by, requested_model, model, provider, end_user, session, tags, key_name, \
                 finish_reason, CAST(native_tokens_prompt AS TEXT), CAST(native_tokens_completion AS TEXT), \
                 CAST(cost_picousd AS TEXT), created_at, CAST(latency_ms AS TEXT), app FROM usage";
    let rows = at.sql(query).await;
    let row: Vec<Option<&str>> = rows[0].iter().map(text).collect();
    let expected = [
        "gen-1789000001-A1b2C3d4E5f6G7h8I9j0",
        "pending",
        "broadcast",
        "openai/gpt-4o-mini",
        "openai/gpt-4o-mini-2024-07-18",
        "OpenAI",
        "team-billing",
        "sess-42",
        "{\"cost_center\":\"CC-7\"}",
        "prod",
        "stop",
        "212",
        "87",
        "83160000",
        "2026-09-10T00:26:41.000Z",
        "412",
    ];
    assert_eq!(row[..16], expected.map(Some));
    assert_eq!(row[16], None);
    crate::discreet::search_files(&at, "after a push");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_tries_the_connection_is_answered_and_is_no_row() {
    let (at, running, caller) = daemon("").await;
    let test: Value =
        serde_json::from_str(include_str!("../fixtures/payloads/broadcast_test_connection.json")).unwrap();
    for (headers, body) in [
        (&[("x-test-connection", "true")][..], test["body"].to_string()),
        (&[("x-test-connection", "true")], String::new()),
        (&[], "{\"resourceSpans\":[]}".to_owned()),
        (&[], SPAN.replace("LLM Generation", "Test Generation")),
        (&[], SPAN.replace("LLM Generation", "openrouter-connection-test")),
    ] {
        let reply = push(&caller, headers, body).await;
        assert_eq!((reply.status, reply.text().as_str()), (StatusCode::OK, "{}"));
    }
    assert_eq!(at.number("SELECT COUNT(*) FROM usage").await, 0);
    let put = caller.send(Method::PUT, "/v1/traces", &[JSON], SPAN.to_owned()).await.unwrap();
    assert_eq!(read(put).await.status, StatusCode::OK);
    assert_eq!(at.number("SELECT COUNT(*) FROM usage").await, 1);
    let half = SPAN.replace("gen_ai.response.id", "gen_ai.response.other");
    let reply = push(&caller, &[], half).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.json()["partialSuccess"]["rejectedSpans"], "1");
    assert!(reply.json()["partialSuccess"]["errorMessage"].as_str().unwrap().contains("gen_ai.response.id"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_other_forms_and_sizes_are_refused_with_the_remedy() {
    let (at, running, caller) = daemon("[broadcast]\nmax_body = \"64KiB\"\nmax_decoded = \"128KiB\"\n").await;
    let large = |bytes: usize| {
        let prompt = "x".repeat(bytes);
        SPAN.replace("Explain budget alerts.", &prompt)
    };
    let gz = ("content-encoding", "gzip");
    let protobuf = caller.post("/v1/traces", &[("content-type", "application/x-protobuf")], "x".to_owned()).await;
    assert_eq!(protobuf.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(protobuf.json()["message"].as_str().unwrap().contains("JSON"));
    for (headers, body, status, wanted) in [
        (&[][..], large(70_000).into_bytes(), StatusCode::PAYLOAD_TOO_LARGE, "broadcast.max_body"),
        (&[gz], gzip(large(300_000).as_bytes()), StatusCode::PAYLOAD_TOO_LARGE, "broadcast.max_decoded"),
        (&[gz], gzip(SPAN.as_bytes())[..200].to_vec(), StatusCode::BAD_REQUEST, "gzip is damaged"),
        (&[gz], SPAN.as_bytes().to_vec(), StatusCode::BAD_REQUEST, "gzip is damaged"),
        (&[("content-encoding", "br")], SPAN.as_bytes().to_vec(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "gzip"),
        (&[], b"<html>".to_vec(), StatusCode::BAD_REQUEST, "line 1"),
        (&[], Vec::new(), StatusCode::BAD_REQUEST, "line 1"),
    ] {
        let reply = push(&caller, headers, body).await;
        assert_eq!(reply.status, status, "{wanted}: {}", reply.text());
        assert!(reply.json()["message"].as_str().unwrap().contains(wanted), "{wanted}: {}", reply.text());
    }
    assert_eq!(at.number("SELECT COUNT(*) FROM usage").await, 0);
    assert_eq!(push(&caller, &[gz], gzip(large(50_000).as_bytes())).await.status, StatusCode::OK);
    let get = caller.get("/v1/traces").await;
    assert_eq!(get.status, StatusCode::METHOD_NOT_ALLOWED);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_must_carry_the_token_in_one_of_its_headers() {
    let (at, running, caller) =
        daemon("[broadcast]\ntoken = \"of-the-webhook\"\nheader = \"X-Tally-Broadcast\"\n").await;
    for headers in [
        &[][..],
        &[("authorization", "Bearer of-the-webhoo")],
        &[("authorization", "Bearer of-the-webhook2")],
        &[("authorization", "of-the-webhook")],
        &[("x-webhook-signature", "of-the-webhook")],
        &[("x-test-connection", "true")],
    ] {
        let reply = push(&caller, headers, SPAN.to_owned()).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{headers:?}");
        let message = reply.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains("x-tally-broadcast") && !message.contains("of-the-webhook"), "{message}");
    }
    assert_eq!(at.number("SELECT COUNT(*) FROM usage").await, 0);
    for headers in [
        [("authorization", "Bearer of-the-webhook")],
        [("x-tally-broadcast", "of-the-webhook")],
        // Behind a proxy the Host is whatever the world calls us.
        [("X-TALLY-BROADCAST", "of-the-webhook")],
    ] {
        assert_eq!(push(&caller, &headers, SPAN.to_owned()).await.status, StatusCode::OK, "{headers:?}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_only_programs_of_this_machine_push() {
    let (_at, running, caller) = daemon("").await;
    let reply = push(&caller, &[("origin", "https://evil.example")], SPAN.to_owned()).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    let reply = push(&caller, &[("host", "evil.example")], SPAN.to_owned()).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    assert_eq!(push(&caller, &[], SPAN.to_owned()).await.status, StatusCode::OK);
    running.stop().await;

    // Beyond loopback nothing is taken until there is a token; the rest of the daemon runs.
    let at = Installation::new(NOWHERE, "");
    let open = |more: &str| {
        format!(
            "listen = \"0.0.0.0:0\"\ndatabase_url = \"sqlite:data/tallyd.db\"\njournal_dir = \"data/journal\"\n\
             admin_token = \"a-long-admin-token-0123456789\"\n[openrouter]\nbase_url = \"{NOWHERE}\"\napi_key = \"{KEY}\"\n{more}"
        )
    };
    for more in ["", "[broadcast]\ntoken = \"of-the-webhook\"\n"] {
        at.configure(&open(more));
        let running = Running::start(&at, &Clock::system()).await;
        let caller = Caller::new(([127, 0, 0, 1], running.address().port()).into());
        let reply = push(&caller, &[], SPAN.to_owned()).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{}", reply.text());
        assert!(reply.json()["message"].as_str().unwrap().contains("broadcast.token"));
        if !more.is_empty() {
            let header = ("x-webhook-signature", "of-the-webhook");
            assert_eq!(push(&caller, &[header], SPAN.to_owned()).await.status, StatusCode::OK);
        }
        running.stop().await;
    }
    assert_eq!(at.number("SELECT COUNT(*) FROM usage").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_at_openrouter_that_is_ours_too_is_our_key() {
    let (at, running, caller) = daemon("[openrouter.keys]\nprod = \"sk-or-v1-configured-prod-0001\"\n").await;
    assert_eq!(push(&caller, &[], SPAN.to_owned()).await.status, StatusCode::OK);
    let (call, _) =
        tallyd::store::calls::find(running.store(), "gen-1789000001-A1b2C3d4E5f6G7h8I9j0").await.unwrap().unwrap();
    let key = call.key.unwrap();
    assert_eq!((key.name.as_str(), key.fingerprint.unwrap().tail.as_str()), ("prod", "0001"));
    assert_eq!(at.sql("SELECT key_name FROM usage").await, [[Cell::Text("prod".to_owned())]]);
    let body = json!({ "resourceSpans": [] }).to_string();
    assert_eq!(push(&caller, &[], body).await.status, StatusCode::OK);
    running.stop().await;
}
