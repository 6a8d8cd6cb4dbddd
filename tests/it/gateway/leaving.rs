//! Clients that leave, at each stage of a call, and upstreams that never answer.

use tallyd::config;
use tallyd::domain::money::Money;
use tallyd::domain::observation::{Ending, Observation};

use super::house::{House, Plan};

const ID: &str = "gen-1789000001-A1b2C3d4E5f6G7h8I9j0";
const CHUNK: &str = "data: {\"id\":\"gen-1789000001-A1b2C3d4E5f6G7h8I9j0\",\"choices\":[]}\n\n";

/// Waits for the outcome, so that leaving was noticed before the house ends.
async fn outcome(house: &mut House) -> tallyd::domain::observation::Outcome {
    loop {
        if let Observation::Outcome(outcome) = house.observation().await {
            return *outcome;
        }
    }
}

#[tokio::test]
async fn a_stream_whose_client_leaves_is_closed_upstream_at_once() {
    let mut house = House::new().await;
    let (mut client, mut upstream) = house.chat().await;
    upstream.begin_stream(ID).await;
    upstream.chunk(CHUNK).await;
    client.read_head().await;
    client.read_chunk().await.unwrap();
    drop(client);
    upstream.closed().await;
    let outcome = outcome(&mut house).await;
    assert_eq!(outcome.ending, Ending::ClientLeft);
    assert_eq!(outcome.generation_id.unwrap().as_str(), ID);
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_does_not_stop_a_billed_reply() {
    let mut house = House::new().await;
    let (client, mut upstream) = house.chat().await;
    drop(client);
    upstream.json("200 OK", "x-generation-id: gen-1-a\r\n", "{\"usage\":{\"cost\":0.25}}").await;
    let outcome = outcome(&mut house).await;
    assert_eq!(outcome.ending, Ending::ClientLeft);
    assert_eq!(outcome.facts.inline_cost, Money::parse("0.25").ok());
    assert!(house.upstream.is_idle(), "nothing was sent twice");
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_of_a_stream_ends_it_there() {
    let mut house = House::new().await;
    let (client, mut upstream) = house.chat().await;
    drop(client);
    upstream.begin_stream(ID).await;
    upstream.closed().await;
    let outcome = outcome(&mut house).await;
    assert_eq!((outcome.ending, outcome.generation_id.unwrap().as_str()), (Ending::ClientLeft, ID));
}

#[tokio::test]
async fn a_reply_that_is_no_stream_is_read_to_its_end_without_its_client() {
    let mut house = House::new().await;
    let (mut client, mut upstream) = house.chat().await;
    upstream
        .send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 23\r\nx-generation-id: gen-1-a\r\n\r\n{\"usage\":")
        .await;
    client.read_head().await;
    client.read_exact(9).await;
    drop(client);
    upstream.send("{\"cost\":0.25}}").await;
    let outcome = outcome(&mut house).await;
    assert_eq!(outcome.ending, Ending::ClientLeft);
    assert_eq!(outcome.facts.inline_cost, Money::parse("0.25").ok());
}

#[tokio::test]
async fn only_so_many_calls_go_on_without_their_clients() {
    let mut plan = Plan::default();
    plan.settings = config::Gateway { drain_calls: 0, ..plan.settings };
    let mut house = House::with(plan).await;
    let (client, mut upstream) = house.chat().await;
    drop(client);
    upstream.closed().await;
    assert_eq!(outcome(&mut house).await.ending, Ending::NoReply);
}

#[tokio::test]
async fn a_client_that_leaves_with_its_request_half_sent_makes_no_row() {
    let mut house = House::new().await;
    let mut client = house.client().await;
    client
        .send("POST /api/v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{\"model\"")
        .await;
    drop(client);
    assert!(house.upstream.is_idle());
    assert!(house.finish().await.0.is_empty());
}

#[tokio::test]
async fn a_client_that_leaves_after_the_end_changes_nothing() {
    let mut house = House::new().await;
    let (mut client, mut upstream) = house.chat().await;
    upstream.begin_stream(ID).await;
    upstream.chunk("data: [DONE]\n\n").await;
    client.read_head().await;
    client.read_chunk().await.unwrap();
    drop(client);
    upstream.closed().await;
    assert_eq!(house.only_row().await.outcome().ending, Ending::Complete);
}

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_is_said_and_costs_nothing() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    drop(taken);
    let plan = Plan { upstream: Some(format!("http://{address}/api/v1")), ..Plan::default() };
    let house = House::with(plan).await;
    let mut client = house.client().await;
    client.post("/api/v1/messages", "", "{}").await;
    let reply = client.reply().await;
    assert_eq!(reply.status(), 502);
    let error = reply.json();
    assert_eq!(error["type"], "error");
    assert_eq!(error["error"]["error_type"], "upstream_unreachable");
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains(&address.to_string()) && message.contains("refused"), "{message}");
    let row = house.only_row().await;
    assert_eq!((row.outcome().ending, row.outcome().status), (Ending::NeverSent, None));
}

#[tokio::test]
async fn an_upstream_that_closes_without_an_answer_may_have_billed() {
    let mut house = House::new().await;
    let (mut client, upstream) = house.chat().await;
    drop(upstream);
    let reply = client.reply().await;
    assert_eq!(reply.status(), 502);
    assert_eq!(reply.json()["error"]["metadata"]["error_type"], "upstream_no_reply");
    assert!(house.upstream.is_idle(), "no POST is sent twice");
    let row = house.only_row().await;
    assert_eq!((row.outcome().ending, row.outcome().status), (Ending::NoReply, None));
    assert!(row.heads.is_empty());
}

#[tokio::test]
async fn an_upstream_that_cannot_prove_its_name_gets_nothing() {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let tls = tokio_rustls::rustls::ServerConfig::builder_with_provider(
        tokio_rustls::rustls::crypto::ring::default_provider().into(),
    )
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(vec![cert.der().clone()], key)
    .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let plan = Plan { upstream: Some(format!("https://localhost:{port}/api/v1")), ..Plan::default() };
    let house = House::with(plan).await;
    let mut client = house.client().await;
    client.post("/api/v1/chat/completions", "", "{}").await;
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(tls));
    let (reply, handshake) = tokio::join!(client.reply(), async {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await
    });
    assert!(handshake.is_err());
    assert_eq!(reply.status(), 502);
    let error = reply.json();
    assert!(error["error"]["message"].as_str().unwrap().contains("certificate"), "{error}");
    assert_eq!(house.only_row().await.outcome().ending, Ending::NeverSent);
}
