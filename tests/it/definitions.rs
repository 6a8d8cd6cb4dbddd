//! Budgets that change: through every door, each change at once, in the audit trail, and told by the rules.

mod alerting;
mod doors;
mod pages;
mod reloading;
mod replaying;

use std::time::Duration;

use http::Method;
use serde_json::Value;
use tallyd::clock::{Clock, Entropy};
use tallyd::domain::attribution::{Attribution, KeyRef};
use tallyd::domain::facts::Facts;
use tallyd::domain::ids::KeyFingerprint;
use tallyd::domain::money::Money;
use tallyd::domain::observation::{Ending, Head, Observation, Outcome, Sent};
use tallyd::domain::time::Timestamp;
use tallyd::ledger::Work;

use crate::support::caller::{Caller, Reply, read};
use crate::support::installation::{Installation, KEY, text};
use crate::support::pacer::Pacer;
use crate::support::running::Running;

const JSON: (&str, &str) = ("content-type", "application/json");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// Thursday, 19 November 2026, 10:00 UTC.
const START: Timestamp = Timestamp(1_795_082_400_000);

/// Nobody answers there: what is spent is told to the ledger itself.
const NOWHERE: &str = "http://127.0.0.1:9/api/v1";

/// Sends a request with a body, or without where it is empty.
async fn send(caller: &Caller, method: Method, path: &str, kind: (&str, &str), body: &str) -> Reply {
    let headers: &[(&str, &str)] = if body.is_empty() { &[] } else { &[kind] };
    read(caller.send(method, path, headers, body.to_owned()).await.unwrap()).await
}

/// Asks the JSON API; an empty body is none.
async fn ask(caller: &Caller, method: Method, path: &str, body: &Value) -> Reply {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    send(caller, method, &format!("/tally/v1/{path}"), JSON, &body).await
}

/// A daemon on a clock of its own.
struct Scene {
    at: Installation,
    running: Running,
    caller: Caller,
    clock: Clock,
    entropy: Entropy,
    _pacer: Pacer,
}

impl Scene {
    async fn new(at: Installation) -> Self {
        let clock = Clock::manual(START);
        let pacer = Pacer::start(&clock);
        let running = Running::start(&at, &clock).await;
        let caller = Caller::new(running.address());
        Self { at, running, caller, clock, entropy: Entropy::seeded(23), _pacer: pacer }
    }

    async fn on_sqlite(tables: &str) -> Self {
        Self::new(Installation::new(NOWHERE, tables)).await
    }

    /// A call of `app` at `at` that cost so many dollars.
    async fn spend_at(&self, app: &str, usd: &str, at: Timestamp) {
        let call_id = self.entropy.call_id(at);
        let key = KeyRef { name: "default".to_owned(), fingerprint: Some(KeyFingerprint::of(KEY)) };
        let sent = Sent {
            call_id,
            at,
            endpoint: "chat/completions".to_owned(),
            key,
            tally_key: None,
            attribution: Attribution { app: Some(app.to_owned()), ..Attribution::default() },
            requested_model: Some("openai/gpt-4o-mini".to_owned()),
            models: Vec::new(),
            routing: None,
            streamed: Some(false),
            flags: Vec::new(),
            estimate: None,
        };
        let generation_id = format!("gen-{}-{:020}", at.millis() / 1000, self.entropy.next_u64()).parse().ok();
        let head = Head { call_id, at, generation_id, status: 200 };
        let facts = Facts { inline_cost: Money::parse(usd).ok(), ..Facts::default() };
        let outcome = Outcome {
            call_id,
            at,
            head_at: None,
            ending: Ending::Complete,
            status: Some(200),
            generation_id: None,
            facts,
            error: None,
            first_byte_ms: Some(1),
            duration_ms: 2,
            response_cache_hit: false,
            flags: Vec::new(),
        };
        let observations =
            vec![Observation::Sent(Box::new(sent)), Observation::Head(head), Observation::Outcome(Box::new(outcome))];
        let work = Work { observations, ..Work::default() };
        self.running.ledger().submit(work, Duration::from_mins(1)).await.unwrap();
    }

    /// A call of `app` now.
    async fn spend(&self, app: &str, usd: &str) {
        self.spend_at(app, usd, self.clock.now()).await;
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> Value {
        let reply = ask(&self.caller, method, path, &body).await;
        assert!(reply.status.is_success(), "{path}: {} {}", reply.status, reply.text());
        reply.json()
    }

    async fn put(&self, name: &str, budget: Value) -> Value {
        self.ask(Method::PUT, &format!("budgets/{name}"), budget).await
    }

    async fn get(&self, path: &str) -> Value {
        self.ask(Method::GET, path, Value::Null).await
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.ask(Method::POST, path, body).await
    }

    /// The status and the message of what is refused.
    async fn refused(&self, method: Method, path: &str, body: Value) -> (u16, String) {
        let reply = ask(&self.caller, method, path, &body).await;
        assert!(!reply.status.is_success(), "{path}: {}", reply.text());
        (reply.status.as_u16(), reply.json()["error"]["message"].as_str().unwrap().to_owned())
    }

    /// What budgets told, in the order in which it was told: `growth 50% of 10.00 crossed`.
    async fn told(&self) -> Vec<String> {
        let rows = self.get("alerts").await["rows"].as_array().unwrap().clone();
        let word = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
        let mut told: Vec<(String, String)> = rows
            .iter()
            .map(|row| {
                let [budget, threshold, limit, kind] =
                    ["budget", "threshold", "limit_usd", "kind"].map(|name| word(row, name));
                (word(row, "crossed_at"), format!("{budget} {threshold} of {limit} {kind}"))
            })
            .collect();
        told.sort();
        told.into_iter().map(|(_, told)| told).collect()
    }

    /// The audit trail of a budget, oldest first: `made api local`.
    async fn trail(&self, name: &str) -> Vec<String> {
        let rows = self
            .at
            .sql(&format!(
                "SELECT action || ' ' || door || ' ' || who FROM budget_changes WHERE budget = '{name}' ORDER BY change_id"
            ))
            .await;
        rows.iter().map(|row| text(&row[0]).unwrap().to_owned()).collect()
    }

    /// Waits until the daemon shows the budget so.
    async fn until_state(&self, name: &str, state: &str) -> Value {
        crate::support::until(state, async || {
            let row = self.get(&format!("budgets/{name}")).await;
            (row["state"] == state).then_some(row)
        })
        .await
    }
}
