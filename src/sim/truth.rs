//! What was billed: written when the simulator bills, whether or not anybody hears of it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::behaviour::Behaviour;
use super::catalogue::{Model, Provider};
use super::endpoint::Endpoint;
use super::picos::Picos;
use crate::domain::ids::{GenerationId, KeyFingerprint};
use crate::domain::time::{DAY_MS, Timestamp};

/// Native tokens of one generation, the basis of its bill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// The prompt, cached tokens included.
    pub prompt: u32,
    /// The completion, reasoning included.
    pub completion: u32,
    /// Of the prompt, read from the provider's cache.
    pub cached: u32,
    /// Of the prompt, written to it.
    pub cache_write: u32,
    /// Of the completion, reasoning.
    pub reasoning: u32,
}

/// One try at a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Whose.
    pub provider: &'static Provider,
    /// For which model.
    pub model: &'static Model,
    /// Its HTTP status; 499: the client left.
    pub status: u16,
    /// How long it took.
    pub latency_ms: u32,
}

/// How a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As asked.
    Complete,
    /// The client left.
    Cancelled,
    /// The provider failed after the reply had begun.
    Failed,
}

/// One generation as billed.
#[derive(Clone, Debug)]
pub struct Billed {
    /// Its ID.
    pub id: GenerationId,
    /// The key that pays.
    pub key: KeyFingerprint,
    /// Where it was asked for.
    pub endpoint: Endpoint,
    /// The model asked for.
    pub requested: Box<str>,
    /// The model that answered.
    pub model: &'static Model,
    /// The provider that answered.
    pub provider: &'static Provider,
    /// What is charged to the account: the record's `total_cost`.
    pub cost: Picos,
    /// What the provider charges the caller's own account; `None` unless `is_byok`.
    pub upstream: Option<Picos>,
    /// What the provider's cache saved (negative: cost more).
    pub cache_discount: Option<Picos>,
    /// Whether the caller's own provider key was used.
    pub is_byok: bool,
    /// Whether it was streamed.
    pub streamed: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// Native tokens billed.
    pub tokens: Tokens,
    /// When the call came in.
    pub created_at: Timestamp,
    /// When it was billed.
    pub billed_at: Timestamp,
    /// Why it ended; `None`: cancelled.
    pub finish_reason: Option<Box<str>>,
    /// Time to the first token.
    pub latency_ms: u32,
    /// Time of the whole generation.
    pub generation_ms: u32,
    /// The tries at providers, the last one the one that answered.
    pub attempts: Vec<Attempt>,
    /// The request's `user`.
    pub user: Option<Box<str>>,
    /// The request's `session_id`.
    pub session: Option<Box<str>>,
    /// The generation whose cached response this is.
    pub cache_source: Option<GenerationId>,
}

impl Billed {
    /// What the generation costs its caller: charged by OpenRouter, and by the provider where the caller's own key was used.
    pub fn spend(&self) -> Picos {
        self.cost + self.upstream.unwrap_or_default()
    }

    /// Normalised tokens of prompt and completion: near the native counts, never the same tokenizer.
    pub fn normalised(&self) -> (u32, u32) {
        let near = |native: u32, per_mille: u64| u32::try_from(u64::from(native) * per_mille / 1000).unwrap_or(native);
        (near(self.tokens.prompt, 985), near(self.tokens.completion, 988))
    }
}

/// Sums over every generation billed, kept however many single ones are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Generations billed (some for nothing).
    pub generations: u64,
    /// Of them, cancelled.
    pub cancelled: u64,
    /// Charged to accounts by OpenRouter.
    pub charged: Picos,
    /// Charged by providers to callers' own accounts.
    pub upstream: Picos,
}

impl Totals {
    /// What all of it cost the callers.
    pub fn spend(self) -> Picos {
        self.charged + self.upstream
    }
}

/// What a reading of a generation record finds.
#[derive(Debug)]
pub(super) enum Reading {
    /// Not there, not yet there, or another key's: the wire does not tell which.
    NotFound,
    /// There, for the nth time (from 0) that somebody looks.
    Found { billed: Arc<Billed>, behaviour: Arc<Behaviour>, nth: u32 },
}

#[derive(Debug)]
struct Entry {
    billed: Arc<Billed>,
    /// On the clock's elapsed time; `None`: never.
    visible_at: Option<Duration>,
    behaviour: Arc<Behaviour>,
    readings: u32,
}

/// A key's bill of one UTC day.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DayBill {
    pub(super) charged: Picos,
    pub(super) upstream: Picos,
}

#[derive(Debug, Default)]
struct Books {
    entries: HashMap<GenerationId, Entry>,
    /// Oldest first; holds each ID of `entries` once.
    order: VecDeque<GenerationId>,
    totals: Totals,
    days: HashMap<String, BTreeMap<i64, DayBill>>,
}

/// The simulator's books. Cheap to clone; all clones are the same books.
#[derive(Clone, Debug)]
pub struct Truth {
    books: Arc<Mutex<Books>>,
    changed: Arc<Notify>,
    keep: usize,
}

impl Truth {
    /// Empty books that keep the newest `keep` generations singly.
    pub(super) fn new(keep: usize) -> Self {
        Self { books: Arc::default(), changed: Arc::default(), keep }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sums over everything ever billed.
    pub fn totals(&self) -> Totals {
        self.books().totals
    }

    /// What everything ever billed cost the callers: the sum of [`Billed::spend`].
    pub fn total(&self) -> Picos {
        self.totals().spend()
    }

    /// One generation, if it was billed and is still kept.
    pub fn get(&self, id: &str) -> Option<Arc<Billed>> {
        let id: GenerationId = id.parse().ok()?;
        self.books().entries.get(&id).map(|entry| entry.billed.clone())
    }

    /// The same with how it was to go.
    pub(super) fn find(&self, id: &str) -> Option<(Arc<Billed>, Arc<Behaviour>)> {
        let id: GenerationId = id.parse().ok()?;
        self.books().entries.get(&id).map(|entry| (entry.billed.clone(), entry.behaviour.clone()))
    }

    /// Every generation still kept, in the order of billing.
    pub fn all(&self) -> Vec<Arc<Billed>> {
        let books = self.books();
        books.order.iter().filter_map(|id| books.entries.get(id)).map(|entry| entry.billed.clone()).collect()
    }

    /// Waits until at least `generations` were billed.
    pub async fn wait_for(&self, generations: u64) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before looking, so that a bill between looking and waiting is not missed.
            changed.as_mut().enable();
            if self.totals().generations >= generations {
                return;
            }
            changed.await;
        }
    }

    pub(super) fn write(&self, billed: Billed, behaviour: Arc<Behaviour>, visible_at: Option<Duration>) {
        let mut guard = self.books();
        let books = &mut *guard;
        books.totals.generations += 1;
        books.totals.cancelled += u64::from(billed.outcome == Outcome::Cancelled);
        books.totals.charged += billed.cost;
        books.totals.upstream += billed.upstream.unwrap_or_default();
        let day = billed.billed_at.millis().div_euclid(DAY_MS);
        if !books.days.contains_key(&billed.key.sha256) {
            books.days.insert(billed.key.sha256.clone(), BTreeMap::new());
        }
        if let Some(days) = books.days.get_mut(&billed.key.sha256) {
            let bill = days.entry(day).or_default();
            bill.charged += billed.cost;
            bill.upstream += billed.upstream.unwrap_or_default();
        }
        while books.order.len() >= self.keep.max(1) {
            if let Some(oldest) = books.order.pop_front() {
                books.entries.remove(&oldest);
            }
        }
        let id = billed.id.clone();
        books.order.push_back(id.clone());
        books.entries.insert(id, Entry { billed: Arc::new(billed), visible_at, behaviour, readings: 0 });
        drop(guard);
        self.changed.notify_waiters();
    }

    pub(super) fn read(&self, id: &GenerationId, key: &KeyFingerprint, elapsed: Duration) -> Reading {
        let mut books = self.books();
        let Some(entry) = books.entries.get_mut(id) else { return Reading::NotFound };
        if entry.billed.key != *key || entry.visible_at.is_none_or(|at| elapsed < at) {
            return Reading::NotFound;
        }
        let nth = entry.readings;
        entry.readings = entry.readings.saturating_add(1);
        Reading::Found { billed: entry.billed.clone(), behaviour: entry.behaviour.clone(), nth }
    }

    /// A key's bill of the days since `first` (days since the epoch), and of all days.
    pub(super) fn since(&self, key: &KeyFingerprint, first: i64) -> DayBill {
        let books = self.books();
        let days = books.days.get(&key.sha256);
        days.into_iter().flat_map(|days| days.range(first..)).fold(DayBill::default(), |sum, (_, bill)| DayBill {
            charged: sum.charged + bill.charged,
            upstream: sum.upstream + bill.upstream,
        })
    }
}
