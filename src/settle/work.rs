//! The settler's state: what waits, what is under way, and when to look for more.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::watch;

use super::Settler;
use super::keys::{HeldKey, Ring};
use super::look::{Found, Look, give_back};
use super::pace::Pace;
use super::reading::{ForKey, judge};
use crate::domain::ids::{CallId, GenerationId};
use crate::ledger::ReadingOf;
use crate::store::settlements::{self, Due, Passed};
use crate::store::{Engine, Store, StoreError};

/// Least time between two looks for work, however often the ledger wakes us, and as a multiple of what the last one
/// took: looks leave the database to others.
const LOOK_GAP: Duration = Duration::from_millis(50);
const LOOK_GAP_FACTOR: u32 = 5;

/// Longest time between two looks: leases of the dead run out, and clocks are set.
const LOOK_IDLE: Duration = Duration::from_secs(30);

/// Longest time until the next look while rows are due whose keys pause.
const LOOK_HELD: Duration = Duration::from_secs(1);

/// While keys pause, only rows are searched that fell due within this time before the last look, as the ledger may
/// write rows that late, ...
const LOOK_BACK_MS: i64 = 60_000;

/// ... and all that are due once in this time.
const LOOK_WHOLE: Duration = Duration::from_mins(5);

/// First and longest wait after the database could not be asked.
const TROUBLE_FIRST: Duration = Duration::from_millis(500);
const TROUBLE_LAST: Duration = Duration::from_secs(30);

/// How long a lease lasts beyond its reading, for the writer to commit what was read.
const LEASE_MARGIN: Duration = Duration::from_mins(2);

/// A row about to be read.
struct Job {
    call_id: CallId,
    generation_id: GenerationId,
    key: HeldKey,
}

/// What ended.
pub(super) enum Event {
    /// A reading, and whether the ledger took it.
    Read { sha256: String, for_key: ForKey, taken: bool },
    /// A look for work; if it went well, the rows that these keys wake have been woken.
    Looked { found: Result<Found, StoreError>, look: Look },
    /// Rows were given back, or could not be: their leases run out by themselves.
    GaveBack,
}

/// The loop's state.
pub(super) struct Work {
    pub(super) settler: Settler,
    pub(super) events: FuturesUnordered<BoxFuture<'static, Event>>,
    /// Changes when a key comes that was not held.
    pub(super) key_news: watch::Receiver<u64>,
    pace: Pace,
    /// The keys held, as of the last news, and those whose parked rows have been woken.
    ring: Arc<Ring>,
    announced: Arc<Ring>,
    /// Rows leased and not begun; no more than begin within a second.
    waiting: VecDeque<Job>,
    /// Readings under way, among `events`.
    reading: usize,
    looking: bool,
    /// The ledger woke us during a look, which may have missed what it was about.
    woken: bool,
    /// When to look next, and when the last look began, in the clock's elapsed time.
    look_at: Duration,
    looked_at: Duration,
    /// See [`LOOK_GAP`].
    look_gap: Duration,
    /// Looks failed in a row.
    failures: u32,
    /// What the last look passed over, and until when nothing else was due.
    passed: Passed,
    /// When all due rows were last searched, in the clock's elapsed time.
    whole_at: Duration,
    /// The ledger's writer is gone.
    closed: bool,
}

impl Work {
    pub(super) fn new(settler: Settler) -> Self {
        let pace = Pace::new(settler.options.rate_per_second);
        let now = settler.clock.elapsed();
        // Subscribed first, so that a key that comes in between is read twice rather than missed.
        let key_news = settler.keys.news();
        let ring = Arc::new(Ring::of(&settler.keys));
        Self {
            settler,
            events: FuturesUnordered::new(),
            key_news,
            pace,
            ring,
            announced: Arc::default(),
            waiting: VecDeque::new(),
            reading: 0,
            looking: false,
            woken: false,
            look_at: now,
            looked_at: now,
            look_gap: LOOK_GAP,
            failures: 0,
            passed: Passed::default(),
            whole_at: now,
            closed: false,
        }
    }

    /// Whether the ledger still takes readings.
    pub(super) fn takes_more(&self) -> bool {
        !self.closed
    }

    /// Begins the readings and the look that may begin now.
    pub(super) fn begin_what_may(&mut self) {
        let now = self.settler.clock.elapsed();
        while self.has_room()
            && self.pace.next() <= now
            && let Some(job) = self.waiting.pop_front()
        {
            self.pace.begin(now);
            self.reading += 1;
            self.events.push(Box::pin(read(&self.settler, job)));
        }
        if self.may_look() && self.look_at <= now {
            self.look(now);
        }
    }

    fn has_room(&self) -> bool {
        self.reading < self.settler.options.concurrency
    }

    /// Rows are leased only when those leased before have begun and another could begin.
    fn may_look(&self) -> bool {
        !self.looking && self.waiting.is_empty() && self.has_room()
    }

    /// How long nothing can begin unless something ends or the ledger wakes us.
    pub(super) fn wait(&self) -> Duration {
        let now = self.settler.clock.elapsed();
        if self.may_look() {
            self.look_at.saturating_sub(now)
        } else if self.has_room() && !self.waiting.is_empty() {
            self.pace.next().saturating_sub(now)
        } else {
            LOOK_IDLE
        }
    }

    fn look(&mut self, now: Duration) {
        let passed = self.passed(now);
        let options = &self.settler.options;
        let look = Look {
            owner: options.owner.clone(),
            ring: Arc::clone(&self.ring),
            announced: Arc::clone(&self.announced),
            passed,
            limit: u32::try_from(self.pace.room(now).min(options.concurrency - self.reading)).unwrap_or(u32::MAX),
            lease: options.timeout + LEASE_MARGIN,
        };
        (self.looking, self.woken, self.looked_at) = (true, false, now);
        let (store, clock) = (self.settler.store.clone(), self.settler.clock.clone());
        self.events.push(Box::pin(async move {
            let found = look.run(&store, clock.now()).await;
            Event::Looked { found, look }
        }));
    }

    /// What to pass over: rows of keys that pause, which may be many. As long as the same keys pause, what was due when
    /// a look found nothing else is not searched again, but for [`LOOK_BACK_MS`] and once in [`LOOK_WHOLE`].
    fn passed(&mut self, now: Duration) -> Passed {
        let keys = self.ring.marks(|sha256| self.pace.is_paused(sha256, now));
        let same = !keys.is_empty() && keys == self.passed.keys && now < self.whole_at + LOOK_WHOLE;
        let due_until = self.passed.due_until.filter(|_| same);
        if due_until.is_none() {
            self.whole_at = now;
        }
        Passed { keys, due_until }
    }

    /// The ledger says that rows may be due.
    pub(super) fn woken(&mut self) {
        self.woken = self.looking;
        if !self.looking && self.failures == 0 {
            self.look_at = self.look_at.min(self.looked_at + self.look_gap);
        }
    }

    /// A key came that was not held: rows may wait for it, and the one longest unused may be gone.
    pub(super) fn keys_came(&mut self) {
        let ring = Ring::of(&self.settler.keys);
        self.pace.retain(|sha256| ring.get(sha256).is_some());
        self.ring = Arc::new(ring);
        self.woken();
    }

    /// Takes in what ended.
    pub(super) fn heed(&mut self, event: Event) {
        let now = self.settler.clock.elapsed();
        match event {
            Event::Read { sha256, for_key, taken } => {
                self.reading -= 1;
                self.closed |= !taken;
                match for_key {
                    ForKey::Well => self.pace.well(&sha256, now),
                    ForKey::Slow(asked) => self.slow(&sha256, now, asked),
                    ForKey::Nothing => {}
                }
            }
            Event::Looked { found, look } => {
                self.looking = false;
                self.look_gap = LOOK_GAP.max(now.saturating_sub(self.looked_at) * LOOK_GAP_FACTOR).min(LOOK_IDLE);
                self.look_at = match found {
                    Ok(found) => {
                        if self.failures > 0 {
                            tracing::info!("settling goes on: the database answers again");
                        }
                        self.failures = 0;
                        self.announced = look.ring;
                        self.passed = look.passed;
                        self.found(found, now)
                    }
                    Err(error) => now + self.trouble(&error),
                };
                if self.woken && self.failures == 0 {
                    self.look_at = self.look_at.min(self.looked_at + self.look_gap);
                }
            }
            Event::GaveBack => {}
        }
    }

    /// Takes on what a look found; says when to look next.
    fn found(&mut self, found: Found, now: Duration) -> Duration {
        match found {
            Found::Due { rows, parked, all_until } => {
                let until = all_until.map(|until| until.plus_millis(-LOOK_BACK_MS));
                self.passed.due_until = until.or(self.passed.due_until);
                if self.take_on(rows, now) || parked { self.looked_at + self.look_gap } else { self.when_held(now) }
            }
            Found::NotBefore(next) => {
                let wait = next.map_or(i64::MAX, |next| next.millis() - self.settler.clock.now().millis());
                now + Duration::from_millis(u64::try_from(wait).unwrap_or(0)).min(LOOK_IDLE)
            }
        }
    }

    fn when_held(&self, now: Duration) -> Duration {
        let latest = self.looked_at + LOOK_HELD;
        self.pace.resumes(now).map_or(latest, |resumes| resumes.min(latest))
    }

    /// Queues leased rows; returns whether there were any to read, so that the next look can find others.
    fn take_on(&mut self, rows: Vec<Due>, now: Duration) -> bool {
        let mut left = Vec::new();
        for due in rows {
            // A key may have been told to pause, or been forgotten, since the look began.
            let usable = |key: &&HeldKey| !self.pace.is_paused(&key.fingerprint.sha256, now);
            match self.ring.reader_of(&due).filter(usable) {
                Some(key) => {
                    let (call_id, generation_id) = (due.call_id, due.generation_id);
                    self.waiting.push_back(Job { call_id, generation_id, key: key.clone() });
                }
                None => left.push(due.call_id),
            }
        }
        self.give_back(left);
        !self.waiting.is_empty()
    }

    /// The key pauses; its rows that have not begun are given back.
    fn slow(&mut self, sha256: &str, now: Duration, asked: Option<Duration>) {
        if !self.pace.is_paused(sha256, now) {
            let key = self.ring.get(sha256).map(|key| key.fingerprint.to_string());
            let asked_s = asked.map(|wait| wait.as_secs());
            tracing::warn!(key, asked_s, "OpenRouter slows this key down or refuses it; its calls settle later");
        }
        self.pace.slow(sha256, now, asked);
        let (paused, rest) =
            self.waiting.drain(..).partition::<VecDeque<Job>, _>(|job| job.key.fingerprint.sha256 == sha256);
        self.waiting = rest;
        self.give_back(paused.into_iter().map(|job| job.call_id).collect());
    }

    fn give_back(&self, rows: Vec<CallId>) {
        if rows.is_empty() {
            return;
        }
        let store = self.settler.store.clone();
        self.events.push(Box::pin(async move {
            if let Err(error) = give_back(&store, &rows).await {
                tracing::debug!(%error, "leases could not be ended early; they run out by themselves");
            }
            Event::GaveBack
        }));
    }

    /// The database could not be asked: how long to wait.
    fn trouble(&mut self, error: &StoreError) -> Duration {
        if self.failures == 0 {
            tracing::warn!(%error, "settling waits: the database can not be asked for due calls");
        }
        self.failures = self.failures.saturating_add(1);
        TROUBLE_FIRST.saturating_mul(1 << (self.failures - 1).min(10)).min(TROUBLE_LAST)
    }

    /// Finishes what is under way and gives back what is leased.
    pub(super) async fn end(mut self) {
        if self.closed {
            tracing::warn!("settling ends: the ledger takes no more readings");
        }
        self.waiting.clear();
        while self.events.next().await.is_some() {}
        let Settler { store, options, .. } = self.settler;
        if let Err(error) = release(&store, Some(&options.owner)).await {
            tracing::debug!(%error, "leases could not be ended; they run out by themselves");
        }
    }
}

/// SQLite has one daemon: leases that are found at its start are those of a dead one, and need not run out.
pub(super) async fn release_left_over(store: &Store) {
    if store.engine() != Engine::Sqlite {
        return;
    }
    match release(store, None).await {
        Ok(0) => {}
        Ok(rows) => tracing::info!(rows, "readings that the last run had begun are taken up again"),
        Err(error) => tracing::warn!(%error, "leases of the last run could not be ended; they run out by themselves"),
    }
}

async fn release(store: &Store, owner: Option<&str>) -> Result<u64, StoreError> {
    let mut tx = store.write().await?;
    let released = settlements::release(&mut tx, owner).await?;
    tx.commit().await?;
    Ok(released)
}

/// Reads one record and hands it to the ledger.
fn read(settler: &Settler, job: Job) -> impl Future<Output = Event> + Send + 'static {
    let (client, readings) = (settler.client.clone(), settler.readings.clone());
    let (metrics, clock) = (settler.metrics.clone(), settler.clock.clone());
    async move {
        let answer = client.generation(&job.generation_id, &job.key.secret).await;
        if let Err(error) = &answer {
            tracing::debug!(generation_id = %job.generation_id, %error, "no record yet");
        }
        let (for_key, reading) = judge(answer);
        metrics.read(&reading);
        let reading = ReadingOf { call_id: job.call_id, at: clock.now(), reading };
        let taken = readings.send(reading).await.is_ok();
        Event::Read { sha256: job.key.fingerprint.sha256, for_key, taken }
    }
}
