//! Two daemons on one PostgreSQL database: each counts what the other saw.

use http::Method;
use serde_json::{Value, json};
use tallyd::clock::{Clock, Entropy};
use tallyd::domain::money::Total;
use tallyd::sim::{SimConfig, Simulator};

use crate::store::engines::on_a_postgres_of_its_own;
use crate::support::caller::{Caller, Reply, read};
use crate::support::installation::{Installation, KEY, QUICK, text};
use crate::support::running::Running;
use crate::support::{beside, until};

/// One of those that share a database.
pub(super) struct Daemon {
    pub(super) at: Installation,
    pub(super) running: Running,
    pub(super) caller: Caller,
}

impl Daemon {
    pub(super) async fn start(url: &str, simulator: &Simulator, budgets: &str, clock: &Clock, seed: u64) -> Self {
        let at = Installation::on(url, simulator.base_url(), &format!("{QUICK}{budgets}"));
        let running = Running::start_as(&at, clock, seed).await;
        running.knows_prices().await;
        let caller = Caller::new(running.address());
        Self { at, running, caller }
    }

    /// A call of `user` that costs $0.0006 for 1,000 tokens, and is taken to.
    pub(super) async fn chat(&self, user: &str, tokens: u32, how: &str) -> Reply {
        let caller = self.caller.clone();
        let body = json!({
            "model": "openai/gpt-4o-mini", "max_tokens": tokens, "messages": [{ "role": "user", "content": "?" }],
        });
        let key = format!("Bearer {KEY}");
        let how = format!("prompt_tokens=10;completion_tokens={tokens}{how}");
        let headers = [("authorization", &*key), ("x-sim", &*how), ("x-tally-user", user)];
        caller.post("/api/v1/chat/completions", &headers, body.to_string()).await
    }

    /// What its budget stands at: spent and held back, under one value.
    pub(super) fn stands(&self, budget: &str, value: &str) -> (Total, Total) {
        let standings = self.running.book().standings();
        let found = standings.iter().find(|(one, of, _)| one.budget.name.as_str() == budget && **of == *value);
        found.map_or((Total::ZERO, Total::ZERO), |(one, _, held)| (one.spent, *held))
    }
}

async fn two(url: &str, budgets: &str) -> (Simulator, Daemon, Daemon) {
    let clock = Clock::system();
    let simulator = Simulator::start(SimConfig::default(), clock.clone(), Entropy::seeded(5)).await.unwrap();
    let one = Daemon::start(url, &simulator, budgets, &clock, 1).await;
    let other = Daemon::start(url, &simulator, budgets, &clock, 2).await;
    (simulator, one, other)
}

/// Waits until both know of a value what the rows of so many calls say, with nothing held back.
async fn agreed(one: &Daemon, other: &Daemon, budget: &str, value: &str, calls: i128) -> Total {
    let whose = if value.is_empty() { String::new() } else { format!(" WHERE end_user = '{value}'") };
    let rows = format!("SELECT SUM(cost_picousd) FROM usage{whose}");
    until("the same spend on both", async || {
        if one.at.number(&format!("SELECT COUNT(cost_picousd) FROM usage{whose}")).await < calls {
            return None;
        }
        let (here, there) = (one.stands(budget, value), other.stands(budget, value));
        let spent = one.at.number(&rows).await;
        (here == there && here.1 == Total::ZERO && here.0.picos() == spent).then_some(here.0)
    })
    .await
}

const SHARED: &str = "[[budgets]]\nname = \"shared\"\nwindow = \"total\"\nlimit_usd = \"0.004\"\nalert_at = [\"50%\"]\n\
                      notify = [\"a@example.com\"]\nwhen_exceeded = \"block\"\n\
                      [[budgets]]\nname = \"per-head\"\neach = \"user\"\nwindow = \"total\"\nlimit_usd = \"0.0015\"\n\
                      alert_at = [\"60%\"]\nwhen_exceeded = \"block\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_one_daemon_spends_the_other_counts() {
    on_a_postgres_of_its_own("abreast", async |url| {
        let (_simulator, one, other) = two(url, SHARED).await;
        // Half of it is spent by neither, but by both.
        for (daemon, user) in [(&one, "lena"), (&other, "lena"), (&one, "omar"), (&other, "ana")] {
            let reply = daemon.chat(user, 1_000, "").await;
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        agreed(&one, &other, "shared", "", 4).await;
        agreed(&one, &other, "per-head", "lena", 2).await;
        let told = one.at.sql("SELECT budget || ' ' || COALESCE(value, '') FROM alert_history ORDER BY 1").await;
        assert_eq!(told.iter().map(|row| text(&row[0]).unwrap()).collect::<Vec<_>>(), ["per-head lena", "shared "]);
        // Two calls of hers, one by each, leave no room for a third with either.
        for daemon in [&one, &other] {
            let reply = daemon.chat("lena", 1_000, "").await;
            assert_eq!((reply.status.as_u16(), &reply.json()["error"]["metadata"]["value"]), (402, &json!("lena")));
        }
        // What is under way with one is held back by the other, and let go once its cost is known, whoever read it.
        let slow = {
            let caller = one.caller.clone();
            let key = format!("Bearer {KEY}");
            beside(async move {
                let body = json!({ "model": "openai/gpt-4o-mini", "max_tokens": 2_000, "messages": [] }).to_string();
                let how = "prompt_tokens=10;completion_tokens=2000;head_ms=4000;usage=none";
                let headers = [("authorization", &*key), ("x-sim", how), ("x-tally-user", "kim")];
                caller.post("/api/v1/chat/completions", &headers, body).await
            })
        };
        until("held back by the other", async || (other.stands("shared", "").1 > Total::ZERO).then_some(())).await;
        let refused = other.chat("zoe", 1_000, "").await;
        assert_eq!(refused.status, 402, "{}", refused.text());
        assert_eq!(slow.await.unwrap().status, 200);
        let spent = agreed(&one, &other, "shared", "", 5).await;
        // As often as it fits, with either by turns: no more is spent than the limit.
        let mut calls = 5;
        for daemon in [&one, &other, &one, &other] {
            if daemon.chat("zoe", 100, "").await.status == 200 {
                calls += 1;
            }
            agreed(&one, &other, "shared", "", calls).await;
        }
        let after = agreed(&one, &other, "shared", "", calls).await;
        assert!(calls > 5 && spent < after && after.picos() <= 4_000_000_000, "{after}");
        one.running.stop().await;
        other.running.stop().await;
        one.at.verify().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_that_one_daemon_makes_the_other_counts_whole() {
    on_a_postgres_of_its_own("abreast_made", async |url| {
        let (_simulator, one, other) = two(url, "").await;
        let busy = async |daemon: &Daemon, user: &str| {
            for _ in 0..20 {
                assert_eq!(daemon.chat(user, 100, "").await.status, 200);
            }
        };
        let make = async || {
            let budget = json!({ "window": "total", "limit_usd": "500", "scope": { "user": "o*" } });
            let headers = [("content-type", "application/json")];
            let body = budget.to_string();
            let reply = one.caller.send(Method::PUT, "/tally/v1/budgets/made", &headers, body).await.unwrap();
            assert_eq!(read(reply).await.status, 201);
        };
        // Calls go on with both while its counters are filled.
        tokio::join!(busy(&one, "omar"), busy(&other, "omar"), make());
        busy(&other, "olga").await;
        agreed(&one, &other, "made", "", 60).await;
        // Who pauses it pauses it for both.
        let reply = other.caller.send(Method::POST, "/tally/v1/budgets/made/pause", &[], "").await.unwrap();
        assert_eq!(read(reply).await.status, 200);
        until("paused", async || {
            let all = one.running.book().standings();
            all.iter().any(|(budget, _, _)| budget.paused).then_some(())
        })
        .await;
        let page: Value = one.caller.get("/tally/v1/budgets/made").await.json();
        assert_eq!(page["state"], "paused");
        one.running.stop().await;
        other.running.stop().await;
        one.at.verify().await;
    })
    .await;
}
