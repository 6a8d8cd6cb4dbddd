//! Any order of admissions, replies, settlements, crashes and restarts: what is spent and held back is what a naive model
//! says, in memory and in the database.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tallyd::budget::{Book, Wish};
use tallyd::capture::recorder::Recorder;
use tallyd::catalogue::Shelf;
use tallyd::clock::{Clock, Entropy};
use tallyd::domain::attribution::{Attribution, KeyRef};
use tallyd::domain::budget::{Budget, BudgetSpec, Origin};
use tallyd::domain::estimate::Size;
use tallyd::domain::facts::{Facts, GenerationRecord};
use tallyd::domain::ids::{CallId, GenerationId, KeyFingerprint};
use tallyd::domain::money::Money;
use tallyd::domain::observation::{Ending, Head, Outcome, Reading, Sent};
use tallyd::domain::scope::AdmissionSubject;
use tallyd::domain::time::Timestamp;
use tallyd::journal::{Journal, JournalOptions};
use tallyd::ledger::{Ledger, Opened, ReadingOf, Work, Writer, WriterOptions};
use tallyd::store::{Store, StoreOptions, budgets};
use tallyd::telemetry::Metrics;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::store::engines::{on_a_postgres_of_its_own, postgres_url};
use crate::support::{PATIENCE, beside, until};

/// Thursday, 19 November 2026, 22:00 UTC: some hours before a day ends.
const START: Timestamp = Timestamp(1_795_125_600_000);

/// An ID is given up after so long without a record, in milliseconds.
const GIVE_UP_MS: i64 = 3_600_000;

/// One cent: what a call is taken to cost of which nothing is known.
pub(super) const CENT: i64 = 10_000_000_000;

/// What happens. Calls are named by their place among those that may still change.
#[derive(Clone, Debug)]
enum Step {
    /// A call for this app asks to be sent; its client may leave before it is.
    Admit { app: u8, sent: bool },
    /// The head of a call comes, with an ID or without.
    Head { call: u8, id: bool },
    /// A call ends, with this cost in its reply, if any, in pico-dollars.
    Reply { call: u8, cost: Option<i64> },
    /// A call ends without success: refused by OpenRouter, or never answered.
    Fail { call: u8, answered: bool },
    /// The record of an ended call is read: with a cost, or there is none yet.
    Settle { call: u8, cost: Option<i64> },
    /// Time goes on, in minutes.
    Wait { minutes: i64 },
    /// The daemon dies, just after the end of a call was synced, with this cost in its reply.
    Crash { call: u8, cost: Option<i64> },
    /// It ends in order, and starts again.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let cost = || prop::option::of(0..3 * CENT);
    prop_oneof![
        6 => (0_u8..3, prop::bool::weighted(0.9)).prop_map(|(app, sent)| Step::Admit { app, sent }),
        3 => (any::<u8>(), prop::bool::weighted(0.8)).prop_map(|(call, id)| Step::Head { call, id }),
        4 => (any::<u8>(), cost()).prop_map(|(call, cost)| Step::Reply { call, cost }),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(call, answered)| Step::Fail { call, answered }),
        4 => (any::<u8>(), cost()).prop_map(|(call, cost)| Step::Settle { call, cost }),
        1 => (1_i64..300).prop_map(|minutes| Step::Wait { minutes }),
        1 => (any::<u8>(), cost()).prop_map(|(call, cost)| Step::Crash { call, cost }),
        1 => Just(Step::Restart),
    ]
}

/// The one that holds for each app by itself.
const EACH: &str = "for-each";

/// The budgets: name, app, window, limit in cents. One has it for each app.
const BUDGETS: [(&str, Option<&str>, &str, i64); 5] = [
    ("all", None, "total", 40),
    ("all-today", None, "day", 25),
    ("of-0", Some("app-0"), "total", 9),
    ("of-1-lately", Some("app-1"), "rolling 24h", 12),
    (EACH, None, "day", 8),
];

fn defined() -> Vec<Budget> {
    BUDGETS
        .iter()
        .map(|(name, app, window, cents)| {
            let limit = format!("0.{cents:02}");
            let mut spec =
                serde_json::json!({ "name": name, "window": window, "limit_usd": limit, "when_exceeded": "block" });
            if let Some(app) = app {
                spec["scope"] = serde_json::json!({ "app": app });
            }
            if *name == EACH {
                spec["each"] = "app".into();
            }
            serde_json::from_value::<BudgetSpec>(spec).unwrap().into_budget(Origin::File, chrono_tz::UTC).unwrap()
        })
        .collect()
}

/// What the model knows of a call.
#[derive(Clone, Debug)]
struct Known {
    id: CallId,
    app: u8,
    estimate: i64,
    /// The generation's ID.
    generation: Option<GenerationId>,
    /// When its head came.
    head_at: Option<Timestamp>,
    sent_at: Timestamp,
    over: bool,
    /// Since when it waits for its record.
    waits_since: Option<Timestamp>,
    cost: Option<i64>,
    /// It costs nothing: it failed, or nobody will ever tell.
    ended_without: bool,
}

impl Known {
    /// When it counts, if that is known.
    fn at(&self) -> Timestamp {
        self.head_at.unwrap_or(self.sent_at)
    }

    fn is_held(&self) -> bool {
        self.cost.is_none() && !self.ended_without
    }

    fn app(&self) -> String {
        format!("app-{}", self.app)
    }
}

/// The naive model: everything is summed anew each time it is asked.
#[derive(Default)]
struct Model {
    calls: Vec<Known>,
    /// What the last calls of the budgets cost, for the mean; a restart remembers them too.
    generations: u64,
}

impl Model {
    /// What is spent and held back of a budget, or of one value's account of it.
    fn counted(&self, budget: &Budget, value: &str, now: Timestamp) -> (i128, i128) {
        let window = budget.window.window_at(budget.zone, now);
        let of_scope = |call: &&Known| {
            budget.scope.app.as_ref().is_none_or(|app| app.as_str() == call.app())
                && (budget.each.is_none() || value == call.app())
        };
        let calls = || self.calls.iter().filter(of_scope);
        let spent = calls().filter(|call| window.contains(call.at().bucket())).filter_map(|call| call.cost);
        // One whose ID is not known may count at any time; its estimate is held back whatever the window.
        let dated = |call: &Known| call.generation.is_some();
        let held = calls().filter(|call| call.is_held() && (!dated(call) || call.at().bucket() >= window.start));
        (spent.map(i128::from).sum(), held.map(|call| i128::from(call.estimate)).sum())
    }
}

/// A daemon's ledger, without its sockets.
pub(super) struct Life {
    pub(super) book: Arc<Book>,
    pub(super) recorder: Recorder,
    pub(super) journal: Journal,
    ledger: Ledger,
    pub(super) store: Store,
    pub(super) stop: CancellationToken,
    writing: JoinHandle<()>,
    watching: JoinHandle<()>,
}

impl Life {
    async fn begin(folder: &Path, url: &str, clock: &Clock, entropy: &Entropy) -> Self {
        Self::of(folder, url, clock, entropy, defined()).await
    }

    /// One that counts these budgets.
    pub(super) async fn of(folder: &Path, url: &str, clock: &Clock, entropy: &Entropy, budgets: Vec<Budget>) -> Self {
        let options = JournalOptions {
            dir: folder.join("journal"),
            segment_bytes: 1 << 20,
            limit_bytes: 64 << 20,
            reserve_bytes: 1 << 20,
            memory_bytes: 16 << 20,
            sync_timeout: Duration::from_mins(5),
        };
        // The lock is given back with the last handle of the life before, some of which are other threads'.
        let journal = until("the journal's lock", async || Journal::open(options.clone(), entropy).ok()).await;
        let store = Store::open(&StoreOptions::new(url)).await.unwrap();
        let metrics = Metrics::new(Registry::with_prefix("tallyd"));
        let options = WriterOptions {
            batch_rows: 1_000,
            batch_wait: Duration::ZERO,
            give_up_after_ms: GIVE_UP_MS,
            aside: folder.join("set-aside.ndjson"),
            catalogue: Shelf::default(),
            metrics: metrics.clone(),
        };
        let book = Arc::new(Book::default());
        let opened = Writer::open(store.clone(), journal, budgets, Arc::clone(&book), clock.clone(), options).await;
        let Opened { writer, ledger, journal, watch } = opened.unwrap();
        let stop = CancellationToken::new();
        let writing = beside(writer.run(stop.clone()));
        let watching = beside(watch.run());
        let recorder = Recorder::new(journal.clone(), metrics);
        Self { book, recorder, journal, ledger, store, stop, writing, watching }
    }

    pub(super) async fn end(self) {
        self.stop.cancel();
        self.writing.await.unwrap();
        self.watching.abort();
        self.store.close().await;
    }

    /// What was synced stays; everything else is gone.
    pub(super) async fn crash(self) {
        self.writing.abort();
        let _ = self.writing.await;
        self.watching.abort();
        let _ = self.watching.await;
        self.store.close().await;
    }

    /// Everything seen so far is in the ledger, and published.
    pub(super) async fn caught_up(&self) {
        until("an empty journal", async || self.journal.is_empty().then_some(())).await;
    }
}

/// One run.
struct Run<'a> {
    folder: &'a Path,
    url: &'a str,
    clock: Clock,
    entropy: Entropy,
    budgets: Vec<Budget>,
    model: Model,
}

impl Run<'_> {
    async fn all(&mut self, steps: &[Step]) {
        let mut life = Life::begin(self.folder, self.url, &self.clock, &self.entropy).await;
        self.compare(&life).await;
        for step in steps {
            match step {
                Step::Crash { call, cost } => {
                    if let Some(place) = self.chosen(*call, |call| !call.over) {
                        self.end(&life, self.model.calls[place].id, *cost, Ending::Complete).await;
                    }
                    life.crash().await;
                    life = self.next_life().await;
                }
                Step::Restart => {
                    life.end().await;
                    life = self.next_life().await;
                }
                step => self.step(&life, step).await,
            }
            self.compare(&life).await;
        }
        // In the end every call is settled or given up, and nothing is held back.
        let left: Vec<CallId> = self.model.calls.iter().filter(|call| !call.over).map(|call| call.id).collect();
        for id in left {
            self.over(&life, id, None, Ending::NoReply).await;
        }
        self.clock.advance(Duration::from_hours(3));
        for place in 0..self.model.calls.len() {
            self.read(&life, place, None).await;
        }
        self.compare(&life).await;
        for (standing, _, reserved) in life.book.standings() {
            assert_eq!(reserved.picos(), 0, "{} leaks", standing.budget.name);
        }
        life.end().await;
    }

    async fn next_life(&mut self) -> Life {
        let now = self.clock.now();
        for call in self.model.calls.iter_mut().filter(|call| !call.over) {
            call.over = true;
            match call.generation {
                Some(_) => call.waits_since = Some(now),
                None => call.ended_without = true,
            }
        }
        Life::begin(self.folder, self.url, &self.clock, &self.entropy).await
    }

    async fn step(&mut self, life: &Life, step: &Step) {
        let now = self.clock.now();
        match *step {
            Step::Admit { app, sent } => self.admit(life, app, sent, now),
            Step::Head { call, id } => {
                let Some(place) = self.chosen(call, |call| !call.over && call.head_at.is_none()) else { return };
                self.model.generations += 1;
                let call = &mut self.model.calls[place];
                call.head_at = Some(now);
                call.generation = id.then(|| format!("gen-{}", self.model.generations).parse().unwrap());
                let head = Head { call_id: call.id, at: now, generation_id: call.generation.clone(), status: 200 };
                life.recorder.head(head);
                life.caught_up().await;
            }
            Step::Reply { call, cost } => {
                let Some(place) = self.chosen(call, |call| !call.over) else { return };
                self.over(life, self.model.calls[place].id, cost, Ending::Complete).await;
            }
            Step::Fail { call, answered } => {
                let fits = |call: &Known| !call.over && call.head_at.is_none();
                let Some(place) = self.chosen(call, fits) else { return };
                let ending = if answered { Ending::NeverSent } else { Ending::NoReply };
                self.over(life, self.model.calls[place].id, None, ending).await;
            }
            Step::Settle { call, cost } => {
                let fits = |call: &Known| call.over && call.is_held();
                let Some(place) = self.chosen(call, fits) else { return };
                self.read(life, place, cost).await;
            }
            Step::Wait { minutes } => {
                self.clock.advance(Duration::from_mins(u64::try_from(minutes).unwrap()));
            }
            Step::Crash { .. } | Step::Restart => unreachable!("the caller's"),
        }
    }

    /// The call that a step means, among those that it may concern.
    fn chosen(&self, call: u8, fits: impl Fn(&Known) -> bool) -> Option<usize> {
        let calls = &self.model.calls;
        let fitting: Vec<usize> = (0..calls.len()).filter(|place| fits(&calls[*place])).collect();
        (!fitting.is_empty()).then(|| fitting[usize::from(call) % fitting.len()])
    }

    fn admit(&mut self, life: &Life, app: u8, sent: bool, now: Timestamp) {
        let (name, tags) = (format!("app-{app}"), BTreeMap::new());
        let call_id = self.entropy.call_id(now);
        let subject = AdmissionSubject {
            app: Some(&name),
            key_name: Some("default"),
            end_user: None,
            session: None,
            model: Some("no/price"),
            models: &[],
            models_unread: false,
            tags: &tags,
            opaque_body: false,
        };
        let wish = Wish { call_id, subject, size: Size::default() };
        let fits = |estimate: i64| {
            let matching = self.budgets.iter().filter(|budget| budget.scope.may_match(&subject));
            matching.into_iter().all(|budget| {
                let (counted, held) = self.model.counted(budget, &name, now);
                counted + held + i128::from(estimate) <= budget.limit.picos().into()
            })
        };
        match life.book.admit(&wish, &tallyd::domain::catalogue::Catalogue::default(), now) {
            Err(refused) => assert!(!fits(refused.estimate.picos()), "refused what fits: {refused:?}"),
            Ok(None) => panic!("every call here counts in a budget that blocks"),
            Ok(Some(reservation)) => {
                let estimate = reservation.estimate().picos();
                assert!(fits(estimate), "admitted what does not fit: {estimate}");
                if !sent {
                    return;
                }
                let recorded = life.recorder.sent(Sent {
                    call_id,
                    at: now,
                    endpoint: "chat/completions".to_owned(),
                    key: KeyRef { name: "default".to_owned(), fingerprint: Some(KeyFingerprint::of("k")) },
                    tally_key: None,
                    attribution: Attribution { app: Some(name), ..Attribution::default() },
                    requested_model: Some("no/price".to_owned()),
                    models: Vec::new(),
                    routing: None,
                    streamed: Some(true),
                    flags: Vec::new(),
                    estimate: Some(reservation.estimate()),
                });
                assert!(recorded);
                reservation.keep();
                self.model.calls.push(Known {
                    id: call_id,
                    app,
                    estimate,
                    generation: None,
                    head_at: None,
                    sent_at: now,
                    over: false,
                    waits_since: None,
                    cost: None,
                    ended_without: false,
                });
            }
        }
    }

    /// A call ends, and the ledger knows.
    async fn over(&mut self, life: &Life, id: CallId, cost: Option<i64>, ending: Ending) {
        self.end(life, id, cost, ending).await;
        life.caught_up().await;
    }

    /// A call ends, and the journal's disk knows.
    async fn end(&mut self, life: &Life, id: CallId, cost: Option<i64>, ending: Ending) {
        let now = self.clock.now();
        let call = self.model.calls.iter_mut().find(|call| call.id == id).unwrap();
        call.over = true;
        let status = call.head_at.map(|_| 200);
        if call.generation.is_none() {
            // Nobody can ask what it cost, unless its reply says so.
            call.ended_without = true;
        } else {
            call.waits_since = Some(now);
        }
        // A reply without a head is none.
        let cost = cost.filter(|_| call.head_at.is_some());
        call.cost = cost;
        let facts = Facts { inline_cost: cost.map(Money::from_picos), ..Facts::default() };
        life.recorder
            .outcome(Outcome {
                call_id: id,
                at: now,
                head_at: None,
                ending,
                status,
                generation_id: None,
                facts,
                error: None,
                first_byte_ms: None,
                duration_ms: 1,
                response_cache_hit: false,
                flags: Vec::new(),
            })
            .await;
    }

    /// The record of the call at this place is read, or is not there yet.
    async fn read(&mut self, life: &Life, place: usize, cost: Option<i64>) {
        let now = self.clock.now();
        let call = &mut self.model.calls[place];
        if call.generation.is_none() || !call.over || (call.cost.is_some() && cost.is_none()) {
            return;
        }
        let reading = match cost.filter(|cost| *cost > 0) {
            None => {
                if now >= call.waits_since.unwrap().plus_millis(GIVE_UP_MS) && call.cost.is_none() {
                    call.ended_without = true;
                }
                Reading::NotYet
            }
            Some(cost) => {
                call.cost = Some(cost);
                Reading::Record(Box::new(GenerationRecord {
                    facts: Facts {
                        settled_cost: Some(Money::from_picos(cost)),
                        native_tokens_prompt: Some(1),
                        native_tokens_completion: Some(1),
                        ..Facts::default()
                    },
                    ..GenerationRecord::default()
                }))
            }
        };
        let readings = vec![ReadingOf { call_id: call.id, at: now, reading }];
        life.ledger.submit(Work { readings, ..Work::default() }, PATIENCE).await.unwrap();
    }

    /// Holds memory and database against the model.
    async fn compare(&self, life: &Life) {
        let (mut expected, mut seen) = (BTreeMap::new(), [BTreeMap::new(), BTreeMap::new()]);
        let real = Clock::system();
        // Windows are turned, and what is shown is written, by the next transaction.
        let found = real.timeout(PATIENCE, async {
            loop {
                expected = self.expected(self.clock.now());
                seen = [in_memory(life), in_database(life).await];
                if seen.iter().all(|seen| *seen == expected) {
                    return;
                }
                // The writer looks at windows every five seconds of its own clock.
                self.clock.advance(Duration::from_millis(50));
                real.sleep(Duration::from_millis(2)).await;
            }
        });
        let found = found.await;
        assert!(found.is_some(), "expected {expected:?}, found {seen:?}; calls: {:#?}", self.model.calls);
    }

    /// What each account that is not empty should stand at.
    fn expected(&self, now: Timestamp) -> Stands {
        let apps = ["app-0", "app-1", "app-2"];
        let accounts = self.budgets.iter().flat_map(|budget| {
            let values = if budget.each.is_some() { &apps[..] } else { &[""] };
            values.iter().map(move |value| (budget, *value))
        });
        accounts
            .map(|(budget, value)| {
                ((budget.name.to_string(), value.to_owned()), self.model.counted(budget, value, now))
            })
            .filter(|(_, counted)| *counted != (0, 0))
            .collect()
    }
}

/// Spent and held back, by budget and value.
type Stands = BTreeMap<(String, String), (i128, i128)>;

fn in_memory(life: &Life) -> Stands {
    let standings = life.book.standings().into_iter().map(|(standing, value, reserved)| {
        let (spent, reserved) = (standing.spent.picos(), reserved.picos());
        assert!(spent >= 0 && reserved >= 0, "{standing:?} {reserved}");
        ((standing.budget.name.to_string(), value.to_string()), (spent, reserved))
    });
    standings.filter(|(_, stands)| *stands != (0, 0)).collect()
}

async fn in_database(life: &Life) -> Stands {
    let mut stands = Stands::new();
    for (stored, status) in budgets::list(&life.store).await.unwrap() {
        let (name, status) = (stored.budget.name, status.unwrap());
        if stored.budget.each.is_none() {
            let shown = (status.spent.cost.picos(), status.reserved.picos());
            stands.insert((name.to_string(), String::new()), shown);
            continue;
        }
        for account in budgets::accounts(&life.store, &name, None, 10).await.unwrap() {
            let shown = (account.spent.cost.picos(), account.reserved.picos());
            stands.insert((name.to_string(), account.value.to_string()), shown);
        }
    }
    stands.retain(|_, stands| *stands != (0, 0));
    stands
}

fn interleavings(cases: u32, lives: impl Fn(&[Step])) {
    let mut runner =
        TestRunner::new(Config { cases, max_shrink_iters: 40, failure_persistence: None, ..Config::default() });
    runner
        .run(&prop::collection::vec(step(), 1..60), |steps| {
            lives(&steps);
            Ok(())
        })
        .unwrap();
}

async fn run(url: &str, folder: &Path, steps: &[Step]) {
    let mut run = Run {
        folder,
        url,
        clock: Clock::manual(START),
        entropy: Entropy::seeded(7),
        budgets: defined(),
        model: Model::default(),
    };
    run.all(steps).await;
}

pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn spent_and_held_back_are_what_a_naive_model_says() {
    interleavings(12, |steps| {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("tallyd.db").display());
        runtime().block_on(run(&url, folder.path(), steps));
    });
}

#[test]
fn spent_and_held_back_are_what_a_naive_model_says_on_postgres() {
    if postgres_url("interleavings").is_none() {
        return;
    }
    interleavings(4, |steps| {
        let folder = tempfile::tempdir().unwrap();
        runtime().block_on(on_a_postgres_of_its_own("interleavings", async |url| run(url, folder.path(), steps).await));
    });
}
