//! Thousands of calls of every kind, half of the streams cut: the ledger says what was billed, to the pico-dollar, and each
//! budget's thresholds are told once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Method;
use http_body_util::BodyExt as _;
use tallyd::clock::{Clock, Entropy};
use tallyd::domain::time::Timestamp;
use tallyd::sim::truth::{Billed, Outcome};
use tallyd::sim::{SimConfig, Simulator};
use tallyd::store::verify;

use crate::store::engines::on_a_postgres_of_its_own;
use crate::support::caller::Caller;
use crate::support::installation::{Installation, QUICK, text};
use crate::support::mixture::{Call, SECOND};
use crate::support::pacer::Pacer;
use crate::support::running::Running;
use crate::support::{beside, until};

/// Set, so many completions are made.
const COMPLETIONS: &str = "TEST_COMPLETIONS";

/// Clients at once.
const CLIENTS: u64 = 24;

/// Calls at once whose clients leave before the head.
const LEAVERS: u64 = 10;

/// How much faster than real time the wait for records passes.
const FAST: u32 = 100;

/// Thursday, 19 November 2026, 10:00 UTC: no window of a budget here ends within hours.
const START: Timestamp = Timestamp(1_795_082_400_000);

/// Pico-dollars in a cent.
const CENT: i128 = 10_000_000_000;

/// What every budget tells, and the cents at which it does; each has a limit of $10.
const THRESHOLDS: [(&str, i128); 9] = [
    ("$0.01", 1),
    ("$0.05", 5),
    ("1%", 10),
    ("$0.25", 25),
    ("10%", 100),
    ("$2.00", 200),
    ("50%", 500),
    ("100%", 1_000),
    ("$1000.00", 100_000),
];

/// A budget: its name, scope, window, and the calls it counts.
type Watched = (&'static str, &'static str, &'static str, fn(&Call, &Billed) -> bool);

const BUDGETS: [Watched; 8] = [
    ("everything", "{}", "month", |_, _| true),
    ("app", "{ app = \"app-1\" }", "day", |call, _| call.app() == "app-1"),
    ("user", "{ user = \"user-*\" }", "rolling 24h", |_, _| true),
    ("team", "{ tag.team = \"blue\" }", "week", |call, _| call.team() == "blue"),
    ("key", "{ key = \"second\" }", "quarter", |call, _| call.key().1 == "second"),
    ("model", "{ model = \"anthropic/*\" }", "total", |_, billed| billed.model.id.starts_with("anthropic/")),
    ("provider", "{ provider = \"OpenAI\" }", "year", |_, billed| billed.provider.name == "OpenAI"),
    ("both", "{ app = \"app-2\", user = \"user-3\" }", "rolling 7d", |call, _| {
        call.app() == "app-2" && call.user() == "user-3"
    }),
];

fn tables() -> String {
    let thresholds: Vec<String> = THRESHOLDS.iter().map(|(text, _)| format!("\"{text}\"")).collect();
    let mut tables =
        format!("connect_timeout = \"1m\"\n{SECOND}{QUICK}timeout = \"5m\"\n[journal]\nsync_timeout = \"5m\"\n");
    for (name, scope, window, _) in BUDGETS {
        let _ = write!(
            tables,
            "[[budgets]]\nname = \"{name}\"\nscope = {scope}\nwindow = \"{window}\"\nlimit_usd = 10\nalert_at = [{}]\n",
            thresholds.join(", ")
        );
    }
    tables
}

/// Makes a call as its plan says; whatever becomes of it is the books' to tell.
async fn make(caller: &Caller, call: &Call) {
    let headers = call.headers();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
    let mut reply = caller.send(Method::POST, &call.path(), &headers, call.body()).await.unwrap();
    let mut pieces = 0;
    while call.leaves_after.is_none_or(|leaves| pieces < leaves) {
        match reply.body_mut().frame().await {
            Some(Ok(_)) => pieces += 1,
            Some(Err(_)) | None => break,
        }
    }
}

/// Makes the calls of these numbers, many at a time.
async fn make_all(caller: &Caller, numbers: std::ops::Range<u64>) {
    let next = Arc::new(AtomicU64::new(numbers.start));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (next, caller, end) = (Arc::clone(&next), caller.clone(), numbers.end);
            beside(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end {
                        return;
                    }
                    make(&caller, &Call::nth(number)).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
}

/// Makes calls whose clients leave before the head: the provider answers only once the clock goes on.
async fn leave_before_the_head(caller: &Caller, simulator: &Simulator, pacer: &Pacer, first: u64) {
    pacer.set_speed(0);
    let before = simulator.calls();
    let waiting: Vec<_> = (first..first + LEAVERS)
        .map(|number| {
            let caller = caller.clone();
            beside(async move {
                let mut call = Call::nth(number);
                call.behaviour.push_str(";head_ms=1000");
                make(&caller, &call).await;
            })
        })
        .collect();
    until("the calls upstream", async || (simulator.calls() == before + LEAVERS).then_some(())).await;
    for client in waiting {
        client.abort();
    }
    pacer.set_speed(1);
}

/// Waits until every call is over and every record read.
async fn settled(at: &Installation, running: &Running, simulator: &Simulator, pacer: &Pacer, calls: u64) {
    until("the end of what the provider was asked", async || (simulator.in_flight() == 0).then_some(())).await;
    until("a row of each call", async || {
        (at.number("SELECT COUNT(*) FROM usage").await == i128::from(calls)).then_some(())
    })
    .await;
    pacer.set_speed(FAST);
    until("every record", async || (at.pending().await == 0).then_some(())).await;
    pacer.set_speed(1);
    let found = verify::run(running.store(), &Clock::system()).await.unwrap();
    assert_eq!(found.difference_count, 0, "{:?}", found.differences);
}

/// Compares the ledger with the simulator's books.
async fn assert_exact(at: &Installation, simulator: &Simulator) {
    let mut rows = BTreeMap::new();
    let query = "SELECT generation_id, state, CAST(cost_picousd AS TEXT), app, key_name, end_user, cancelled FROM usage \
                 WHERE generation_id IS NOT NULL";
    for row in at.sql(query).await {
        let id = text(&row[0]).unwrap().to_owned();
        assert!(rows.insert(id.clone(), row).is_none(), "{id} is there twice");
    }
    let truth = simulator.truth();
    for billed in truth.all() {
        let row = rows.remove(billed.id.as_str()).unwrap_or_else(|| panic!("not in the ledger: {billed:?}"));
        let call = Call::of_session(billed.session.as_deref().unwrap());
        let expected =
            ["settled".to_owned(), billed.spend().0.to_string(), call.app(), call.key().1.to_owned(), call.user()];
        let found: Vec<&str> = row[1..6].iter().map(|cell| text(cell).unwrap_or("NULL")).collect();
        assert_eq!(found, expected, "{} {:?}: {billed:?}", call.endpoint, call.behaviour);
    }
    assert!(rows.is_empty(), "never billed: {:?}", rows.keys());
    let query = "SELECT CAST(SUM(cost_picousd) AS TEXT) FROM usage";
    let sum = at.sql(query).await;
    assert_eq!(text(&sum[0][0]), Some(&*truth.total().0.to_string()));
}

/// What must have been told: each threshold that a budget's spend has reached, once.
async fn assert_told_once(at: &Installation, simulator: &Simulator) {
    let truth = simulator.truth().all();
    let mut expected = BTreeSet::new();
    // A reply may say more than is billed in the end: what it crossed stays told. Nothing far off may be.
    let mut near = BTreeSet::new();
    for (name, _, _, counts) in BUDGETS {
        let counted = truth.iter().filter(|billed| {
            let call = Call::of_session(billed.session.as_deref().unwrap());
            counts(&call, billed)
        });
        let spent: i128 = counted.map(|billed| billed.spend().0).sum();
        let reached = THRESHOLDS.iter().filter(|(_, cents)| spent >= cents * CENT);
        expected.extend(reached.map(|(threshold, _)| (name.to_owned(), (*threshold).to_owned())));
        let almost = THRESHOLDS.iter().filter(|(_, cents)| spent * 5 / 4 >= cents * CENT);
        near.extend(almost.map(|(threshold, _)| (name.to_owned(), (*threshold).to_owned())));
    }
    let mut told = BTreeSet::new();
    for row in at.sql("SELECT budget, threshold, kind FROM alert_history").await {
        let threshold = (text(&row[0]).unwrap().to_owned(), text(&row[1]).unwrap().to_owned());
        assert_eq!(text(&row[2]), Some("crossed"), "{threshold:?}");
        assert!(told.insert(threshold.clone()), "{threshold:?} was told twice");
    }
    assert!(told.is_superset(&expected), "not told: {:?}", expected.difference(&told));
    assert!(told.is_subset(&near), "told without cause: {:?}", told.difference(&near));
    assert!(expected.len() > BUDGETS.len() && expected.len() < BUDGETS.len() * THRESHOLDS.len(), "{expected:?}");
}

async fn every_call_is_exact(database_url: &str, completions: u64) {
    let clock = Clock::manual(START);
    let pacer = Pacer::start(&clock);
    let config = SimConfig { lag_ms: 0..=300, ..SimConfig::default() };
    let simulator = Simulator::start(config, clock.clone(), Entropy::seeded(3)).await.unwrap();
    let at = Installation::on(database_url, simulator.base_url(), &tables());

    let running = Running::start(&at, &clock).await;
    let caller = Caller::new(running.address());
    make_all(&caller, 0..completions).await;
    leave_before_the_head(&caller, &simulator, &pacer, completions).await;
    let calls = completions + LEAVERS;
    settled(&at, &running, &simulator, &pacer, calls).await;
    assert_exact(&at, &simulator).await;
    assert_told_once(&at, &simulator).await;
    drop(caller);
    running.stop().await;

    // A restart tells nothing again, and goes on counting where it was.
    let running = Running::start(&at, &clock).await;
    make_all(&Caller::new(running.address()), calls..calls + completions / 10).await;
    let calls = calls + completions / 10;
    settled(&at, &running, &simulator, &pacer, calls).await;
    assert_exact(&at, &simulator).await;
    assert_told_once(&at, &simulator).await;
    running.stop().await;

    let truth = simulator.truth().all();
    let ended = |how| truth.iter().filter(|billed| billed.outcome == how).count() as u64;
    eprintln!(
        "{calls} calls, {} billed, {} cancelled: ${}",
        truth.len(),
        ended(Outcome::Cancelled),
        simulator.truth().total().plain()
    );
    assert!(ended(Outcome::Cancelled) * 10 > calls, "{} of {calls} were cancelled", ended(Outcome::Cancelled));
    assert!(ended(Outcome::Failed) > 0);
}

fn completions(short: u64) -> u64 {
    std::env::var(COMPLETIONS).map_or(short, |completions| completions.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_says_what_was_billed() {
    every_call_is_exact("sqlite:data/tallyd.db", completions(2_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_says_what_was_billed_on_postgres() {
    on_a_postgres_of_its_own("exact", async |url| every_call_is_exact(url, completions(500)).await).await;
}
