//! Many callers at once against a budget that is nearly spent, through real HTTP.

#![expect(clippy::similar_names, reason = "calls are sent, money is spent and reserved")]

use http::Method;
use serde_json::{Value, json};
use tallyd::clock::{Clock, Entropy};
use tallyd::domain::money::{Money, Total};
use tallyd::domain::time::Timestamp;
use tallyd::sim::{SimConfig, Simulator};

use crate::store::engines::on_a_postgres_of_its_own;
use crate::support::caller::{Caller, Reply, read};
use crate::support::installation::{Installation, KEY, QUICK};
use crate::support::pacer::Pacer;
use crate::support::running::Running;
use crate::support::{beside, until};

/// Callers at once.
pub(super) const CALLERS: usize = 64;

/// Thursday, 19 November 2026, 10:00 UTC.
const START: Timestamp = Timestamp(1_795_082_400_000);

const CHAT: &str = "/api/v1/chat/completions";

/// The configuration of a daemon with these budgets.
fn tables(budgets: &str) -> String {
    format!("connect_timeout = \"1m\"\n{QUICK}timeout = \"5m\"\n[journal]\nsync_timeout = \"5m\"\n{budgets}")
}

pub(super) fn budget(name: &str, scope: &str, limit: &str) -> String {
    format!(
        "[[budgets]]\nname = \"{name}\"\nscope = {scope}\nwindow = \"total\"\nlimit_usd = \"{limit}\"\nwhen_exceeded = \"block\"\n"
    )
}

/// Asks for a completion, which costs what `how` tells the simulator.
pub(super) async fn chat(caller: &Caller, app: &str, how: &str) -> Reply {
    let body = json!({ "model": "openai/gpt-4o-mini", "messages": [{ "role": "user", "content": "?" }] });
    let key = format!("Bearer {KEY}");
    let headers = [("authorization", &*key), ("x-tally-app", app), ("x-sim", how)];
    read(caller.send(Method::POST, CHAT, &headers, body.to_string()).await.unwrap()).await
}

fn picos(value: &Value) -> i128 {
    Money::parse(value.as_str().unwrap()).unwrap().picos().into()
}

/// What a refusal tells: spent, reserved, the estimate, the limit.
pub(super) fn told(refused: &Reply) -> [i128; 4] {
    let error = &refused.json()["error"];
    assert_eq!(error["metadata"]["error_type"], "budget_exceeded", "{error}");
    ["spent_usd", "reserved_usd", "estimate_usd", "limit_usd"].map(|name| picos(&error["metadata"][name]))
}

/// What is shown of a budget: spent, reserved, and the rows of unknown cost.
async fn shown(at: &Installation, budget: &str) -> [i128; 3] {
    let query = |column| {
        format!("SELECT CAST(ROUND({column} * 1000000000000) AS BIGINT) FROM budget_status WHERE name = '{budget}'")
    };
    let unknown = format!("SELECT unknown_count FROM budget_status WHERE name = '{budget}'");
    [at.number(&query("spent_usd")).await, at.number(&query("reserved_usd")).await, at.number(&unknown).await]
}

/// Waits until nothing is held back of a budget any more, in memory and then on its page, and says what was spent. What is
/// shown alone does not tell: it is still nothing before the ledger has heard of the first call.
async fn freed(running: &Running, at: &Installation, budget: &str) -> i128 {
    let book = running.book();
    until("nothing held back", async || {
        let all = book.standings();
        let mut held = all.iter().filter(|(one, _, _)| one.budget.name.as_str() == budget);
        held.all(|(_, _, held)| *held == Total::ZERO).then_some(())
    })
    .await;
    until("nothing shown as held back", async || (shown(at, budget).await[1] == 0).then_some(())).await;
    shown(at, budget).await[0]
}

async fn callers_against_a_nearly_spent_budget(url: &str) {
    let clock = Clock::manual(START);
    let pacer = Pacer::start(&clock);
    let simulator = Simulator::start(SimConfig::default(), clock.clone(), Entropy::seeded(5)).await.unwrap();
    let limit = 60_000_000_000;
    let at = Installation::on(url, simulator.base_url(), &tables(&budget("nearly", "{ app = \"many\" }", "0.06")));
    let running = Running::start(&at, &clock).await;
    let caller = Caller::new(running.address());
    running.knows_prices().await;

    // Too few calls to judge others by: the list prices them.
    for _ in 0..3 {
        let reply = chat(&caller, "many", "prompt_tokens=1000;completion_tokens=5000").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let spent = freed(&running, &at, "nearly").await;
    assert!(spent > 0 && spent < limit);

    // All are under way at once, as the provider answers only when the clock goes on.
    pacer.set_speed(0);
    let before = simulator.calls();
    let calls: Vec<_> = (0..CALLERS)
        .map(|number| {
            let caller = caller.clone();
            // Some cost more than they are taken to cost, some less.
            let how = format!("prompt_tokens=1000;completion_tokens={};head_ms=1000", 500 + number % 4 * 4_000);
            beside(async move { chat(&caller, "many", &how).await })
        })
        .collect();
    let refused = until("every call under way or refused", async || {
        let refused = calls.iter().filter(|call| call.is_finished()).count();
        let sent = usize::try_from(simulator.calls() - before).unwrap();
        (sent + refused == CALLERS).then_some(refused)
    })
    .await;
    pacer.set_speed(1);
    let mut replies = Vec::new();
    for call in calls {
        replies.push(call.await.unwrap());
    }
    let (sent, refusals): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    assert_eq!(refusals.len(), refused);
    let estimate = told(refusals[0])[2];
    for refusal in &refusals {
        let [then_spent, reserved, estimate, limit] = told(refusal);
        assert_eq!(then_spent, spent);
        assert!(then_spent + reserved + estimate > limit, "refused what fits: {}", refusal.text());
        assert!(then_spent + reserved <= limit, "held back what does not fit: {}", refusal.text());
    }
    let fit = (limit - spent) / estimate;
    assert_eq!(i128::try_from(sent.len()).unwrap(), fit, "as many as fit, and no more");
    assert!(fit > 5 && refused > 5, "{fit} fit, {refused} do not");

    let after = freed(&running, &at, "nearly").await;
    let real: Vec<i128> = sent.iter().map(|reply| cost(&reply.json())).collect();
    assert_eq!(after, spent + real.iter().sum::<i128>());
    let beyond: i128 = real.iter().map(|real| (real - estimate).max(0)).sum();
    assert!(after - limit <= beyond, "{after} of {limit}, {beyond} beyond the estimates");
    assert!(
        real.iter().any(|real| *real > estimate) && real.iter().any(|real| *real < estimate),
        "{estimate}: {real:?}"
    );
    running.stop().await;
    at.verify().await;
}

/// What a reply says it cost.
fn cost(reply: &Value) -> i128 {
    Money::parse(&reply["usage"]["cost"].to_string()).unwrap().picos().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_calls_go_as_fit_and_not_one_more() {
    callers_against_a_nearly_spent_budget("sqlite:data/tallyd.db").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_calls_go_as_fit_and_not_one_more_on_postgres() {
    on_a_postgres_of_its_own("blocking", async |url| callers_against_a_nearly_spent_budget(url).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_steady_fire_every_refusal_has_its_reason_and_the_limit_holds() {
    let clock = Clock::system();
    let simulator = Simulator::start(SimConfig::default(), clock.clone(), Entropy::seeded(6)).await.unwrap();
    let limit = 30_000_000_000;
    let budgets = [budget("all", "{}", "0.03"), budget("of-a", "{ app = \"a\" }", "0.01")].concat();
    let at = Installation::new(simulator.base_url(), &format!("{QUICK}{budgets}"));
    let running = Running::start(&at, &clock).await;
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let caller = Caller::new(running.address());
            beside(async move {
                let app = if number % 2 == 0 { "a" } else { "b" };
                // Streams and whole replies, some of which fail, tell no cost, or are cut.
                let hows = [
                    "completion_tokens=200",
                    "completion_tokens=900",
                    "status=429",
                    "usage=none;completion_tokens=400",
                    "completion_tokens=1500",
                    "usage=no_cost;completion_tokens=300",
                ];
                let mut sent = Vec::new();
                for turn in 0.. {
                    let reply =
                        chat(&caller, app, &format!("prompt_tokens=900;{}", hows[(number + turn) % hows.len()])).await;
                    match reply.status.as_u16() {
                        402 => {
                            let [spent, reserved, estimate, limit] = told(&reply);
                            assert!(spent + reserved + estimate > limit, "refused what fits: {}", reply.text());
                            assert!(spent >= 0 && reserved >= 0 && estimate > 0, "{}", reply.text());
                            if spent + estimate > limit {
                                return sent;
                            }
                            // There is room once the calls under way cost less than they may.
                            tokio::task::yield_now().await;
                        }
                        status => sent.push(status),
                    }
                }
                sent
            })
        })
        .collect();
    let mut sent = Vec::new();
    for caller in callers {
        sent.extend(caller.await.unwrap());
    }
    let (of_all, of_a) = (freed(&running, &at, "all").await, freed(&running, &at, "of-a").await);
    let truth = at.number("SELECT SUM(cost_picousd) FROM usage").await;
    assert_eq!(of_all, truth);
    assert_eq!(of_a, at.number("SELECT SUM(cost_picousd) FROM usage WHERE app = 'a'").await);
    let database = rusqlite::Connection::open(at.data().join("tallyd.db")).unwrap();
    let beyond = |app: &str| {
        let query = format!(
            "SELECT COALESCE(SUM(MAX(cost_picos - estimate_picos, 0)), 0) FROM calls WHERE state <> 'failed' AND app LIKE '{app}'"
        );
        i128::from(database.query_row(&query, [], |row| row.get::<_, i64>(0)).unwrap())
    };
    assert!(of_all - limit <= beyond("%"), "{of_all}, {} beyond", beyond("%"));
    assert!(of_a - limit / 3 <= beyond("a"), "{of_a}, {} beyond", beyond("a"));
    assert!(sent.contains(&200) && sent.contains(&429), "{sent:?}");
    running.stop().await;
    at.verify().await;
}

/// A clock that was a day ahead for a while, and was set right: what is spent today counts today again.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_ahead_opens_no_budget() {
    let clock = Clock::manual(START);
    let _pacer = Pacer::start(&clock);
    let simulator = Simulator::start(SimConfig::default(), clock.clone(), Entropy::seeded(5)).await.unwrap();
    let daily = budget("daily", "{ app = \"many\" }", "0.005").replace("\"total\"", "\"day\"\nrollover = true");
    let each = daily.replace("daily", "each").replace("rollover = true", "each = \"app\"");
    let at = Installation::new(simulator.base_url(), &tables(&[daily, each].concat()));
    let running = Running::start(&at, &clock).await;
    let caller = Caller::new(running.address());
    running.knows_prices().await;
    let dear = "prompt_tokens=1000;completion_tokens=5000";
    let turned = async |wall: Timestamp| {
        clock.set_wall(wall);
        until("the windows", async || {
            running.book().standings().iter().all(|(one, _, _)| one.window.contains(clock.now())).then_some(())
        })
        .await;
    };
    assert_eq!(chat(&caller, "many", dear).await.status, 200);
    let spent = freed(&running, &at, "daily").await;
    assert_eq!(chat(&caller, "many", dear).await.status, 402);
    turned(START.plus_millis(86_400_000)).await;
    assert_eq!(chat(&caller, "many", dear).await.status, 200, "it is tomorrow");
    freed(&running, &at, "daily").await;
    turned(START.plus_millis(600_000)).await;
    assert_eq!(chat(&caller, "many", dear).await.status, 402, "it is today again");
    assert_eq!(shown(&at, "daily").await[0], spent);
    assert_eq!(shown(&at, "each").await[0], spent);
    running.stop().await;
    at.verify().await;
}
