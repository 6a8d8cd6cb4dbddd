//! A generation that was given up is asked for again when somebody tells its ID once more.

use std::time::Duration;

use http::Method;
use serde_json::json;
use tallyd::clock::{Clock, Entropy};
use tallyd::domain::time::Timestamp;
use tallyd::sim::{SimConfig, Simulator};

use crate::support::caller::{Caller, read};
use crate::support::installation::{Installation, KEY, QUICK, text};
use crate::support::pacer::Pacer;
use crate::support::running::Running;
use crate::support::until;

const START: Timestamp = Timestamp(1_795_082_400_000);

/// When a record can be read after its call; the daemon gives up long before.
const LAG: Duration = Duration::from_hours(10);

/// How far the clock is set forward between two looks.
const STRIDE: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_is_asked_for_again_when_its_id_is_told_again() {
    let clock = Clock::manual(START);
    let _pacer = Pacer::start(&clock);
    let lag_ms = u64::try_from(LAG.as_millis()).unwrap();
    let config = SimConfig { lag_ms: lag_ms..=lag_ms, ..SimConfig::default() };
    let simulator = Simulator::start(config, clock.clone(), Entropy::seeded(9)).await.unwrap();
    // Time that passes fast must not end what takes real time.
    let tables = format!(
        "connect_timeout = \"1m\"\n{QUICK}timeout = \"5m\"\ngive_up_after = \"1h\"\n[journal]\nsync_timeout = \"5m\"\n"
    );
    let at = Installation::new(simulator.base_url(), &tables);
    let running = Running::start(&at, &clock).await;
    let caller = Caller::new(running.address());

    // A call past the daemon, whose ID alone is told.
    let bearer = format!("Bearer {KEY}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = json!({ "model": "openai/gpt-4o-mini", "messages": [{ "role": "user", "content": "?" }] }).to_string();
    let reply = Caller::new(simulator.address()).send(Method::POST, "/api/v1/chat/completions", &headers, body).await;
    let id = read(reply.unwrap()).await.headers["x-generation-id"].to_str().unwrap().to_owned();
    let told = json!({ "id": id }).to_string();
    let tell = async || caller.post("/tally/v1/record", &[], told.clone()).await.json();
    let row = async || {
        let rows = at.sql("SELECT state, CAST(cost_picousd AS TEXT) FROM usage").await;
        assert!(rows.len() < 2, "{rows:?}");
        rows.first().map(|row| (text(&row[0]).unwrap().to_owned(), text(&row[1]).map(str::to_owned)))
    };
    assert_eq!(tell().await["recorded"], 1);
    until("giving up", async || {
        clock.advance(STRIDE);
        row().await.filter(|(state, _)| state == "unsettled")
    })
    .await;
    assert_eq!(row().await.unwrap().1, None, "unknown is not zero");
    assert!(clock.now().millis() - START.millis() < i64::try_from(lag_ms).unwrap());

    // By then it is there; nobody asks by himself.
    clock.advance(LAG);
    for _ in 0..20 {
        clock.advance(STRIDE);
        assert_eq!(row().await.unwrap().0, "unsettled");
    }
    let again = tell().await;
    assert_eq!((&again["recorded"], &again["known"]), (&json!(0), &json!(1)));
    let settled = until("its record", async || {
        clock.advance(Duration::from_secs(1));
        row().await.filter(|(state, _)| state == "settled")
    })
    .await;
    assert_eq!(settled.1, Some(simulator.truth().total().0.to_string()));
    running.stop().await;
    at.verify().await;
}
