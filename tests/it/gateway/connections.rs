//! Connections upstream: used again while they are open, replaced when upstream has closed them, and no POST sent twice.

use std::time::Duration;

use tallyd::clock::Clock;
use tallyd::domain::observation::Ending;
use tallyd::domain::time::Timestamp;

use super::house::{House, Plan};

const CHAT: &str = "/api/v1/chat/completions";
const BODY: &str = r#"{"model":"a/b"}"#;

/// Connections of an upstream that restarts.
const ALL: usize = 200;

#[tokio::test]
async fn the_next_call_takes_the_connection_that_the_last_one_left() {
    let mut house = House::new().await;
    let (mut client, mut upstream) = house.post(CHAT, "", BODY).await;
    upstream.json("200 OK", "", "{}").await;
    assert_eq!(client.reply().await.status(), 200);
    for stream in [true, false] {
        let mut other = house.client().await;
        other.post(CHAT, "", BODY).await;
        upstream = upstream.next().await;
        if stream {
            upstream.begin_stream("gen-1789000001-A1b2C3d4E5f6G7h8I9j0").await;
            upstream.chunk("data: [DONE]\n\n").await;
            upstream.send("0\r\n\r\n").await;
        } else {
            upstream.json("429 Too Many Requests", "", "{}").await;
        }
        other.reply().await;
    }
    assert!(house.upstream.is_idle());
    assert_eq!(house.finish().await.0.len(), 3);
}

#[tokio::test]
async fn a_connection_that_upstream_has_closed_is_replaced_and_nobody_notices() {
    let mut house = House::new().await;
    let mut client = house.client().await;
    for headers in ["", "connection: close\r\n", ""] {
        client.post(CHAT, "", BODY).await;
        let mut upstream = house.upstream.accept().await;
        upstream.json("200 OK", headers, "{}").await;
        assert_eq!(client.reply().await.status(), 200);
    }
    assert_eq!(house.finish().await.0.len(), 3);
}

#[tokio::test]
async fn when_upstream_closes_all_connections_at_once_the_next_calls_get_new_ones() {
    let mut house = House::new().await;
    for round in 0..3 {
        // More than one task may look at in one go (tokio's budget): those behind are found closed only when they are used.
        let mut calls = Vec::new();
        for _ in 0..ALL {
            calls.push(house.post(CHAT, "", BODY).await);
        }
        for (client, upstream) in &mut calls {
            upstream.json("200 OK", "", "{}").await;
            assert_eq!(client.reply().await.status(), 200, "in round {round}");
        }
    }
    assert_eq!(house.finish().await.0.len(), 3 * ALL);
}

#[tokio::test]
async fn a_post_that_a_used_connection_has_taken_is_not_sent_to_another() {
    let mut house = House::new().await;
    let (mut client, mut upstream) = house.post(CHAT, "", BODY).await;
    upstream.json("200 OK", "", "{}").await;
    client.reply().await;
    client.post(CHAT, "", BODY).await;
    drop(upstream.next().await);
    assert_eq!(client.reply().await.status(), 502);
    assert!(house.upstream.is_idle());
    let (rows, _) = house.finish().await;
    assert_eq!(rows[1].outcome().ending, Ending::NoReply);
}

#[tokio::test]
async fn a_request_goes_on_when_its_reply_was_faster() {
    let mut house = House::new().await;
    // Longer than what is read ahead.
    let body = "y".repeat(200 << 10);
    let (first, rest) = body.split_at(10 << 10);
    let mut client = house.client().await;
    let length = body.len();
    client.send(format!("POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{first}")).await;
    let mut upstream = house.upstream.accept_head().await;
    upstream.json("200 OK", "", "{}").await;
    assert_eq!(client.reply().await.status(), 200);
    client.send(rest).await;
    upstream.read_body().await;
    assert!(upstream.body == body.as_bytes());
    // It is as good as any other afterwards.
    client.post(CHAT, "", BODY).await;
    upstream.next().await.json("200 OK", "", "{}").await;
    assert_eq!(client.reply().await.status(), 200);
    assert!(house.upstream.is_idle());
    assert_eq!(house.finish().await.0.len(), 2);
}

#[tokio::test]
async fn a_request_whose_rest_nobody_wants_after_its_reply_is_given_up() {
    let clock = Clock::manual(Timestamp(1_795_082_400_000));
    let mut house = House::with(Plan { clock: clock.clone(), ..Plan::default() }).await;
    let mut client = house.client().await;
    client.send(format!("POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 200000\r\n\r\n{BODY}")).await;
    let mut upstream = house.upstream.accept_head().await;
    upstream.json("413 Payload Too Large", "", "{}").await;
    assert_eq!(client.reply().await.status(), 413);
    let time_passes = async {
        loop {
            clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = upstream.closed() => {}
        () = time_passes => {}
    }
    drop(client);
    assert_eq!(house.finish().await.0.len(), 1);
}

#[tokio::test]
async fn what_is_no_reply_is_said_to_be_none() {
    let many = "x-a: 1\r\n".repeat(101);
    for reply in [
        "SSH-2.0-OpenSSH_9.9\r\n".to_owned(),
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nx".to_owned(),
        format!("HTTP/1.1 200 OK\r\n{many}content-length: 0\r\n\r\n"),
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}".to_owned(),
    ] {
        let mut house = House::new().await;
        let (mut client, mut upstream) = house.post(CHAT, "", BODY).await;
        upstream.send(&reply).await;
        let told = client.reply().await;
        assert_eq!(told.status(), 502, "{reply}");
        let message = told.json()["error"]["message"].to_string();
        assert!(message.contains("no HTTP reply") && message.contains("may have been billed"), "{message}");
        upstream.closed().await;
        assert_eq!(house.only_row().await.outcome().ending, Ending::NoReply);
    }
}

#[tokio::test]
async fn an_upstream_of_http1_0_is_served_on_in_http1_1() {
    let mut house = House::new().await;
    let mut client = house.client().await;
    client.post(CHAT, "", BODY).await;
    let mut upstream = house.upstream.accept().await;
    upstream.send("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\n{}").await;
    let reply = client.reply().await;
    assert_eq!((&*reply.head.line, &*reply.body), ("HTTP/1.1 200 OK", &b"{}"[..]));
    // Without a length its body ends with its connection; ours goes on.
    client.post(CHAT, "", BODY).await;
    let mut upstream = upstream.next().await;
    upstream.send("HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{\"a\":1}").await;
    drop(upstream);
    let reply = client.reply().await;
    assert_eq!((&*reply.head.line, &*reply.body), ("HTTP/1.1 200 OK", &b"{\"a\":1}"[..]));
    client.post(CHAT, "", BODY).await;
    house.upstream.accept().await.json("200 OK", "", "{}").await;
    assert_eq!(client.reply().await.status(), 200);
    assert_eq!(house.finish().await.0.len(), 3);
}
