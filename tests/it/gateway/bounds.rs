//! Bodies of every size pass; only so much of them is looked at.

use tallyd::config;
use tallyd::domain::flags;

use super::house::{House, Plan};

const CHAT: &str = "/api/v1/chat/completions";

fn body(length: usize) -> String {
    let head = r#"{"model":"a/b","x":""#;
    format!("{head}{}\"}}", "y".repeat(length - head.len() - 2))
}

#[tokio::test]
async fn a_body_beyond_the_buffer_streams_on_and_is_not_read() {
    let mut house = House::new().await;
    let long = body((64 << 10) + 1);
    let (mut client, mut upstream) = house.post(CHAT, "x-tally-user: u\r\n", &long).await;
    assert!(upstream.body == long.as_bytes() && !upstream.chunked);
    upstream.json("200 OK", "", "{}").await;
    client.reply().await;
    assert!(house.candidates.lock().unwrap()[0].opaque);
    let row = house.only_row().await;
    assert_eq!(row.sent().flags, [flags::REQUEST_NOT_READ]);
    assert_eq!((row.sent().requested_model.as_ref(), row.sent().streamed), (None, None));
    assert_eq!(row.sent().attribution.user.as_deref(), Some("u"));
}

#[tokio::test]
async fn a_chunked_body_stays_chunked_whether_it_is_read_or_not() {
    let mut house = House::new().await;
    for (length, read) in [(1_000, true), ((64 << 10) + 1, false)] {
        let body = body(length);
        let mut client = house.client().await;
        client
            .send(format!(
                "POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
            ))
            .await;
        for part in body.as_bytes().chunks(997) {
            client.send([format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat()).await;
        }
        client.send("0\r\n\r\n").await;
        let mut upstream = house.upstream.accept().await;
        assert!(upstream.chunked && upstream.body == body.as_bytes());
        assert_eq!(upstream.header("content-length"), None);
        upstream.json("200 OK", "connection: close\r\n", "{}").await;
        client.reply().await;
        assert_eq!(house.candidates.lock().unwrap().last().unwrap().opaque, !read);
    }
    assert_eq!(house.finish().await.0.len(), 2);
}

#[tokio::test]
async fn a_body_of_single_bytes_is_read_whole() {
    let mut house = House::new().await;
    let body = body(300);
    let mut client = house.client().await;
    client.send(format!("POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n")).await;
    for byte in body.bytes() {
        client.send([b"1\r\n", &[byte][..], b"\r\n"].concat()).await;
    }
    client.send("0\r\n\r\n").await;
    let mut upstream = house.upstream.accept().await;
    assert_eq!(upstream.body, body.as_bytes());
    upstream.json("200 OK", "", "{}").await;
    client.reply().await;
    assert_eq!(house.only_row().await.sent().requested_model.as_deref(), Some("a/b"));
}

#[tokio::test]
async fn multipart_bodies_stream_on_as_they_come() {
    let mut house = House::new().await;
    let mut client = house.client().await;
    client
        .send("POST /api/v1/audio/transcriptions HTTP/1.1\r\nhost: localhost\r\ncontent-type: Multipart/form-data; boundary=b\r\ncontent-length: 10\r\n\r\n01234")
        .await;
    // Upstream has the head before the client has sent it all.
    let mut upstream = house.upstream.accept_head().await;
    client.send("56789").await;
    upstream.read_body().await;
    assert_eq!(upstream.body, b"0123456789");
    upstream.json("200 OK", "x-generation-id: gen-stt-1\r\n", "{\"text\":\"t\",\"usage\":{\"cost\":0.1}}").await;
    client.reply().await;
    let row = house.only_row().await;
    assert_eq!(row.sent().flags, [flags::REQUEST_NOT_READ]);
    assert!(row.outcome().facts.inline_cost.is_some());
}

#[tokio::test]
async fn when_the_memory_for_all_is_taken_bodies_stream_on() {
    let mut plan = Plan::default();
    plan.settings = config::Gateway { request_buffer: 1000, request_buffer_total: 1000, ..plan.settings };
    let mut house = House::with(plan).await;
    // The first client holds its share while its body is not whole.
    let mut first = house.client().await;
    first
        .send(format!("POST {CHAT} HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 900\r\n\r\n"))
        .await;
    // It has been told to go on, so its share is taken.
    assert_eq!(first.read_head().await.line, "HTTP/1.1 100 Continue");
    let (mut second, mut upstream) = house.post(CHAT, "connection: close\r\n", &body(200)).await;
    upstream.json("200 OK", "connection: close\r\n", "{}").await;
    second.reply().await;
    assert!(house.candidates.lock().unwrap()[0].opaque);
    first.send(body(900)).await;
    let mut upstream = house.upstream.accept().await;
    upstream.json("200 OK", "connection: close\r\n", "{}").await;
    first.reply().await;
    assert!(!house.candidates.lock().unwrap()[1].opaque);
    // All shares are back.
    let (mut third, mut upstream) = house.post(CHAT, "", &body(1000)).await;
    upstream.json("200 OK", "", "{}").await;
    third.reply().await;
    assert!(!house.candidates.lock().unwrap()[2].opaque);
}

#[tokio::test]
async fn a_compression_bomb_passes_and_is_not_unpacked() {
    let mut house = House::new().await;
    let bomb = zstd::encode_all(&vec![b' '; 64 << 20][..], 19).unwrap();
    let (mut client, mut upstream) = house.chat().await;
    upstream
        .send(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: zstd\r\ncontent-length: {}\r\n\r\n",
            bomb.len()
        ))
        .await;
    upstream.send(&bomb).await;
    assert_eq!(client.reply().await.body, bomb);
    assert_eq!(house.only_row().await.outcome().flags, [flags::REPLY_NOT_READ]);
}

#[tokio::test]
async fn a_client_that_reads_slowly_holds_upstream_back() {
    let mut house = House::new().await;
    let (mut client, mut upstream) = house.chat().await;
    upstream.begin_stream("gen-1-a").await;
    client.read_head().await;
    // Far more than all buffers between the two may hold.
    let event = format!("data: {{\"x\":\"{}\"}}\n\n", "y".repeat(64 << 10));
    let total = 600;
    let writing = tokio::join!(
        async {
            for _ in 0..total {
                upstream.chunk(&event).await;
            }
            upstream.chunk("data: [DONE]\n\n").await;
            upstream.send("0\r\n\r\n").await;
        },
        async {
            let mut read = 0;
            while let Some(chunk) = client.read_chunk().await {
                read += chunk.len();
            }
            read
        }
    );
    assert_eq!(writing.1, total * event.len() + "data: [DONE]\n\n".len());
    house.only_row().await;
}
