//! Several daemons on one PostgreSQL database share what is left of a budget: together they spend it to its end and not
//! beyond, whoever dies or loses the database.

use serde_json::json;
use sqlx::Connection as _;
use tallyd::clock::{Clock, Entropy};
use tallyd::domain::money::Total;
use tallyd::sim::{SimConfig, Simulator};

use super::abreast::Daemon;
use super::concurrency::{CALLERS, budget, chat, told};
use crate::store::engines::{connect, on_a_postgres_of_its_own};
use crate::support::caller::{Caller, Reply};
use crate::support::installation::{Installation, KEY, QUICK};
use crate::support::line::Line;
use crate::support::process::Process;
use crate::support::{beside, until};

async fn simulator() -> Simulator {
    Simulator::start(SimConfig::default(), Clock::system(), Entropy::seeded(5)).await.unwrap()
}

/// What the database says of rows, in one number.
async fn number(url: &str, query: &'static str) -> i128 {
    let mut connection = connect(url).await;
    let number: i64 = sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    number.into()
}

/// Waits until nothing is held back of a budget with any of them, and says what it spent.
async fn spent(daemons: &[&Daemon], name: &str) -> i128 {
    until("nothing held back", async || {
        let stands: Vec<_> = daemons.iter().map(|daemon| daemon.stands(name, "")).collect();
        let agreed = stands.iter().all(|one| *one == stands[0] && one.1 == Total::ZERO);
        let due = daemons[0].at.pending().await;
        (agreed && due == 0).then_some(stands[0].0.picos())
    })
    .await
}

/// The largest share there is.
const SPARE: &str = "SELECT CAST(COALESCE(MAX(granted_picos), 0) AS BIGINT) FROM budget_grants";

/// What calls cost beyond what they were taken to.
const BEYOND: &str = "SELECT CAST(COALESCE(SUM(GREATEST(cost_picos - COALESCE(estimate_picos, 0), 0)), 0) AS BIGINT) FROM calls WHERE state <> 'failed'";

#[tokio::test(flavor = "multi_thread")]
async fn three_daemons_spend_one_budget_to_its_end_and_not_beyond() {
    on_a_postgres_of_its_own("shares", async |url| {
        let (clock, simulator) = (Clock::system(), simulator().await);
        let limit = 60_000_000_000;
        let budgets = [budget("all", "{}", "0.06"), budget("of-a", "{ app = \"a\" }", "0.02")].concat();
        let mut daemons = Vec::new();
        for seed in 1..=3 {
            daemons.push(Daemon::start(url, &simulator, &budgets, &clock, seed).await);
        }
        let callers: Vec<_> = (0..CALLERS)
            .map(|number| {
                let caller = daemons[number % daemons.len()].caller.clone();
                beside(async move {
                    let app = if number % 2 == 0 { "a" } else { "b" };
                    let hows = [
                        "completion_tokens=200",
                        "completion_tokens=900",
                        "status=429",
                        "usage=none;completion_tokens=400",
                        "completion_tokens=1500",
                        "usage=no_cost;completion_tokens=300",
                    ];
                    let mut taken = 0;
                    for turn in 0.. {
                        let how = format!("prompt_tokens=900;{}", hows[(number + turn) % hows.len()]);
                        let reply = chat(&caller, app, &how).await;
                        match reply.status.as_u16() {
                            402 => {
                                let [spent, reserved, estimate, limit] = told(&reply);
                                assert!(spent + reserved + estimate > limit, "refused what fits: {}", reply.text());
                                assert!(spent >= 0 && reserved >= 0 && estimate > 0, "{}", reply.text());
                                if spent + estimate > limit {
                                    return taken;
                                }
                            }
                            200 => taken += 1,
                            429 => {}
                            status => panic!("{status}: {}", reply.text()),
                        }
                    }
                    taken
                })
            })
            .collect();
        let mut sent = 0;
        for caller in callers {
            sent += caller.await.unwrap();
        }
        let all: Vec<&Daemon> = daemons.iter().collect();
        let (of_all, of_a) = (spent(&all, "all").await, spent(&all, "of-a").await);
        assert_eq!(
            of_all,
            number(url, "SELECT CAST(SUM(cost_picos) AS BIGINT) FROM calls WHERE state <> 'failed'").await
        );
        let beyond = number(url, BEYOND).await;
        assert!(of_all - limit <= beyond, "{of_all} of {limit}, {beyond} beyond the estimates");
        assert!(of_a - limit / 3 <= beyond, "{of_a} of {}, {beyond} beyond the estimates", limit / 3);
        assert!(sent > 20 && of_all > limit / 2, "{sent} calls, {of_all}");
        for daemon in daemons {
            daemon.running.stop().await;
        }
        assert_eq!(number(url, "SELECT COUNT(*) FROM budget_grants").await, 0, "a share is not given back");
    })
    .await;
}

/// Calls one after another until one is refused while nothing is held back but `held`: how many went, and the refusal.
async fn until_refused(daemon: &Daemon, user: &str, held: i128) -> (i128, Reply) {
    let mut sent = 0;
    loop {
        let reply = daemon.chat(user, 1_000, "").await;
        match reply.status.as_u16() {
            200 => sent += 1,
            // The call before has its reply; its cost is in the ledger a moment later.
            402 if told(&reply)[1] > held => {}
            402 => return (sent, reply),
            status => panic!("{status}: {}", reply.text()),
        }
    }
}

/// Calls until the daemon has something to spare of the budget, as it has just been busy.
async fn busy(daemon: &Daemon, url: &str) {
    until("a share with something to spare", async || {
        let calls: Vec<_> = (0..8)
            .map(|_| {
                let caller = daemon.caller.clone();
                beside(async move { one_call(&caller, "").await })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap().status, 200);
        }
        (number(url, SPARE).await > 0).then_some(())
    })
    .await;
}

/// A call that costs $0.0006.
async fn one_call(caller: &Caller, how: &str) -> Reply {
    let body =
        json!({ "model": "openai/gpt-4o-mini", "max_tokens": 1_000, "messages": [{ "role": "user", "content": "?" }] });
    let key = format!("Bearer {KEY}");
    let how = format!("prompt_tokens=10;completion_tokens=1000{how}");
    let headers = [("authorization", &*key), ("x-sim", &*how)];
    caller.post("/api/v1/chat/completions", &headers, body.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_has_to_spare_another_can_spend() {
    on_a_postgres_of_its_own("spare", async |url| {
        let (clock, simulator) = (Clock::system(), simulator().await);
        let budgets = budget("all", "{}", "0.1");
        let one = Daemon::start(url, &simulator, &budgets, &clock, 1).await;
        let other = Daemon::start(url, &simulator, &budgets, &clock, 2).await;
        busy(&one, url).await;
        // Nothing is under way, so each call that fits goes, whoever has the rest as his share.
        let (_, refused) = until_refused(&other, "lena", 0).await;
        let [then_spent, reserved, estimate, limit] = told(&refused);
        assert_eq!(reserved, 0, "{}", refused.text());
        assert!(then_spent + estimate > limit && then_spent <= limit, "{}", refused.text());
        let (taken, refused) = until_refused(&one, "omar", 0).await;
        assert_eq!((taken, told(&refused)[1]), (0, 0), "{}", refused.text());
        let spent = spent(&[&one, &other], "all").await;
        assert!(spent <= limit, "{spent}");
        one.running.stop().await;
        other.running.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_daemon_that_was_killed_had_to_spare_comes_free_and_what_was_under_way_does_not() {
    on_a_postgres_of_its_own("share_killed", async |url| {
        let (clock, simulator) = (Clock::system(), simulator().await);
        let budgets = budget("all", "{}", "0.05");
        let other = Daemon::start(url, &simulator, &budgets, &clock, 2).await;
        let at = Installation::on(url, simulator.base_url(), &format!("{QUICK}{budgets}"));
        let killed = Process::start(&at).await;
        let caller = Caller::new(killed.address());
        // A call of its own is under way when it dies, and it has something to spare.
        let slow = {
            let caller = caller.clone();
            beside(async move { one_call(&caller, ";head_ms=600000").await })
        };
        let held = until("the slow call's row", async || {
            let held = other.stands("all", "").1.picos();
            (held > 0).then_some(held)
        })
        .await;
        until("a share of the one that dies, and nothing else under way", async || {
            assert_eq!(one_call(&caller, "").await.status, 200);
            let spare = number(url, SPARE).await;
            (spare > 0 && other.stands("all", "").1.picos() == held).then_some(())
        })
        .await;
        killed.kill().await;
        slow.abort();
        let (_, refused) = until_refused(&other, "lena", held).await;
        let [then_spent, reserved, estimate, limit] = told(&refused);
        assert_eq!(reserved, held, "what is held back is the slow call's alone: {}", refused.text());
        assert!(then_spent + reserved + estimate > limit && then_spent + reserved <= limit, "{}", refused.text());
        // It comes back: nobody will ever tell what its call cost, so others may have that.
        let again = Process::start(&at).await;
        let caller = Caller::new(again.address());
        until("a call in the place of the one that was cut", async || {
            (one_call(&caller, "").await.status == 200).then_some(())
        })
        .await;
        again.stop().await;
        let spent = spent(&[&other], "all").await;
        assert!(spent <= limit, "{spent}");
        other.running.stop().await;
        at.verify().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_a_share_is_spent_and_then_it_is_as_on_ledger_failure_says() {
    on_a_postgres_of_its_own("share_cut", async |url| {
        let (clock, simulator) = (Clock::system(), simulator().await);
        let strict = budget("strict", "{ user = \"strict\" }", "0.1");
        let soft = budget("soft", "{ user = \"soft\" }", "0.01");
        let budgets = format!("{strict}on_ledger_failure = \"refuse\"\n{soft}on_ledger_failure = \"forward\"\n");
        let line = Line::to(url).await;
        let cut = Daemon::start(&line.through(url), &simulator, &budgets, &clock, 1).await;
        let other = Daemon::start(url, &simulator, &budgets, &clock, 2).await;
        until("a share with something to spare", async || {
            for _ in 0..4 {
                assert_eq!(cut.chat("strict", 1_000, "").await.status, 200);
            }
            (number(url, SPARE).await > 600_000_000).then_some(())
        })
        .await;
        assert_eq!(cut.chat("soft", 1_000, "").await.status, 200);
        line.cut();
        // What it has is spent; more it can not ask for.
        let mut sent = 0_i128;
        let refused = loop {
            let reply = cut.chat("strict", 1_000, "").await;
            if reply.status != 200 {
                break reply;
            }
            sent += 1;
        };
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert_eq!(refused.json()["error"]["metadata"]["error_type"], "ledger_unavailable");
        assert!(sent > 0, "a share is spent first");
        // The other one is set to let calls go: by what is known here, and no further.
        let mut soft = 0_i128;
        let refused = loop {
            let reply = cut.chat("soft", 1_000, "").await;
            if reply.status != 200 {
                break reply;
            }
            soft += 1;
        };
        assert!((10..=16).contains(&soft), "{soft} calls of 0.0006 into 0.0094");
        assert_eq!(refused.status, 402, "{}", refused.text());
        // Who can reach the database goes on, and in the end has all of it.
        let (_, refused) = until_refused(&other, "strict", 0).await;
        let [then_spent, reserved, estimate, limit] = told(&refused);
        assert!(then_spent + reserved + estimate > limit && then_spent <= limit, "{}", refused.text());
        line.mend();
        let of_strict = spent(&[&cut, &other], "strict").await;
        assert!(of_strict > then_spent, "what was admitted meanwhile is counted");
        assert!(of_strict <= limit + sent * estimate, "{of_strict} of {limit}, {sent} calls of {estimate} meanwhile");
        spent(&[&cut, &other], "soft").await;
        cut.running.stop().await;
        other.running.stop().await;
        other.at.verify().await;
    })
    .await;
}
