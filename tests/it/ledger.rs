//! The one writer: what it waits for, what it sets aside, what it never does twice.

mod foreseeing;
mod lost_commit;
mod refusing;
mod starting;
mod telling;

use serde_json::json;
use tallyd::clock::{Clock, Entropy};
use tallyd::sim::{SimConfig, Simulator};

use crate::support::caller::Caller;
use crate::support::installation::{Installation, KEY};
use crate::support::until;

async fn simulator(clock: &Clock) -> Simulator {
    Simulator::start(SimConfig::default(), clock.clone(), Entropy::seeded(5)).await.unwrap()
}

/// Makes a call for `app`, which must be answered to its end.
async fn chat(caller: &Caller, app: &str, how: &str) {
    let body = json!({ "model": "openai/gpt-4o-mini", "messages": [{ "role": "user", "content": "?" }] });
    let key = format!("Bearer {KEY}");
    let headers = [("authorization", &*key), ("x-tally-app", app), ("x-sim", how)];
    let reply = caller.post("/api/v1/chat/completions", &headers, body.to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(reply.whole, "{}", reply.text());
}

/// Waits until so many calls are rows.
async fn rows(at: &Installation, count: i128) {
    until(&format!("{count} rows"), async || (at.number("SELECT COUNT(*) FROM usage").await >= count).then_some(()))
        .await;
    assert_eq!(at.number("SELECT COUNT(*) FROM usage").await, count);
}

/// Waits until `/readyz` says so of the database.
async fn writable(caller: &Caller, writable: bool) {
    until("the database's state", async || {
        let (_, body) = caller.readiness().await?;
        (body["ledger"]["writable"] == writable).then_some(())
    })
    .await;
}
