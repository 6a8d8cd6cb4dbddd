//! Bodies, framing and headers pass as they are.

use std::io::Write as _;

use tallyd::domain::money::Money;
use tallyd::domain::observation::Ending;

use super::house::{House, OWN_KEY};

const CHAT: &str = include_str!("../../fixtures/payloads/chat_completion.json");
const STREAM: &str = include_str!("../../fixtures/payloads/chat_stream.sse.txt");
const ID: &str = "gen-1789000001-A1b2C3d4E5f6G7h8I9j0";

#[tokio::test]
async fn a_completion_passes_byte_for_byte_and_is_recorded() {
    let mut house = House::new().await;
    let body = "{\n \"model\" : \"openai/gpt-4o-mini\",  \"messages\":[] , \"user\":\"u1\"}";
    let path = "/api/v1/chat/completions?a=%2f&b=%zz&&c";
    let (mut client, mut upstream) =
        house.post(path, "Authorization: Bearer sk-or-v1-mine\r\nX-Tally-App: bot\r\nUser-Agent: t/1\r\n", body).await;
    assert_eq!(upstream.line, format!("POST {path} HTTP/1.1"));
    assert_eq!(upstream.body, body.as_bytes());
    assert!(!upstream.chunked);
    assert_eq!(upstream.header("authorization"), Some("Bearer sk-or-v1-mine"));
    assert_eq!(upstream.header("host"), Some(house.upstream.address.as_str()));
    let mut names: Vec<&str> = upstream.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["authorization", "content-length", "content-type", "host", "user-agent"]);
    upstream.json("200 OK", "x-generation-id: gen-1-a\r\nx-other: ü\r\ncf-ray: 1\r\n", CHAT).await;
    let reply = client.reply().await;
    assert_eq!(reply.head.line, "HTTP/1.1 200 OK");
    assert_eq!(reply.body, CHAT.as_bytes());
    let names: Vec<&str> = reply.head.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["content-type", "content-length", "x-generation-id", "x-other", "cf-ray"]);
    let row = house.only_row().await;
    let sent = row.sent();
    assert_eq!(sent.endpoint, "chat/completions");
    assert_eq!(sent.key.name, "…mine");
    assert_eq!((sent.attribution.app.as_deref(), sent.attribution.user.as_deref()), (Some("bot"), Some("u1")));
    assert_eq!((sent.requested_model.as_deref(), sent.streamed), (Some("openai/gpt-4o-mini"), Some(false)));
    let outcome = row.outcome();
    assert!(row.heads.is_empty() != outcome.head_at.is_none(), "the head is told once, with the outcome or before it");
    assert_eq!((outcome.ending, outcome.status), (Ending::Complete, Some(200)));
    assert_eq!(outcome.generation_id.as_ref().unwrap().as_str(), "gen-1-a");
    assert_eq!(outcome.facts.inline_cost, Money::parse("0.0112416").ok());
    assert_eq!(outcome.facts.streamed, Some(false));
    assert!(outcome.first_byte_ms.is_some());
}

#[tokio::test]
async fn a_stream_passes_chunk_by_chunk_as_it_comes() {
    let mut house = House::new().await;
    let (mut client, mut upstream) = house.chat().await;
    upstream.begin_stream(ID).await;
    let head = client.read_head().await;
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    let events: Vec<&str> = STREAM.split_inclusive("\n\n").filter(|event| !event.trim().is_empty()).collect();
    assert!(events.len() > 6);
    for event in &events {
        // Each arrives before the next is sent.
        upstream.chunk(event).await;
        assert_eq!(client.read_chunk().await.unwrap(), event.as_bytes());
    }
    upstream.send("0\r\n\r\n").await;
    assert_eq!(client.read_chunk().await, None);
    let row = house.only_row().await;
    assert_eq!(row.outcome().ending, Ending::Complete);
    assert_eq!(row.outcome().facts.inline_cost, Money::parse("0.00008316").ok());
    assert_eq!((row.sent().streamed, row.outcome().facts.streamed), (Some(true), Some(true)));
}

#[tokio::test]
async fn compressed_streams_pass_untouched_and_are_understood() {
    let mut house = House::new().await;
    let gzip = {
        let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        to.write_all(STREAM.as_bytes()).unwrap();
        to.finish().unwrap()
    };
    let deflate = {
        let mut to = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        to.write_all(STREAM.as_bytes()).unwrap();
        to.finish().unwrap()
    };
    let mut br = Vec::new();
    brotli::CompressorWriter::new(&mut br, 4096, 4, 20).write_all(STREAM.as_bytes()).unwrap();
    let zstd = zstd::encode_all(STREAM.as_bytes(), 3).unwrap();
    let codings = [("gzip", gzip), ("deflate", deflate), ("br", br), ("zstd", zstd)];
    for (coding, bytes) in &codings {
        let (mut client, mut upstream) =
            house.post("/api/v1/chat/completions", &format!("accept-encoding: {coding}, compress\r\n"), "{}").await;
        assert_eq!(upstream.header("accept-encoding"), Some(*coding));
        upstream
            .send(format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: {coding}\r\ntransfer-encoding: chunked\r\nx-generation-id: {ID}\r\n\r\n"
            ))
            .await;
        for part in bytes.chunks(97) {
            upstream.chunk(part).await;
        }
        upstream.send("0\r\n\r\n").await;
        let reply = client.reply().await;
        assert_eq!(reply.head.header("content-encoding"), Some(*coding));
        assert_eq!(&reply.body, bytes, "{coding}");
    }
    let (rows, _) = house.finish().await;
    assert_eq!(rows.len(), codings.len());
    for row in rows {
        assert_eq!(row.outcome().facts.inline_cost, Money::parse("0.00008316").ok());
        assert_eq!((row.outcome().ending, row.outcome().flags.len()), (Ending::Complete, 0));
    }
}

#[tokio::test]
async fn hop_by_hop_headers_and_our_own_end_here() {
    let mut house = House::new().await;
    let headers = "Connection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\nTE: trailers, gzip\r\nProxy-Authorization: Basic eA==\r\nX-Tally-Tags: a=b\r\nCookie: tallyd_session=s; theirs=1\r\n";
    let (mut client, mut upstream) = house.post("/api/v1/chat/completions", headers, "{}").await;
    for gone in ["connection", "x-hop", "keep-alive", "proxy-authorization", "x-tally-tags"] {
        assert_eq!(upstream.header(gone), None, "{gone}");
    }
    assert_eq!(upstream.header("te"), Some("trailers"));
    assert_eq!(upstream.header("cookie"), Some("theirs=1"));
    upstream
        .json("200 OK", "connection: x-up\r\nx-up: 1\r\nkeep-alive: timeout=5\r\nset-cookie: tallyd_session=evil\r\nset-cookie: __cf=1\r\n", "{}")
        .await;
    let reply = client.reply().await;
    for gone in ["x-up", "keep-alive"] {
        assert_eq!(reply.head.header(gone), None, "{gone}");
    }
    let cookies: Vec<&str> =
        reply.head.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value.as_str()).collect();
    assert_eq!(cookies, ["__cf=1"]);
    assert_eq!(house.only_row().await.sent().attribution.tags["a"], "b");
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let mut house = House::new().await;
    let mut client = house.client().await;
    client
        .send("POST /api/v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nte: trailers\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\n{}\r\n0\r\nx-sum: 1\r\n\r\n")
        .await;
    let mut upstream = house.upstream.accept_head().await;
    assert_eq!(upstream.header("transfer-encoding"), Some("chunked"));
    assert_eq!(upstream.header("content-length"), None);
    assert_eq!(upstream.header("trailer"), Some("x-sum"));
    upstream
        .send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\ntrailer: x-cost\r\n\r\n2\r\n{}\r\n")
        .await;
    client.read_head().await;
    assert_eq!(client.read_chunk().await.unwrap(), b"{}");
    upstream.send("0\r\nx-cost: 2\r\n\r\n").await;
    assert_eq!(client.read_until(b"\r\n\r\n").await, b"0\r\nx-cost: 2\r\n\r\n");
    assert_eq!(house.only_row().await.outcome().ending, Ending::Complete);
}

#[tokio::test]
async fn what_is_not_inference_passes_without_a_row() {
    let mut house = House::new().await;
    let mut client = house.client().await;
    client.send("GET /api/v1/models?x=1 HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let mut upstream = house.upstream.accept().await;
    assert_eq!(upstream.line, "GET /api/v1/models?x=1 HTTP/1.1");
    assert_eq!((upstream.header("content-length"), upstream.chunked), (None, false));
    assert_eq!(upstream.header("authorization"), Some(format!("Bearer {OWN_KEY}").as_str()));
    upstream.json("200 OK", "x-generation-id: gen-1-get\r\n", "{}").await;
    assert_eq!(client.reply().await.body, b"{}");

    client.send("HEAD /api/v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let mut upstream = upstream.next().await;
    upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").await;
    assert_eq!(client.read_head().await.header("content-length"), Some("5"));

    client.post("/api/v1/keys", "", "{\"name\":\"x\"}").await;
    let mut upstream = upstream.next().await;
    upstream.json("201 Created", "", "{\"key\":\"k\"}").await;
    assert_eq!(client.reply().await.status(), 201);

    client.post("/api/beta/batches", "x-tally-app: b\r\n", "{}").await;
    let mut upstream = upstream.next().await;
    upstream.json("200 OK", "x-generation-id: gen-batch-1-a\r\n", "{\"usage\":{\"cost\":1}}").await;
    assert_eq!(client.reply().await.status(), 200);
    let row = house.only_row().await;
    assert_eq!(row.sent().endpoint, "beta/batches");
    assert_eq!(row.sent().attribution.app.as_deref(), Some("b"));
    assert_eq!(row.outcome().facts.inline_cost, Money::from_usd(1));
}

#[tokio::test]
async fn redirects_and_statuses_pass_as_they_are() {
    let mut house = House::new().await;
    let (mut client, mut upstream) = house.chat().await;
    upstream
        .send("HTTP/1.1 307 Somewhere Else\r\nlocation: https://elsewhere.example/\r\ncontent-length: 0\r\n\r\n")
        .await;
    let reply = client.reply().await;
    assert_eq!(reply.head.line, "HTTP/1.1 307 Somewhere Else");
    assert_eq!(reply.head.header("location"), Some("https://elsewhere.example/"));
    client.post("/api/v1/chat/completions", "", "{}").await;
    let mut upstream = upstream.next().await;
    upstream.json("529 Overloaded", "retry-after: 7\r\n", r#"{"error":{"code":529,"message":"busy"}}"#).await;
    let reply = client.reply().await;
    assert_eq!((reply.status(), reply.head.header("retry-after")), (529, Some("7")));
    let (rows, _) = house.finish().await;
    assert_eq!(rows.len(), 2);
    let failed = rows.iter().find(|row| row.outcome().status == Some(529)).unwrap();
    assert_eq!(failed.outcome().error.as_ref().unwrap().message.as_deref(), Some("busy"));
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_it() {
    let mut house = House::new().await;
    let mut client = house.client().await;
    client
        .send("POST /api/v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        .await;
    assert_eq!(client.read_head().await.line, "HTTP/1.1 100 Continue");
    client.send("{}").await;
    let mut upstream = house.upstream.accept().await;
    assert_eq!((upstream.body.as_slice(), upstream.header("expect")), (&b"{}"[..], None));
    upstream.json("200 OK", "", "{}").await;
    assert_eq!(client.reply().await.status(), 200);
    house.only_row().await;
}

#[tokio::test]
async fn pages_are_served_on_the_same_port() {
    let house = House::new().await;
    let mut client = house.client().await;
    client.send("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(client.reply().await.body, b"a page");
    assert!(house.finish().await.0.is_empty());
}

#[tokio::test]
async fn clients_of_http2_and_of_http1_0_are_served() {
    let mut house = House::new().await;
    let mut client = house.client().await;
    client.send("POST /api/v1/chat/completions HTTP/1.0\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{}").await;
    let mut upstream = house.upstream.accept().await;
    upstream.begin_stream(ID).await;
    upstream.chunk("data: [DONE]\n\n").await;
    upstream.send("0\r\n\r\n").await;
    let reply = client.reply().await;
    assert_eq!((reply.status(), reply.body.as_slice()), (200, &b"data: [DONE]\n\n"[..]));

    let io = hyper_util::rt::TokioIo::new(house.client().await.stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    let tasks = tallyd::shutdown::Tasks::new();
    tasks.spawn_call("connection", async { connection.await.unwrap() });
    let request = http::Request::post("http://localhost/api/v1/chat/completions")
        .body(http_body_util::Full::new(bytes::Bytes::from_static(b"{}")))
        .unwrap();
    let (reply, mut upstream) = tokio::join!(sender.send_request(request), async {
        let mut upstream = upstream.next().await;
        upstream.begin_stream(ID).await;
        upstream
    });
    let mut body = reply.unwrap().into_body();
    for event in ["data: {}\n\n", "data: [DONE]\n\n"] {
        upstream.chunk(event).await;
        let frame = http_body_util::BodyExt::frame(&mut body).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), event.as_bytes());
    }
    drop((body, sender));
    let (rows, _) = house.finish().await;
    assert!(rows.iter().all(|row| row.outcome().ending == Ending::Complete), "{rows:?}");
    assert_eq!(rows.len(), 2);
}
