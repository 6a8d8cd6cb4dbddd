//! Where a reply ends, and that its outcome is on disk by then.

use tallyd::domain::flags;
use tallyd::domain::observation::{Ending, Observation};

use super::house::House;

const ID: &str = "gen-1789000001-A1b2C3d4E5f6G7h8I9j0";
const CHUNK: &str = "data: {\"id\":\"gen-1789000001-A1b2C3d4E5f6G7h8I9j0\",\"choices\":[]}\n\n";

/// The outcome is written, and nothing of it waits in memory.
/// What was seen before the end, and the outcome.
fn is_on_disk(house: &House, seen_before: u64) -> bool {
    let health = house.journal.health();
    health.records == seen_before + 1 && health.memory_bytes == 0 && health.not_durable == 0
}

#[tokio::test]
async fn the_frame_that_shows_the_end_of_a_stream_comes_when_the_outcome_is_on_disk() {
    for end in [
        "data: [DONE]\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        "data: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"cost\":1}}}\n\n",
        "data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"server_error\",\"message\":\"m\"}}}\n\n",
        "data: {\"error\":{\"code\":502,\"message\":\"m\"},\"choices\":[]}\n\n",
    ] {
        let mut house = House::new().await;
        let (mut client, mut upstream) = house.chat().await;
        upstream.begin_stream(ID).await;
        client.read_head().await;
        upstream.chunk(CHUNK).await;
        assert_eq!(client.read_chunk().await.unwrap(), CHUNK.as_bytes());
        upstream.chunk(end).await;
        assert_eq!(client.read_chunk().await.unwrap(), end.as_bytes());
        assert!(is_on_disk(&house, 2), "{end}");
        // What follows the end is not looked at and passes.
        upstream.chunk("data: {\"error\":{\"message\":\"late\"}}\n\n").await;
        client.read_chunk().await.unwrap();
        upstream.send("0\r\n\r\n").await;
        assert_eq!(client.read_chunk().await, None);
        assert_eq!(house.only_row().await.outcome().ending, Ending::Complete, "{end}");
    }
}

#[tokio::test]
async fn the_frame_that_completes_a_content_length_comes_when_the_outcome_is_on_disk() {
    let mut house = House::new().await;
    let (mut client, mut upstream) = house.chat().await;
    upstream.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n{\"usage\":").await;
    client.read_head().await;
    assert_eq!(client.read_exact(9).await, b"{\"usage\":");
    upstream.send("{\"cost\":1}}").await;
    client.read_exact(11).await;
    assert!(is_on_disk(&house, 2));
    assert!(house.only_row().await.outcome().facts.inline_cost.is_some());
}

#[tokio::test]
async fn an_error_whose_generation_only_its_body_names_is_held_until_it_is_on_disk() {
    let mut house = House::new().await;
    let (mut client, mut upstream) = house.post("/api/v1/messages", "", "{}").await;
    let body = r#"{"type":"error","error":{"type":"api_error","message":"x"},"request_id":"gen-1795098726-late"}"#;
    let (start, end) = body.split_at(40);
    let length = body.len();
    let head =
        format!("HTTP/1.1 502 Bad Gateway\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    upstream.send(format!("{head}{start}")).await;
    client.read_head().await;
    client.read_exact(start.len()).await;
    upstream.send(end).await;
    client.read_exact(end.len()).await;
    assert!(is_on_disk(&house, 2));
    let row = house.only_row().await;
    assert_eq!(row.outcome().generation_id.as_ref().map(ToString::to_string).as_deref(), Some("gen-1795098726-late"));
}

#[tokio::test]
async fn a_body_without_length_ends_with_its_connection() {
    let mut house = House::new().await;
    let (mut client, mut upstream) = house.chat().await;
    upstream
        .send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"usage\":{\"cost\":2}}")
        .await;
    client.read_head().await;
    assert_eq!(client.read_chunk().await.unwrap(), b"{\"usage\":{\"cost\":2}}");
    drop(upstream);
    assert_eq!(client.read_chunk().await, None);
    assert!(is_on_disk(&house, 2));
    let row = house.only_row().await;
    assert_eq!(row.outcome().ending, Ending::Complete);
    assert!(row.outcome().facts.inline_cost.is_some());
}

#[tokio::test]
async fn a_reply_without_a_body_is_on_disk_before_its_head_passes() {
    let mut house = House::new().await;
    let (mut client, mut upstream) = house.chat().await;
    upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-generation-id: gen-1-a\r\n\r\n").await;
    client.read_head().await;
    assert!(is_on_disk(&house, 1));
    let outcome = house.only_row().await.outcomes.remove(0);
    assert_eq!((outcome.ending, outcome.first_byte_ms), (Ending::Complete, None));
}

#[tokio::test]
async fn replies_that_cost_nothing_are_recorded_too() {
    let mut house = House::new().await;
    let (mut client, mut upstream) = house.chat().await;
    for head in ["HTTP/1.1 204 No Content", "HTTP/1.1 304 Not Modified"] {
        upstream.send(format!("{head}\r\n\r\n")).await;
        assert_eq!(client.read_head().await.line, head);
        client.post("/api/v1/chat/completions", "", "{}").await;
        upstream = upstream.next().await;
    }
    upstream.json("401 Unauthorized", "", r#"{"error":{"code":401,"message":"no"}}"#).await;
    assert_eq!(client.reply().await.status(), 401);
    let (rows, _) = house.finish().await;
    let statuses: Vec<Option<u16>> = rows.iter().map(|row| row.outcome().status).collect();
    assert_eq!(statuses.len(), 3);
    assert!([204, 304, 401].iter().all(|status| statuses.contains(&Some(*status))));
}

#[tokio::test]
async fn a_stream_that_breaks_breaks_for_the_client_too() {
    let mut house = House::new().await;
    let (mut client, mut upstream) = house.chat().await;
    upstream.begin_stream(ID).await;
    upstream.chunk(CHUNK).await;
    client.read_head().await;
    client.read_chunk().await.unwrap();
    upstream.send("ff\r\ndata: {").await;
    drop(upstream);
    let rest = client.rest().await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{:?}", String::from_utf8_lossy(&rest));
    let row = house.only_row().await;
    assert_eq!(row.outcome().ending, Ending::Cut);
    assert_eq!(row.outcome().generation_id.as_ref().unwrap().as_str(), ID);
}

#[tokio::test]
async fn a_stream_that_ends_without_its_end_was_cut() {
    let mut house = House::new().await;
    let (mut client, mut upstream) = house.chat().await;
    upstream.begin_stream(ID).await;
    upstream.chunk(CHUNK).await;
    upstream.send("0\r\n\r\n").await;
    assert_eq!(client.reply().await.body, CHUNK.as_bytes());
    assert_eq!(house.only_row().await.outcome().ending, Ending::Cut);
}

#[tokio::test]
async fn a_body_shorter_than_its_length_was_cut() {
    let mut house = House::new().await;
    let (mut client, mut upstream) = house.chat().await;
    upstream
        .send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{\"id\":\"gen-1-b\",")
        .await;
    drop(upstream);
    client.read_head().await;
    assert_eq!(client.rest().await, b"{\"id\":\"gen-1-b\",");
    let row = house.only_row().await;
    assert_eq!(row.outcome().ending, Ending::Cut);
    assert_eq!(row.outcome().generation_id.as_ref().unwrap().as_str(), "gen-1-b");
}

#[tokio::test]
async fn a_reply_that_cannot_be_read_is_still_a_good_reply() {
    let mut house = House::new().await;
    let (mut client, mut upstream) = house.chat().await;
    upstream
        .send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: lzma\r\nx-generation-id: gen-1-a\r\ncontent-length: 4\r\n\r\n\0\u{1}\u{2}\u{3}")
        .await;
    assert_eq!(client.reply().await.body, [0, 1, 2, 3]);
    let row = house.only_row().await;
    assert_eq!(row.outcome().ending, Ending::Complete);
    assert_eq!(row.outcome().flags, [flags::REPLY_NOT_READ]);
    assert_eq!(row.outcome().generation_id.as_ref().unwrap().as_str(), "gen-1-a");
}

#[tokio::test]
async fn the_id_is_recorded_while_the_reply_is_under_way() {
    let mut house = House::new().await;
    let (mut client, mut upstream) = house.chat().await;
    assert!(matches!(house.observation().await, Observation::Sent(_)));
    upstream.begin_stream(ID).await;
    client.read_head().await;
    let Observation::Head(head) = house.observation().await else { panic!("a head comes next") };
    assert_eq!(head.generation_id.unwrap().as_str(), ID);
    upstream.chunk("data: [DONE]\n\n").await;
    client.read_chunk().await.unwrap();
    assert!(matches!(house.observation().await, Observation::Outcome(_)));
}

#[tokio::test]
async fn a_hit_of_the_response_cache_is_told() {
    let mut house = House::new().await;
    let (mut client, mut upstream) = house.chat().await;
    upstream
        .json("200 OK", "x-openrouter-cache-status: HIT\r\nx-generation-id: gen-1-a\r\n", "{\"usage\":{\"cost\":0}}")
        .await;
    client.reply().await;
    assert!(house.only_row().await.outcome().response_cache_hit);
}

#[tokio::test]
async fn a_daemon_that_ends_lets_replies_under_way_come_to_their_end() {
    let mut house = House::new().await;
    let (mut client, mut upstream) = house.chat().await;
    upstream.begin_stream(ID).await;
    client.read_head().await;
    let idle = house.client().await;
    house.stop();
    upstream.chunk(CHUNK).await;
    assert_eq!(client.read_chunk().await.unwrap(), CHUNK.as_bytes());
    upstream.chunk("data: [DONE]\n\n").await;
    client.read_chunk().await.unwrap();
    upstream.send("0\r\n\r\n").await;
    assert_eq!(client.read_chunk().await, None);
    client.closed().await;
    { idle }.closed().await;
    assert!(tokio::net::TcpStream::connect(&house.address).await.is_err());
    assert_eq!(house.only_row().await.outcome().ending, Ending::Complete);
}
