//! What goes wrong in calls: each failure and each silent mistake is grouped, explained and led to its rows.

use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tallyd::clock::{Clock, Entropy};
use tallyd::sim::{SimConfig, Simulator};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::dialects::{Scene, id, is_true};
use crate::support::caller::{Caller, Reply, read};
use crate::support::installation::{Installation, KEY, QUICK, text};
use crate::support::process::Process;
use crate::support::{beside, until};

fn chat(more: &Value) -> Value {
    let mut body = json!({ "model": "openai/gpt-4o-mini", "messages": [{ "role": "user", "content": "How much?" }] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

async fn flags(scene: &Scene, id: &str) -> String {
    let query = format!("SELECT flags FROM usage WHERE generation_id = '{id}' AND duration_ms >= 0");
    let row = until("the row's end", async || scene.at.sql(&query).await.pop()).await;
    text(&row[0]).unwrap().to_owned()
}

/// The links of a page to the rows of its groups.
fn links(page: &str) -> Vec<String> {
    page.split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .filter(|link| link.starts_with("/completions?"))
        .map(|link| link.replace("&#38;", "&").replace("&amp;", "&"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_grouped_explained_and_lead_to_their_rows() {
    let scene = Scene::new().await;
    let empty = scene.caller.get("/failures").await;
    assert_eq!(empty.status, 200);
    assert!(empty.text().contains("No call ended in an error in this time"), "{}", empty.text());
    assert!(empty.text().contains("None was seen in this time"));
    // A model that answers, so that it can be suggested.
    assert_eq!(scene.call("/api/v1/chat/completions", "", &chat(&json!({}))).await.status, 200);
    let wanted = [
        ("status=401", "Bearer sk-or-v1-"),
        ("status=402;form=other", "The account has no credit left"),
        ("status=402", "Set max_tokens to what an answer needs"),
        ("status=403;form=other", "A guardrail, or the account’s permissions"),
        ("status=403;form=budget", "A budget of the workspace"),
        ("status=403", "moderation flagged the input"),
        ("status=429", "Name fallbacks in models"),
        ("status=429;form=other", "share of calls to free models"),
        ("status=502", "The provider failed, or its answer made no sense"),
        ("status=503", "No provider was free"),
        ("status=524", "longer than somebody on the way waits"),
        ("status=529", "more calls than it can take"),
        ("status=413", "larger than OpenRouter takes"),
        ("embedded=choice", "200, then 502"),
    ];
    for (behaviour, _) in wanted {
        for _ in 0..2 {
            scene.call("/api/v1/chat/completions", behaviour, &chat(&json!({}))).await;
        }
    }
    let misspelt = scene.call("/api/v1/chat/completions", "", &chat(&json!({ "model": "openai/gpt-4o-mimi" }))).await;
    assert_eq!(misspelt.status, 400, "{}", misspelt.text());
    let preferences = json!({ "provider": { "only": ["mistral"] } });
    let nobody = scene.call("/api/v1/chat/completions", "", &chat(&preferences)).await;
    assert_eq!(nobody.status, 404, "{}", nobody.text());
    until("all rows", async || {
        (scene.at.number("SELECT COUNT(*) FROM usage WHERE error_type IS NOT NULL").await == 30).then_some(())
    })
    .await;
    let page = scene.caller.get("/failures?range=24h").await.text();
    for (behaviour, said) in wanted {
        assert!(page.contains(said), "{behaviour}: {said} is not in {page}");
    }
    assert!(page.contains("Did you mean openai/gpt-4o-mini?"), "{page}");
    assert!(page.contains("no provider of it fits"), "{page}");
    assert!(page.contains("30 errors, 0 silent mistakes"), "{page}");
    let links = links(&page);
    assert_eq!(links.len(), wanted.len() + 2, "one link a group: {links:?}");
    for link in links {
        let rows = scene.caller.get(&link).await.text();
        assert!(rows.contains("<tr id=\"c-"), "{link} leads to no row");
    }
    // Said in the shell and by the API alike.
    let ended = scene
        .at
        .run(&["report", "--failures", "--since", "2026-11-01", "--until", "2026-12-01", "--format", "json"])
        .await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let rows: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), wanted.len() + 2);
    assert!(ended.err.contains("30 errors, 0 silent mistakes"), "{ended:?}");
    let limited = rows.as_array().unwrap().iter().find(|row| row["status"] == "529").unwrap();
    assert_eq!((&limited["calls"], &limited["endpoint"]), (&json!(2), &json!("chat/completions")));
    let told = scene.caller.get("/tally/v1/failures?since=2026-11-01").await.json();
    assert_eq!(told["rows"].as_array().unwrap().len(), wanted.len() + 2);
    let csv = scene.caller.get("/tally/v1/failures.csv?since=2026-11-01").await.text();
    assert!(csv.starts_with("status,error_type,endpoint,model,calls,last_at,means,mend\r\n"), "{csv}");
    let wrong = scene.caller.get("/completions?status=many").await.text();
    assert!(wrong.contains("no HTTP status"), "{wrong}");
    // Out of the window, they are gone.
    scene.clock.set_wall(scene.clock.now().plus_millis(40 * 86_400_000));
    let later = scene.caller.get("/failures?range=7d").await.text();
    assert!(later.contains("No call ended in an error in this time"));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_mistakes_are_flagged_and_named_with_their_remedy() {
    let scene = Scene::new().await;
    let stream = json!({ "stream": true });
    let literal = chat(&json!({ "extra_body": { "provider": { "sort": "price" } } }));
    let literal = id(&scene.call("/api/v1/chat/completions", "", &literal).await);
    assert_eq!(flags(&scene, &literal).await, "extra_body");
    for (path, body) in [
        ("chat/completions", chat(&stream)),
        ("completions", json!({ "model": "openai/gpt-4o-mini", "prompt": "?", "stream": true })),
        ("responses", json!({ "model": "openai/gpt-4o-mini", "input": "?", "stream": true })),
        ("messages", chat(&stream)),
    ] {
        let path = format!("/api/v1/{path}");
        for silent in ["chunks=0", "only_reasoning=1", "chunks=0;coding=br"] {
            let silent = id(&scene.call(&path, silent, &body).await);
            assert_eq!(flags(&scene, &silent).await, "no_content", "{path}");
        }
        let good = id(&scene.call(&path, "chunks=3;comments=4", &body).await);
        assert_eq!(flags(&scene, &good).await, "", "{path}");
        let cut = id(&scene.call(&path, "chunks=6;cut=2;cut_how=clean", &body).await);
        assert_eq!(flags(&scene, &cut).await, "cut", "{path}");
    }
    scene.pacer.set_speed(20);
    let stalled = id(&scene.call("/api/v1/messages", "chunks=6;stall_after=3;stall_ms=50000", &chat(&stream)).await);
    assert_eq!(flags(&scene, &stalled).await, "stalled", "a comment in between does not end it");
    let slow =
        id(&scene.call("/api/v1/chat/completions", "chunks=3;stall_after=0;stall_ms=50000", &chat(&stream)).await);
    assert_eq!(flags(&scene, &slow).await, "", "a late start is no stall between chunks");
    let patient = id(&scene.call("/api/v1/chat/completions", "chunks=5;chunk_ms=9000", &chat(&stream)).await);
    assert_eq!(flags(&scene, &patient).await, "");
    scene.pacer.set_speed(1);
    let page = scene.caller.get("/failures").await.text();
    for said in [
        "A literal extra_body",
        "write provider, models and the others at the top of the body",
        "A stream without an answer",
        "reasoning used up max_tokens",
        "A stall of more than 30 s",
        "tallyd check --stream",
        "Cut without an end",
        "0 errors, 18 silent mistakes",
    ] {
        assert!(page.contains(said), "{said}: {page}");
    }
    for link in links(&page) {
        assert!(scene.caller.get(&link).await.text().contains("<tr id=\"c-"), "{link} leads to no row");
    }
    scene.settled().await;
    assert_eq!(scene.at.number("SELECT SUM(cost_picousd) FROM usage").await, scene.simulator.truth().total().0);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_is_no_mistake_of_anybody() {
    let scene = Scene::new().await;
    let bearer = format!("Bearer {KEY}");
    let headers = [("authorization", &*bearer), ("x-sim", "chunks=50;chunk_ms=40")];
    let body = chat(&json!({ "stream": true })).to_string();
    let mut reply = scene.caller.send(Method::POST, "/api/v1/chat/completions", &headers, body).await.unwrap();
    let left = reply.headers()["x-generation-id"].to_str().unwrap().to_owned();
    reply.body_mut().frame().await.unwrap().unwrap();
    drop(reply);
    assert_eq!(flags(&scene, &left).await, "client_left");
    scene.settled().await;
    let row = scene.row(&left, "cancelled, flags").await;
    assert_eq!((is_true(&row[0]), text(&row[1])), (true, Some("client_left")));
    scene.end().await;
}

/// A proxy that waits for the whole of every reply before it passes it on.
async fn buffering_proxy(upstream: std::net::SocketAddr) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    beside(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            let body = loop {
                let mut bytes = [0; 4096];
                let read = socket.read(&mut bytes).await.unwrap();
                assert!(read > 0, "the request ended early");
                request.extend_from_slice(&bytes[..read]);
                let text = String::from_utf8_lossy(&request).into_owned();
                if let Some((head, body)) = text.split_once("\r\n\r\n") {
                    let length = head
                        .lines()
                        .find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
                    if length.is_none_or(|length| body.len() >= length.parse().unwrap()) {
                        break body.to_owned();
                    }
                }
            };
            let bearer = format!("Bearer {KEY}");
            let headers = [("authorization", &*bearer), ("content-type", "application/json")];
            let reply: Reply = read(
                Caller::new(upstream).send(Method::POST, "/api/v1/chat/completions", &headers, body).await.unwrap(),
            )
            .await;
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nvia: 1.1 a-proxy\r\ncontent-length: {}\r\n\r\n",
                reply.body.len()
            );
            socket.write_all(&[head.as_bytes(), &reply.body].concat()).await.unwrap();
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_something_holds_back_is_told_from_one_that_flows() {
    let clock = Clock::system();
    let config = SimConfig { behaviour: "chunks=20;chunk_ms=60".to_owned(), ..SimConfig::default() };
    let simulator = Simulator::start(config, clock.clone(), Entropy::seeded(5)).await.unwrap();
    let at = Installation::new(simulator.base_url(), QUICK);
    let daemon = Process::start(&at).await;
    let listen = daemon.address().to_string();

    let flows = at.run(&["check", "--stream", "--listen", &listen]).await;
    assert_eq!(flows.code, Some(0), "{flows:?}");
    assert!(flows.out.contains("chunks arrive as they are made") && flows.out.contains("costs money"), "{flows:?}");

    let proxy = buffering_proxy(daemon.address()).await;
    let held = at.run(&["check", "--stream", &format!("http://{proxy}"), "--model", "openai/gpt-4.1"]).await;
    assert_eq!(held.code, Some(1), "{held:?}");
    for said in ["came at once", "proxy_buffering off", "via: 1.1 a-proxy", "openai/gpt-4.1"] {
        assert!(held.out.contains(said), "{said}: {held:?}");
    }
    until("both rows", async || (at.number("SELECT COUNT(*) FROM usage").await == 2).then_some(())).await;
    let asked = at.sql("SELECT requested_model FROM usage ORDER BY call_id").await;
    assert_eq!(
        asked.iter().map(|row| text(&row[0])).collect::<Vec<_>>(),
        [Some("openai/gpt-4o-mini"), Some("openai/gpt-4.1")]
    );
    let refused = at.run(&["check", "--stream", "http://192.0.2.1/api/v1"]).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("use https"), "{refused:?}");
    let unknown = at.run(&["check", "--stream", "--listen", &listen, "--model", "acme/none"]).await;
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.out.contains("400") && unknown.out.contains("--model"), "{unknown:?}");
    daemon.stop().await;
}
