//! A simulated OpenRouter: an HTTP server that speaks the wire's real forms, bills with code of its own and keeps the truth.
//!
//! It is what `tallyd demo` and the tests talk to in OpenRouter's place. It imports nothing of the ledger but IDs, instants and
//! the clock: prices ([`catalogue`]), amounts ([`picos`]) and bills are its own, so that comparing the ledger with
//! [`Simulator::truth`] compares two independent computations.
//!
//! **Endpoints**, below `/api/v1`: `POST` `chat/completions`, `completions`, `responses`, `messages` (streamed or not),
//! `embeddings`, `rerank`, `images`, `audio/transcriptions`, `audio/speech`, `videos`, and the first four again below
//! `presets/{slug}/`; `GET` `generation?id=`, `key`, `credits`, `models`, `videos/{job}`.
//!
//! **Billing.** A generation is billed when it ends, not when its reply arrives: complete, at the first event after the
//! content; not streamed, before the head. When the client leaves a stream, providers that can be stopped bill the tokens
//! generated until that was noticed, the piece being made included; the others, and calls that are not streamed, are billed
//! in full (streaming guide, "Stream cancellation"). What ends in an error is not billed unless asked for. A line cut on
//! OpenRouter's side does not stop the provider: billed in full. A call reset or left hanging before its head is billed too.
//!
//! **Records** become readable after a lag, and only to the key that made them; for any other they are 404, as on the wire.
//!
//! **Behaviours** ([`behaviour`]) bend single calls: in the request header `X-Sim: key=value;…`, as a default, by chance, or by
//! a script of the next calls. Every fault that the wire is known for has a key there.

mod apps;
mod arrivals;
pub mod behaviour;
mod bill;
mod cache;
pub mod catalogue;
mod connection;
mod delivery;
mod dice;
mod encode;
pub mod endpoint;
pub mod exchange;
mod inference;
pub mod live;
mod meter;
pub mod picos;
mod plan;
mod server;
pub mod traffic;
pub mod truth;
mod wire;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::behaviour::{Behaviour, BehaviourError};
use self::cache::ResponseCache;
use self::dice::Dice;
use self::exchange::{Exchange, Exchanges};
use self::picos::{PICOS_PER_DOLLAR, Picos};
use self::plan::Account;
use self::truth::Truth;
use crate::clock::{Clock, Entropy};
use crate::domain::ids::KeyFingerprint;

/// Most keys remembered when any key is taken.
const MAX_ACCOUNTS: usize = 10_000;

/// Generations kept singly unless told otherwise.
const KEEP_GENERATIONS: usize = 1_000_000;

/// What starts every OpenRouter key.
const KEY_PREFIX: &str = "sk-or-v1-";

/// A key that the simulator knows.
#[derive(Clone, Debug)]
pub struct SimKey {
    /// The key itself.
    pub key: String,
    /// Calls made with it use the caller's own provider keys.
    pub byok: bool,
    /// Most that may be charged to it in a UTC month.
    pub limit: Option<Picos>,
    /// It was switched off: 401.
    pub disabled: bool,
    /// It is a management key: no inference, but true credits.
    pub management: bool,
}

impl SimKey {
    /// A plain key.
    pub fn new(key: impl Into<String>) -> Self {
        Self { key: key.into(), byok: false, limit: None, disabled: false, management: false }
    }
}

/// Which calls a chance or a script concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Calls to inference endpoints.
    Inference,
    /// Readings of generation records: `status`, `form`, `retry_after`, `head_ms`, `hang=head`, `reset`, `garbage_reads=1`.
    Generation,
    /// The list of models; same keys.
    Models,
    /// Everything else; same keys.
    Account,
}

/// A behaviour that some calls get by chance.
#[derive(Clone, Debug)]
pub struct Chance {
    /// Which calls.
    pub target: Target,
    /// How many of them, 0 to 1.
    pub share: f64,
    /// What happens to them.
    pub behaviour: String,
}

/// How a simulator is to be.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Keys with properties of their own.
    pub keys: Vec<SimKey>,
    /// Whether every other `sk-or-v1-…` is a good key too.
    pub any_key: bool,
    /// Milliseconds from billing to a readable record; cancelled calls take twice that.
    pub lag_ms: RangeInclusive<u64>,
    /// 0: replies come at once. 1: at the pace of the real provider; 0.5: twice as fast.
    pub pace: f64,
    /// Of every inference call.
    pub behaviour: String,
    /// Of some calls.
    pub chances: Vec<Chance>,
    /// Generations kept singly in the truth, the newest; sums are of all.
    pub keep_generations: usize,
    /// Requests kept for [`Simulator::exchanges`], the newest.
    pub keep_exchanges: usize,
    /// Credits that the account ever bought.
    pub credits: Picos,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            keys: Vec::new(),
            any_key: true,
            lag_ms: 0..=0,
            pace: 0.0,
            behaviour: String::new(),
            chances: Vec::new(),
            keep_generations: KEEP_GENERATIONS,
            keep_exchanges: 0,
            credits: Picos(1000 * PICOS_PER_DOLLAR),
        }
    }
}

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// Its address could not be taken.
    #[error("the simulated OpenRouter cannot listen on {address}: {source}; port 0 takes a free one")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A behaviour in the configuration is none.
    #[error(transparent)]
    Behaviour(#[from] BehaviourError),
}

/// What the list of models says other than the models on sale.
#[derive(Debug, Default)]
struct PriceList {
    /// Prices by model and name; `None`: not listed.
    changed: HashMap<String, BTreeMap<String, Option<String>>>,
    hidden: HashSet<String>,
    /// Models on a page; 0: all.
    page: usize,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    clock: Clock,
    entropy: Entropy,
    truth: Truth,
    config: SimConfig,
    behaviour: Arc<Behaviour>,
    nothing_special: Arc<Behaviour>,
    base_url: String,
    accounts: RwLock<HashMap<String, Arc<Account>>>,
    scripts: Mutex<VecDeque<(Target, String)>>,
    /// Length of `scripts`, so that calls without a script need no lock.
    scripted: AtomicUsize,
    exchanges: Exchanges,
    cache: ResponseCache,
    list: RwLock<PriceList>,
    calls: AtomicU64,
    readings: AtomicU64,
    in_flight: AtomicUsize,
    stop: CancellationToken,
    /// Its own, not the daemon's: a simulator can be stopped while the daemon that calls it goes on.
    tasks: TaskTracker,
}

impl Shared {
    fn dice(&self) -> Dice {
        Dice::new(self.entropy.next_u64())
    }

    /// How a call is to go.
    fn behaviour(&self, target: Target, asked: Option<&str>) -> Result<Arc<Behaviour>, BehaviourError> {
        let base = if target == Target::Inference { &self.behaviour } else { &self.nothing_special };
        let mut behaviour = base.clone();
        for chance in self.config.chances.iter().filter(|chance| chance.target == target) {
            if self.entropy.fraction() < chance.share {
                Arc::make_mut(&mut behaviour).apply(&chance.behaviour)?;
            }
        }
        if self.scripted.load(Ordering::Acquire) > 0 {
            let mut scripts = self.scripts.lock().unwrap_or_else(PoisonError::into_inner);
            let next = scripts.iter().position(|(of, _)| *of == target);
            let next = next.and_then(|at| scripts.remove(at));
            self.scripted.store(scripts.len(), Ordering::Release);
            drop(scripts);
            if let Some((_, text)) = next {
                Arc::make_mut(&mut behaviour).apply(&text)?;
            }
        }
        if let Some(asked) = asked {
            Arc::make_mut(&mut behaviour).apply(asked)?;
        }
        Ok(behaviour)
    }

    /// Time from billing to a readable record.
    fn lag(&self, behaviour: &Behaviour, cancelled: bool) -> Duration {
        let ms = behaviour.lag_ms.unwrap_or_else(|| {
            let (from, to) = (*self.config.lag_ms.start(), *self.config.lag_ms.end());
            let drawn = if to > from { from + self.dice().below(to - from + 1) } else { from };
            if cancelled { drawn * 2 } else { drawn }
        });
        Duration::from_millis(ms)
    }

    /// The account of `key`; `None` if it is no good.
    fn account(&self, key: &str) -> Option<Arc<Account>> {
        let known = self.accounts.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        if let Some(account) = known {
            return (!account.disabled).then_some(account);
        }
        if !self.config.any_key || !key.starts_with(KEY_PREFIX) || key.len() == KEY_PREFIX.len() {
            return None;
        }
        let account = Arc::new(account(&SimKey::new(key)));
        let mut accounts = self.accounts.write().unwrap_or_else(PoisonError::into_inner);
        if accounts.len() < MAX_ACCOUNTS {
            accounts.insert(key.to_owned(), account.clone());
        }
        Some(account)
    }
}

fn account(key: &SimKey) -> Account {
    let fingerprint = KeyFingerprint::of(&key.key);
    let label = format!("{KEY_PREFIX}{}...{}", &fingerprint.sha256[..3], fingerprint.tail);
    Account {
        key: fingerprint,
        label,
        byok: key.byok,
        limit: key.limit,
        disabled: key.disabled,
        management: key.management,
    }
}

/// A running simulated OpenRouter; dropping it closes its port and every connection.
#[derive(Debug)]
pub struct Simulator {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl Simulator {
    /// Starts one; it is reachable when this returns.
    pub async fn start(config: SimConfig, clock: Clock, entropy: Entropy) -> Result<Self, SimError> {
        let behaviour: Behaviour = config.behaviour.parse()?;
        for chance in &config.chances {
            chance.behaviour.parse::<Behaviour>()?;
        }
        let listen = |source| SimError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let accounts = config.keys.iter().map(|key| (key.key.clone(), Arc::new(account(key)))).collect();
        let shared = Arc::new(Shared {
            clock,
            entropy,
            truth: Truth::new(config.keep_generations),
            behaviour: Arc::new(behaviour),
            nothing_special: Arc::default(),
            base_url: format!("http://{address}/api/v1"),
            accounts: RwLock::new(accounts),
            scripts: Mutex::default(),
            scripted: AtomicUsize::new(0),
            exchanges: Exchanges::new(config.keep_exchanges),
            cache: ResponseCache::default(),
            list: RwLock::default(),
            calls: AtomicU64::new(0),
            readings: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            config,
        });
        shared.tasks.spawn(server::accept(listener, shared.clone()));
        Ok(Self { shared, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to use in place of `https://openrouter.ai/api/v1`.
    pub fn base_url(&self) -> &str {
        &self.shared.base_url
    }

    /// What it billed.
    pub fn truth(&self) -> &Truth {
        &self.shared.truth
    }

    /// Queues a behaviour for the next call of that kind; several are used up in order.
    pub fn script(&self, target: Target, behaviour: &str) -> Result<(), BehaviourError> {
        behaviour.parse::<Behaviour>()?;
        let mut scripts = self.shared.scripts.lock().unwrap_or_else(PoisonError::into_inner);
        scripts.push_back((target, behaviour.to_owned()));
        self.shared.scripted.store(scripts.len(), Ordering::Release);
        Ok(())
    }

    /// Lists another price of a model from now on (`prompt`, `completion`, `discount`…); `None` no more. What is billed
    /// stays what it was: a list price is not the bill.
    pub fn set_price(&self, model: &str, name: &str, price: Option<&str>) {
        let mut list = self.shared.list.write().unwrap_or_else(PoisonError::into_inner);
        let changed = list.changed.entry(model.to_owned()).or_default();
        changed.insert(name.to_owned(), price.map(str::to_owned));
    }

    /// Whether a model is listed from now on; what is not can be called all the same.
    pub fn set_listed(&self, model: &str, listed: bool) {
        let mut list = self.shared.list.write().unwrap_or_else(PoisonError::into_inner);
        if listed {
            list.hidden.remove(model);
        } else {
            list.hidden.insert(model.to_owned());
        }
    }

    /// Lists so many models on a page from now on; 0: all on one.
    pub fn set_models_a_page(&self, models: usize) {
        self.shared.list.write().unwrap_or_else(PoisonError::into_inner).page = models;
    }

    /// The newest requests, oldest first, as far as `keep_exchanges` goes.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.shared.exchanges.all()
    }

    /// Inference calls that came in, whatever became of them.
    pub fn calls(&self) -> u64 {
        self.shared.calls.load(Ordering::Relaxed)
    }

    /// Readings of generation records that came in.
    pub fn readings(&self) -> u64 {
        self.shared.readings.load(Ordering::Relaxed)
    }

    /// Generations that are running or whose reply is not yet out.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::Relaxed)
    }

    /// Closes the port and every connection, and waits until that is done.
    pub async fn stop(self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}
