//! A settler on a real database and a scripted OpenRouter, with a clock that the test steps.
//!
//! The test stands in for the ledger's writer: it takes each reading and applies it to its row.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use secrecy::SecretString;
use tallyd::capture::keys::Keyring;
use tallyd::clock::{Clock, Entropy};
use tallyd::domain::attribution::{Attribution, KeyRef};
use tallyd::domain::call::Call;
use tallyd::domain::ids::{CallId, KeyFingerprint};
use tallyd::domain::observation::{Reading, Tidings, Told};
use tallyd::domain::time::Timestamp;
use tallyd::ledger::{ReadingOf, Wakes};
use tallyd::openrouter::{Client, Timeouts};
use tallyd::settle::{Settler, SettlerOptions};
use tallyd::store::{Store, StoreOptions, calls};
use tallyd::telemetry::Metrics;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::upstream::Upstream;

pub const START: Timestamp = Timestamp(1_790_000_000_000);
pub const GIVE_UP_MS: i64 = 72 * 3_600_000;
pub const TIMEOUT: Duration = Duration::from_secs(20);
/// Rounds without a reading after which a standing clock is taken for the cause.
const STALL: u32 = 200;

pub const DEFAULT_KEY: &str = "sk-or-v1-default";

/// How a scene is set up.
pub struct Options {
    pub concurrency: usize,
    pub rate_per_second: u32,
    pub busy_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { concurrency: 6, rate_per_second: 1000, busy_timeout: Duration::from_secs(5) }
    }
}

pub struct Scene {
    pub clock: Clock,
    pub store: Store,
    pub upstream: Upstream,
    pub metrics: Metrics,
    pub keys: Arc<Keyring>,
    pub stop: CancellationToken,
    /// The settler's own connections.
    settler_store: Store,
    options: Options,
    readings: mpsc::Receiver<ReadingOf>,
    sink: mpsc::Sender<ReadingOf>,
    wakes: Arc<Wakes>,
    entropy: Entropy,
    _folder: tempfile::TempDir,
}

impl Scene {
    pub async fn new(options: Options) -> Self {
        let clock = Clock::manual(START);
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder, Duration::from_secs(30)).await;
        let settler_store = open(&folder, options.busy_timeout).await;
        let (sink, readings) = mpsc::channel(64);
        Self {
            upstream: Upstream::start(clock.clone()).await,
            metrics: Metrics::new(Registry::default()),
            keys: keyring(&[("default", DEFAULT_KEY)]),
            stop: CancellationToken::new(),
            wakes: Arc::default(),
            entropy: Entropy::seeded(1),
            clock,
            store,
            settler_store,
            options,
            readings,
            sink,
            _folder: folder,
        }
    }

    /// Starts a settler, which runs until `stop` falls; awaiting what is returned waits for its end.
    pub fn settle(&self) -> tokio::task::JoinHandle<()> {
        let client = Client::new(
            &self.upstream.base_url(),
            Timeouts { connect: Duration::from_secs(5), reading: TIMEOUT },
            self.clock.clone(),
        );
        let settler = Settler {
            store: self.settler_store.clone(),
            client: client.unwrap(),
            keys: Arc::clone(&self.keys),
            readings: self.sink.clone(),
            wakes: Arc::clone(&self.wakes),
            metrics: self.metrics.clone(),
            clock: self.clock.clone(),
            options: SettlerOptions {
                owner: "test".to_owned(),
                concurrency: self.options.concurrency,
                rate_per_second: self.options.rate_per_second,
                timeout: TIMEOUT,
            },
        };
        super::spawn(settler.run(self.stop.clone()))
    }

    /// A row told now, made with `key`; its first reading is due in a second.
    pub async fn told(&self, id: &str, key: Option<&str>) -> CallId {
        let now = self.clock.now();
        let call_id = self.entropy.call_id(now);
        let key = key.map(|text| KeyRef { name: "own".to_owned(), fingerprint: Some(KeyFingerprint::of(text)) });
        let attribution = Attribution::default();
        let told = Told {
            call_id,
            at: now,
            generation_id: id.parse().unwrap(),
            key,
            tally_key: None,
            attribution,
            tidings: Tidings::Id,
        };
        self.write(&Call::told(&told)).await;
        self.wake();
        call_id
    }

    pub async fn write(&self, call: &Call) {
        let mut tx = self.store.write().await.unwrap();
        calls::upsert(&mut tx, &[call]).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// What the ledger does after a commit.
    pub fn wake(&self) {
        self.wakes.settle.notify_one();
    }

    pub async fn row(&self, call_id: CallId) -> Call {
        calls::find(&self.store, &call_id.to_string()).await.unwrap().unwrap().0
    }

    /// Waits for the next reading and applies it; returns it with the row it made. The clock stands, unless that
    /// keeps the reading from coming.
    pub async fn next(&mut self) -> (Reading, Call) {
        let (clock, store) = (self.clock.clone(), self.store.clone());
        let nudging = async {
            // A look during which the test stepped the clock seemed long, and the next one keeps as long a distance.
            let mut step = Duration::from_millis(50);
            loop {
                for _ in 0..STALL {
                    turns(&store).await;
                }
                clock.advance(step);
                step = (step * 2).min(Duration::from_secs(5));
            }
        };
        let coming = async {
            tokio::select! {
                reading = self.readings.recv() => reading.unwrap(),
                () = nudging => unreachable!("it nudges for ever"),
            }
        };
        let ReadingOf { call_id, at, reading } = super::soon(coming).await;
        let mut call = self.row(call_id).await;
        call.read(&reading, at, GIVE_UP_MS);
        self.write(&call).await;
        self.wake();
        (reading, call)
    }

    /// Steps the clock to the row's next reading and takes it.
    pub async fn at_due(&mut self, call_id: CallId) -> (Reading, Call) {
        let due = self.row(call_id).await.settling.due.unwrap();
        let wait = due.millis() - self.clock.now().millis();
        self.idle().await;
        self.clock.advance(Duration::from_millis(u64::try_from(wait.max(1)).unwrap()));
        self.next().await
    }

    /// Gives the settler its turns: whatever it would do at this instant, it has done or begun.
    pub async fn idle(&self) {
        for _ in 0..3 {
            turns(&self.store).await;
        }
    }

    /// Steps the clock by `by` in many steps, the settler doing at each what it would.
    pub async fn pass(&self, by: Duration) {
        let step = Duration::from_millis(50).max(by / 50);
        let mut left = by;
        while !left.is_zero() {
            self.clock.advance(step.min(left));
            left = left.saturating_sub(step);
            self.idle().await;
        }
    }

    /// Steps the clock until the row is as wanted.
    pub async fn row_where(&self, call_id: CallId, wanted: impl Fn(&Call) -> bool) -> Call {
        let stepping = async {
            loop {
                let row = self.row(call_id).await;
                if wanted(&row) {
                    return row;
                }
                self.pass(Duration::from_millis(50)).await;
            }
        };
        super::soon(stepping).await
    }

    /// Steps the clock until `count` questions have come.
    pub async fn asked(&self, count: usize) {
        let stepping = async {
            while self.upstream.questions().len() < count {
                self.pass(Duration::from_millis(50)).await;
            }
        };
        super::soon(stepping).await;
    }

    pub fn no_reading_waits(&mut self) -> bool {
        self.readings.try_recv().is_err()
    }

    /// Where readings go.
    pub fn sink(&self) -> mpsc::Sender<ReadingOf> {
        self.sink.clone()
    }
}

/// Gives other tasks their turns; a trip through the database takes at least as long as the settler's own.
async fn turns(store: &Store) {
    store.write().await.unwrap().rollback().await.unwrap();
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

async fn open(folder: &tempfile::TempDir, busy_timeout: Duration) -> Store {
    let mut options = StoreOptions::new(format!("sqlite:{}", folder.path().join("tallyd.db").display()));
    options.busy_timeout = busy_timeout;
    Store::open(&options).await.unwrap()
}

pub fn keyring(configured: &[(&str, &str)]) -> Arc<Keyring> {
    let keys = configured.iter().map(|(name, key)| ((*name).to_owned(), SecretString::from((*key).to_owned())));
    Arc::new(Keyring::new(keys))
}
