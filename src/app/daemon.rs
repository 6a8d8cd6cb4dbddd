//! A running daemon: everything that is configured, started in order and stopped in order.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::{Router, middleware};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::ledger::{OpenLedger, open};
use super::{StartError, named_keys};
use crate::alert::deliver::Deliverer;
use crate::budget::Book;
use crate::capture::keys::Keyring;
use crate::capture::recorder::Recorder;
use crate::clock::{Clock, Entropy};
use crate::config::Config;
use crate::import::Teller;
use crate::jobs::{self, Housekeeping, Upstream};
use crate::journal::Journal;
use crate::keys::TallyKeys;
use crate::ledger::{Ledger, Opened};
use crate::lock::OwnerLock;
use crate::mail::Mailer;
use crate::openrouter::{Client, Timeouts};
use crate::settle::{Settler, SettlerOptions};
use crate::shutdown::{Ending, Signals, Tasks};
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::web::access::{self, Tellers};
use crate::web::api::traces::{self, TracesState};
use crate::web::api::{self, ApiState};
use crate::web::dashboard::{self, DashboardState};
use crate::web::gateway::{Admit, Gateway, GatewaySetup};
use crate::web::guard::Guard;
use crate::web::serve::Site;

/// What a daemon takes from outside itself.
#[derive(Clone)]
pub struct Surroundings {
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
    /// What the configuration warns of, for the status page.
    pub warnings: Vec<String>,
}

/// A daemon that serves.
pub struct Daemon {
    address: SocketAddr,
    tasks: Tasks,
    clock: Clock,
    store: Store,
    journal: Journal,
    ledger: Ledger,
    book: Arc<Book>,
    tally_keys: Arc<TallyKeys>,
    is_loopback: bool,
    /// Given back when the daemon is gone.
    _lock: Option<OwnerLock>,
}

impl Daemon {
    /// Starts everything; when it returns, the port answers.
    ///
    /// Locks come first (a second daemon names the first and harms nothing), then the database, then the port: spend
    /// is known before the first call is admitted.
    pub async fn start(config: &Config, surroundings: Surroundings) -> Result<Self, StartError> {
        let Surroundings { clock, entropy, warnings } = surroundings;
        let metrics = super::metrics();
        let OpenLedger { store, opened, book, catalogue, lock } = open(config, &metrics, &clock, &entropy).await?;
        let listener = listen(config.listen).await?;
        let address = listener.local_addr().map_err(|error| StartError::Listen { address: config.listen, error })?;
        let Opened { writer, ledger, journal, watch } = opened;
        let tasks = Tasks::new();
        tasks.spawn_sink_thread("ledger writer", writer.run(tasks.drain_token()));
        tasks.spawn_sink("journal watch", watch.run());
        let tally_keys = Arc::new(super::tally_keys(config, &store, &clock, &entropy).await?);
        let keyring = Arc::new(Keyring::new(config.openrouter.keys.clone()));
        let client = client(config, &clock)?;
        settle(config, client.clone(), &tasks, &store, &ledger, &keyring, &metrics, &clock, &entropy);
        let housekeeping = Housekeeping {
            store: store.clone(),
            readings: ledger.readings(),
            tally_keys: Arc::clone(&tally_keys),
            metrics: metrics.clone(),
            clock: clock.clone(),
        };
        let upstream = Upstream {
            store: store.clone(),
            client,
            ledger: ledger.clone(),
            journal: journal.clone(),
            shelf: catalogue.clone(),
            keys: config.openrouter.keys.clone(),
            management_key: config.openrouter.management_key.clone(),
            clock: clock.clone(),
        };
        let table = housekeeping.jobs().into_iter().chain(upstream.jobs(&config.catalogue)).collect();
        let board = jobs::start(table, &tasks, &clock, &entropy);
        let management_key = super::management_key(config);
        deliver(config, address, &tasks, &store, &ledger, &metrics, &clock)?;
        let guard = Arc::new(Guard::new(address, config.allowed_hosts.clone(), config.admin_token.clone()));
        let recorder = Recorder::new(journal.clone(), metrics.clone());
        let gateway = Gateway::new(GatewaySetup {
            openrouter: config.openrouter.clone(),
            settings: config.gateway.clone(),
            on_ledger_failure: config.journal.on_ledger_failure,
            open: guard.is_loopback(),
            tally_keys: Arc::clone(&tally_keys),
            guard: Arc::clone(&guard),
            keyring: Arc::clone(&keyring),
            recorder: recorder.clone(),
            admit: admission(&book),
            clock: clock.clone(),
            entropy: entropy.clone(),
            tasks: tasks.clone(),
        })?;
        let api = ApiState {
            ledger: ledger.clone(),
            store: store.clone(),
            journal: journal.clone(),
            recorder: recorder.clone(),
            keys: Arc::new(named_keys(config)),
            tally_keys: Arc::clone(&tally_keys),
            catalogue: catalogue.clone(),
            management_key: management_key.clone(),
            imports: Arc::new(Semaphore::new(api::IMPORTS_AT_ONCE)),
            zone: config.time_zone,
            clock: clock.clone(),
            entropy: entropy.clone(),
            metrics,
        };
        let dashboard = DashboardState {
            store: store.clone(),
            ledger: ledger.clone(),
            journal: journal.clone(),
            recorder,
            on_ledger_failure: config.journal.on_ledger_failure,
            keyring,
            tally_keys: Arc::clone(&tally_keys),
            is_loopback: guard.is_loopback(),
            catalogue,
            reads_catalogue: config.catalogue.enabled,
            management_key,
            board,
            clock: clock.clone(),
            zone: config.time_zone,
            url: config.dashboard.url(address),
            address,
            upstream: config.openrouter.base_url.to_string(),
            database: config.database.to_string(),
            journal_dir: config.journal_dir.clone(),
            has_mail_server: config.smtp.url.is_some(),
            warnings: warnings.into(),
            started_at: clock.now(),
            stop: tasks.stop_token(),
            listeners: dashboard::listeners(),
        };
        let is_loopback = guard.is_loopback();
        let teller = Teller { clock: clock.clone(), entropy, keys: named_keys(config) };
        let traces = traces(config, &ledger, teller, &guard);
        let pages = pages(&guard, api, dashboard).merge(traces);
        Site { gateway, pages }.serve(listener, &config.gateway, clock.clone(), &tasks);
        Ok(Self { address, tasks, clock, store, journal, ledger, book, tally_keys, is_loopback, _lock: lock })
    }

    /// The address it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks it to end, as the first signal does.
    pub fn stop(&self) {
        self.tasks.stop();
    }

    /// Its tasks, for what is to live and end with it.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// The ledger's writer.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The journal.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// What budgets stand at.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// The tally keys.
    pub fn tally_keys(&self) -> &TallyKeys {
        &self.tally_keys
    }

    /// Whether a call without a key spends with the configured one.
    pub fn is_open(&self) -> bool {
        self.is_loopback && !self.tally_keys.were_made()
    }

    /// Runs until it is told to end, then ends it: calls first, then what writes.
    pub async fn run(self, mut signals: Signals) -> Ending {
        let ending = self.tasks.finish(&self.clock, &mut signals).await;
        if let Err(error) = self.tally_keys.note_uses().await {
            tracing::warn!(%error, "when tally keys were last used could not be noted; nothing else is lost");
        }
        self.store.close().await;
        ending
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| StartError::Listen { address, error })
}

/// What asks the budgets.
fn admission(book: &Arc<Book>) -> Arc<Admit> {
    let book = Arc::clone(book);
    Arc::new(move |call, now| book.admit(call, now))
}

/// What OpenRouter's Broadcast pushes to.
fn traces(config: &Config, ledger: &Ledger, teller: Teller, guard: &Arc<Guard>) -> Router {
    let state = TracesState::new(config.broadcast.clone(), ledger.clone(), teller, Arc::clone(guard));
    if state.is_off() {
        tracing::info!("/v1/traces takes nothing: set broadcast.token to let OpenRouter's Broadcast push to it");
    }
    traces::router(state)
}

#[expect(clippy::too_many_arguments, reason = "the composition root hands each part what it needs")]
fn settle(
    config: &Config,
    client: Client,
    tasks: &Tasks,
    store: &Store,
    ledger: &Ledger,
    keyring: &Arc<Keyring>,
    metrics: &Metrics,
    clock: &Clock,
    entropy: &Entropy,
) {
    let settler = Settler {
        store: store.clone(),
        client,
        keys: Arc::clone(keyring),
        readings: ledger.readings(),
        wakes: ledger.wakes(),
        metrics: metrics.clone(),
        clock: clock.clone(),
        options: SettlerOptions {
            owner: format!("{:032x}", entropy.next_u128()),
            concurrency: config.settle.concurrency,
            rate_per_second: config.settle.rate_per_second,
            timeout: config.settle.timeout,
        },
    };
    tasks.spawn("settler", settler.run(tasks.stop_token()));
}

fn client(config: &Config, clock: &Clock) -> Result<Client, StartError> {
    let timeouts = Timeouts { connect: config.openrouter.connect_timeout, reading: config.settle.timeout };
    Ok(Client::new(&config.openrouter.base_url, timeouts, clock.clone())?)
}

fn deliver(
    config: &Config,
    address: SocketAddr,
    tasks: &Tasks,
    store: &Store,
    ledger: &Ledger,
    metrics: &Metrics,
    clock: &Clock,
) -> Result<(), StartError> {
    let smtp = &config.smtp;
    let deliverer = Deliverer {
        store: store.clone(),
        dashboard_url: config.dashboard.url(address),
        domain: smtp.from.email.domain().to_owned(),
        mailer: Mailer::from_config(smtp, clock.clone())?,
        wakes: ledger.wakes(),
        metrics: metrics.clone(),
        clock: clock.clone(),
    };
    tasks.spawn("outbox", deliverer.run(tasks.stop_token()));
    Ok(())
}

/// Everything that is not the gateway.
fn pages(guard: &Arc<Guard>, api: ApiState, dashboard: DashboardState) -> Router {
    let guarded =
        |router: Router| router.layer(middleware::from_fn_with_state(Arc::clone(guard), access::require_admin));
    let metrics = api::metrics(api.clone())
        .layer(middleware::from_fn_with_state(Arc::clone(guard), access::require_admin_beyond_loopback));
    let tellers = Tellers { guard: Arc::clone(guard), keys: Arc::clone(&api.tally_keys) };
    let telling = api::telling(api.clone()).layer(middleware::from_fn_with_state(tellers, access::require_teller));
    guarded(dashboard::router(dashboard).merge(api::router(api.clone())))
        .merge(telling)
        .merge(dashboard::login::router(guard))
        .merge(dashboard::assets())
        .merge(metrics)
        .merge(api::operations(api))
}
