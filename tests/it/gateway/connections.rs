//! Connections upstream: used again while they are open, replaced when upstream has closed them, and no POST sent twice.

use tallyd::domain::observation::Ending;

use super::house::House;

const CHAT: &str = "/api/v1/chat/completions";
const BODY: &str = r#"{"model":"a/b"}"#;

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
