//! The real program, killed under load again and again: what a client has seen the end of is never lost, and what is in
//! the ledger is what was billed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::Method;
use http_body_util::BodyExt as _;
use tallyd::clock::{Clock, Entropy};
use tallyd::sim::{SimConfig, Simulator};

use crate::store::engines::on_a_postgres_of_its_own;
use crate::support::caller::Caller;
use crate::support::installation::{Installation, QUICK, number, text};
use crate::support::mixture::{BROUGHT_KEY, Call, SECOND};
use crate::support::process::Process;
use crate::support::{beside, until};

/// Set, the daemon is killed this many times.
const KILLS: &str = "TEST_KILLS";

/// Clients at once.
const CLIENTS: u64 = 12;

/// What a client has seen of one reply. Moments are numbered in one order for all clients.
struct Seen {
    generation_id: String,
    /// When its head had come.
    head: u64,
    /// Whether its end had come.
    end: bool,
}

/// What all clients have seen.
#[derive(Default)]
struct Witness {
    /// Of the life that goes on.
    seen: Mutex<Vec<Seen>>,
    /// The generations that must be in the ledger, of the lives that are over.
    certain: Mutex<Vec<String>>,
    moments: AtomicU64,
    /// The last moment at which a call began whose end was seen, and had waited for the disk. The journal keeps the order
    /// of what it is told, so the heads seen before that moment were on disk when that end was seen.
    horizon: AtomicU64,
    heads: AtomicU64,
    calls: AtomicU64,
}

impl Witness {
    fn moment(&self) -> u64 {
        self.moments.fetch_add(1, Ordering::SeqCst)
    }

    /// Makes a call and notes what is seen of it, however it ends.
    async fn watch(&self, caller: &Caller, call: &Call) {
        let began = self.moment();
        self.calls.fetch_add(1, Ordering::SeqCst);
        let headers = call.headers();
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
        let Ok(mut reply) = caller.send(Method::POST, &call.path(), &headers, call.body()).await else { return };
        let generation_id = reply.headers().get("x-generation-id").map(|id| id.to_str().unwrap().to_owned());
        let head = self.moment();
        self.heads.fetch_add(1, Ordering::SeqCst);
        let mut pieces = 0;
        let end = loop {
            if call.leaves_after.is_some_and(|leaves| pieces >= leaves) {
                break false;
            }
            match reply.body_mut().frame().await {
                None => break true,
                Some(Ok(_)) => pieces += 1,
                Some(Err(_)) => break false,
            }
        };
        drop(reply);
        // An error without an ID costs nothing, and its end waits for no disk.
        if let Some(generation_id) = generation_id {
            if end {
                self.horizon.fetch_max(began, Ordering::SeqCst);
            }
            self.seen.lock().unwrap().push(Seen { generation_id, head, end });
        }
    }

    /// A life is over: what was seen of it is judged by its own end.
    fn bury(&self) {
        let horizon = self.horizon.load(Ordering::SeqCst);
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        let certain = seen.into_iter().filter(|seen| seen.end || seen.head < horizon);
        self.certain.lock().unwrap().extend(certain.map(|seen| seen.generation_id));
    }

    /// The generations that must be in the ledger.
    fn certain(&self) -> Vec<String> {
        self.certain.lock().unwrap().clone()
    }
}

/// A row as far as it matters here.
struct Row {
    state: String,
    cost: Option<i128>,
}

/// The rows that have a generation ID; each has one of its own.
async fn rows(at: &Installation) -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::new();
    let query = "SELECT generation_id, state, CAST(cost_picousd AS TEXT) FROM usage WHERE generation_id IS NOT NULL";
    for row in at.sql(query).await {
        let id = text(&row[0]).unwrap().to_owned();
        let row =
            Row { state: text(&row[1]).unwrap().to_owned(), cost: text(&row[2]).map(|cost| cost.parse().unwrap()) };
        assert!(rows.insert(id.clone(), row).is_none(), "{id} is there twice");
    }
    rows
}

fn assert_there(rows: &BTreeMap<String, Row>, certain: &[String], when: &str) {
    let missing: Vec<&String> = certain.iter().filter(|id| !rows.contains_key(*id)).collect();
    assert!(missing.is_empty(), "{} of {} are missing {when}: {missing:?}", missing.len(), certain.len());
}

/// Loads the daemon from several clients until it is killed at a moment that nobody chose.
async fn one_life(at: &Installation, witness: &Arc<Witness>, entropy: &Entropy) {
    let daemon = Process::start(at).await;
    assert_there(&rows(at).await, &witness.certain(), "after a restart");
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (witness, stop, caller) = (Arc::clone(witness), Arc::clone(&stop), Caller::new(daemon.address()));
            beside(async move {
                while !stop.load(Ordering::Relaxed) {
                    let number = witness.moment();
                    witness.watch(&caller, &Call::nth(number)).await;
                }
            })
        })
        .collect();
    let enough = witness.heads.load(Ordering::SeqCst) + 10 + entropy.next_u64() % 100;
    until("enough replies", async || (witness.heads.load(Ordering::SeqCst) >= enough).then_some(())).await;
    Clock::system().sleep(Duration::from_micros(entropy.next_u64() % 30_000)).await;
    daemon.kill().await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    witness.bury();
}

async fn kill_again_and_again(database_url: &str, seed: u64, kills: u64) {
    let entropy = Entropy::seeded(seed);
    let config = SimConfig { lag_ms: 0..=400, ..SimConfig::default() };
    let simulator = Simulator::start(config, Clock::system(), Entropy::seeded(seed)).await.unwrap();
    let at = Installation::on(
        database_url,
        simulator.base_url(),
        &format!("{SECOND}{QUICK}timeout = \"5s\"\n[journal]\nsync_timeout = \"5m\"\n"),
    );
    let witness = Arc::new(Witness::default());
    for _ in 0..kills {
        one_life(&at, &witness, &entropy).await;
    }

    let daemon = Process::start(&at).await;
    let certain = witness.certain();
    assert_there(&rows(&at).await, &certain, "after the last restart");
    // A restart asks again for what was under way: the key that callers bring must come once more.
    let last =
        (0..10_000).map(Call::nth).find(|call| call.key().0 == BROUGHT_KEY && call.leaves_after.is_none()).unwrap();
    witness.watch(&Caller::new(daemon.address()), &last).await;
    until("the end of what the provider was asked", async || (simulator.in_flight() == 0).then_some(())).await;
    until("every record", async || (at.pending().await == 0).then_some(())).await;

    let rows = rows(&at).await;
    assert_there(&rows, &certain, "in the end");
    for (id, row) in &rows {
        let billed = simulator.truth().get(id).unwrap_or_else(|| panic!("{id} was never billed"));
        assert_eq!((&*row.state, row.cost), ("settled", Some(billed.spend().0)), "{id}: {billed:?}");
    }
    let all = at.sql("SELECT COUNT(*), COUNT(DISTINCT call_id) FROM usage").await;
    let (count, calls) = (number(&all[0][0]), i128::from(witness.calls.load(Ordering::SeqCst)));
    assert_eq!(count, number(&all[0][1]));
    assert!(count <= calls, "{count} rows of {calls} calls");
    let heads = witness.heads.load(Ordering::SeqCst);
    eprintln!("{kills} kills: {calls} calls, {heads} heads seen, {} certain, {count} rows", certain.len());
    assert!(certain.len() as u64 * 2 > heads, "{} of {heads} heads are certain", certain.len());
    at.verify().await;
    daemon.stop().await;
    at.verify().await;
}

fn kills(short: u64) -> u64 {
    std::env::var(KILLS).map_or(short, |kills| kills.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kill_loses_or_doubles_a_call() {
    kill_again_and_again("sqlite:data/tallyd.db", 1, kills(12)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kill_loses_or_doubles_a_call_on_postgres() {
    on_a_postgres_of_its_own("crash", async |url| kill_again_and_again(url, 2, kills(4)).await).await;
}

#[tokio::test]
async fn a_second_daemon_on_one_folder_names_the_first() {
    let at = Installation::new("http://127.0.0.1:9/api/v1", "");
    let mut first = Process::start(&at).await;
    for listen in ["127.0.0.1:0".to_owned(), first.address().to_string()] {
        let second = at.run(&["serve", "--listen", &listen]).await;
        assert_eq!(second.code, Some(1), "{second:?}");
        let last = second.err.lines().last().unwrap();
        assert!(last.contains(&format!("PID {}", first.pid())), "{last}");
    }
    assert!(first.runs());
    first.stop().await;
}
