//! A running daemon: everything that is configured, started in order and stopped in order.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::{Router, middleware};
use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::ledger::{OpenLedger, open};
use super::{StartError, named_keys};
use crate::alert::deliver::{Channels, Deliverer};
use crate::alert::digest::Digests;
use crate::alert::post::Post;
use crate::alert::spikes::Lookout;
use crate::budget::keeper::Keeper;
use crate::budget::{Book, Denied, Reservation, Wish};
use crate::capture::keys::Keyring;
use crate::capture::recorder::Recorder;
use crate::catalogue::Shelf;
use crate::clock::{Clock, Entropy};
use crate::config::{Config, OnLedgerFailure};
use crate::definitions::{Definitions, Reload};
use crate::domain::scope::AdmissionSubject;
use crate::domain::snooze::{self, Signer};
use crate::domain::time::Timestamp;
use crate::import::Teller;
use crate::jobs::{self, Board, Housekeeping, Upstream, Watching};
use crate::journal::Journal;
use crate::keys::TallyKeys;
use crate::ledger::{Ledger, Opened};
use crate::lock::OwnerLock;
use crate::mail::Mailer;
use crate::openrouter::{Client, Timeouts};
use crate::report::replay::REPLAYS_AT_ONCE;
use crate::settle::{Settler, SettlerOptions};
use crate::shutdown::{Ending, Hangups, Signals, Tasks};
use crate::store::console::Console;
use crate::store::{self, Store, StoreError};
use crate::telemetry::Metrics;
use crate::web::access::{self, Tellers};
use crate::web::api::traces::{self, TracesState};
use crate::web::api::{self, ApiState};
use crate::web::dashboard::{self, DashboardState};
use crate::web::gateway::{Admission, Gateway, GatewaySetup};
use crate::web::guard::Guard;
use crate::web::serve::Site;
use crate::webhook::Webhooks;

/// What a daemon takes from outside itself.
#[derive(Clone)]
pub struct Surroundings {
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
    /// What the configuration warns of, for the status page.
    pub warnings: Vec<String>,
    /// How it is read anew; `None`: it is not.
    pub reload: Option<Arc<Reload>>,
    /// The program whose workers answer people's queries: a tallyd; `None`: this process answers them.
    pub program: Option<std::path::PathBuf>,
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
    catalogue: Shelf,
    tally_keys: Arc<TallyKeys>,
    definitions: Definitions,
    /// Draws shares of budgets; `None` where no other daemon spends them.
    keeper: Option<Arc<Keeper>>,
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
        let Surroundings { clock, entropy, warnings, reload, program } = surroundings;
        let metrics = super::metrics();
        let OpenLedger { store, opened, book, catalogue, lock } = open(config, &metrics, &clock, &entropy).await?;
        let listener = listen(config.listen).await?;
        let address = listener.local_addr().map_err(|error| StartError::Listen { address: config.listen, error })?;
        let Opened { writer, ledger, journal, watch } = opened;
        let tasks = Tasks::new();
        tasks.spawn_sink_thread("ledger writer", writer.run(tasks.drain_token()));
        tasks.spawn_sink("journal watch", watch.run());
        let keeper = keeper(&store, &book, &journal, &clock).await?;
        if let Some(keeper) = &keeper {
            tasks.spawn_sink("budget shares", Arc::clone(keeper).run(tasks.drain_token()));
        }
        let tally_keys = Arc::new(super::tally_keys(config, &store, &clock, &entropy).await?);
        let parts = Parts {
            config,
            address,
            tasks: &tasks,
            keyring: Arc::new(Keyring::new(config.openrouter.keys.clone())),
            recorder: Recorder::new(journal.clone(), metrics.clone()),
            guard: Arc::new(Guard::new(address, config.allowed_hosts.clone(), config.admin_token.clone())),
            client: client(config, &clock)?,
            store,
            ledger,
            journal,
            catalogue,
            tally_keys,
            metrics,
            console: super::console(config, program, &clock)?,
            clock,
            entropy,
        };
        parts.settle();
        let signer = parts.snooze_signer().await?;
        let channels = Channels {
            mailer: Mailer::from_config(&config.smtp, parts.clock.clone())?,
            webhooks: Webhooks::from_config(&config.webhooks, parts.clock.clone())?,
        };
        let post = Post { channels: channels.names().into(), wakes: parts.ledger.wakes() };
        let digests = parts.digests(&post);
        digests.announce().await?;
        let board = parts.jobs(&digests, &post);
        parts.deliver(channels, signer.clone());
        let gateway = parts.gateway(Arc::clone(&book))?;
        let definitions = parts.definitions(reload);
        let replays = Arc::new(Semaphore::new(REPLAYS_AT_ONCE));
        let api = parts.api(&definitions, &post, &replays);
        let shown = Shown { definitions: &definitions, board, signer, post, digests, replays, warnings };
        let pages = pages(&parts.guard, api, parts.dashboard(shown)).merge(parts.traces());
        Site { gateway, pages }.serve(listener, &config.gateway, parts.clock.clone(), &tasks);
        let Parts { clock, store, journal, ledger, catalogue, tally_keys, guard, .. } = parts;
        Ok(Self {
            address,
            tasks,
            clock,
            store,
            journal,
            ledger,
            book,
            catalogue,
            tally_keys,
            definitions,
            keeper,
            is_loopback: guard.is_loopback(),
            _lock: lock,
        })
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
    pub fn book(&self) -> &Arc<Book> {
        &self.book
    }

    /// The list of models by which calls are priced.
    pub fn catalogue(&self) -> &Shelf {
        &self.catalogue
    }

    /// The tally keys.
    pub fn tally_keys(&self) -> &TallyKeys {
        &self.tally_keys
    }

    /// The budgets, as people change them.
    pub fn definitions(&self) -> &Definitions {
        &self.definitions
    }

    /// Reads the configuration anew whenever `hangups` tells, until the daemon ends.
    pub fn reload_on(&self, mut hangups: Hangups) {
        let (definitions, stop) = (self.definitions.clone(), self.tasks.stop_token());
        self.tasks.spawn("reload", async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = hangups.next() => {}
                }
                match definitions.reload("SIGHUP").await {
                    Ok(reloaded) => {
                        for warning in &reloaded.warnings {
                            tracing::warn!("{warning}");
                        }
                    }
                    Err(error) => tracing::error!(%error, "SIGHUP: the configuration was not read anew"),
                }
            }
        });
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
        if let Some(keeper) = &self.keeper
            && let Err(error) = keeper.clear().await
        {
            tracing::debug!(%error, "shares of budgets were not given back; they lapse by themselves");
        }
        self.store.close().await;
        ending
    }
}

/// What draws shares of budgets; `None` where this daemon is the only one on its database.
async fn keeper(
    store: &Store,
    book: &Arc<Book>,
    journal: &Journal,
    clock: &Clock,
) -> Result<Option<Arc<Keeper>>, StartError> {
    if !store.is_shared() {
        return Ok(None);
    }
    let (store, book, clock) = (store.clone(), Arc::clone(book), clock.clone());
    let keeper = Keeper { store, book, daemon: journal.id().to_string(), clock };
    keeper.begin().await?;
    Ok(Some(Arc::new(keeper)))
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| StartError::Listen { address, error })
}

/// What asks the budgets, and the list that prices calls for them.
struct Budgets {
    book: Arc<Book>,
    catalogue: Shelf,
    clock: Clock,
}

impl Admission for Budgets {
    fn admit(&self, wish: &Wish<'_>, now: Timestamp) -> Result<Option<Reservation>, Denied> {
        self.book.admit_from_share(wish, &self.catalogue.load(), now, self.clock.elapsed())
    }

    fn draw<'a>(
        &'a self,
        wish: &'a Wish<'a>,
        on_ledger_failure: OnLedgerFailure,
    ) -> BoxFuture<'a, Result<Option<Reservation>, Denied>> {
        Box::pin(async move {
            let catalogue = self.catalogue.load();
            match self.book.draw(wish, &catalogue, &self.clock).await {
                // What is known here is what there is to go by.
                Err(Denied::CutOff) if on_ledger_failure == OnLedgerFailure::Forward => {
                    self.book.admit(wish, &catalogue, self.clock.now()).map_err(Denied::Exceeded)
                }
                drawn => drawn,
            }
        })
    }

    fn on_ledger_failure(&self, call: &AdmissionSubject<'_>) -> Option<OnLedgerFailure> {
        self.book.on_ledger_failure(call)
    }
}

fn client(config: &Config, clock: &Clock) -> Result<Client, StartError> {
    let timeouts = Timeouts { connect: config.openrouter.connect_timeout, reading: config.settle.timeout };
    Ok(Client::new(&config.openrouter.base_url, timeouts, clock.clone())?)
}

/// What the parts of a daemon are made of: each takes of it what it needs.
struct Parts<'a> {
    config: &'a Config,
    address: SocketAddr,
    tasks: &'a Tasks,
    keyring: Arc<Keyring>,
    recorder: Recorder,
    guard: Arc<Guard>,
    client: Client,
    store: Store,
    ledger: Ledger,
    journal: Journal,
    catalogue: Shelf,
    tally_keys: Arc<TallyKeys>,
    metrics: Metrics,
    console: Console,
    clock: Clock,
    entropy: Entropy,
}

/// What pages show beside what all parts share.
struct Shown<'a> {
    definitions: &'a Definitions,
    board: Board,
    signer: Signer,
    post: Post,
    digests: Digests,
    replays: Arc<Semaphore>,
    warnings: Vec<String>,
}

impl Parts<'_> {
    fn settle(&self) {
        let settler = Settler {
            store: self.store.clone(),
            client: self.client.clone(),
            keys: Arc::clone(&self.keyring),
            readings: self.ledger.readings(),
            wakes: self.ledger.wakes(),
            metrics: self.metrics.clone(),
            clock: self.clock.clone(),
            options: SettlerOptions {
                owner: format!("{:032x}", self.entropy.next_u128()),
                concurrency: self.config.settle.concurrency,
                rate_per_second: self.config.settle.rate_per_second,
                timeout: self.config.settle.timeout,
            },
        };
        self.tasks.spawn("settler", settler.run(self.tasks.stop_token()));
    }

    /// What signs the links that silence a budget: the same for every daemon on the database, and after every start.
    async fn snooze_signer(&self) -> Result<Signer, StoreError> {
        let fresh = format!("{:032x}{:032x}", self.entropy.next_u128(), self.entropy.next_u128());
        let mut tx = self.store.write().await?;
        let key = store::signing::key(&mut tx, snooze::PURPOSE, &fresh, self.clock.now()).await?;
        tx.commit().await?;
        Ok(Signer::new(key))
    }

    fn deliver(&self, channels: Channels, signer: Signer) {
        let deliverer = Deliverer {
            store: self.store.clone(),
            dashboard_url: self.dashboard_url(),
            domain: self.mail_domain(),
            channels,
            signer,
            wakes: self.ledger.wakes(),
            metrics: self.metrics.clone(),
            clock: self.clock.clone(),
        };
        self.tasks.spawn("outbox", deliverer.run(self.tasks.stop_token()));
    }

    fn digests(&self, post: &Post) -> Digests {
        Digests {
            store: self.store.clone(),
            clock: self.clock.clone(),
            reports: self.config.reports.clone().into(),
            dashboard_url: self.dashboard_url(),
            domain: self.mail_domain(),
            channels: Arc::clone(&post.channels),
            wakes: self.ledger.wakes(),
        }
    }

    /// What runs every so often.
    fn jobs(&self, digests: &Digests, post: &Post) -> Board {
        let housekeeping = Housekeeping {
            digests: digests.clone(),
            retention: self.config.retention,
            store: self.store.clone(),
            readings: self.ledger.readings(),
            tally_keys: Arc::clone(&self.tally_keys),
            metrics: self.metrics.clone(),
            clock: self.clock.clone(),
        };
        let upstream = Upstream {
            store: self.store.clone(),
            client: self.client.clone(),
            ledger: self.ledger.clone(),
            journal: self.journal.clone(),
            shelf: self.catalogue.clone(),
            keys: self.config.openrouter.keys.clone(),
            management_key: self.config.openrouter.management_key.clone(),
            clock: self.clock.clone(),
        };
        let table = housekeeping.jobs().into_iter().chain(upstream.jobs(&self.config.catalogue));
        let table = table.chain(self.watching(post).map(|watching| watching.job())).collect();
        jobs::start(table, self.tasks, &self.clock, &self.entropy)
    }

    /// What looks for unusual spend; `None` where that is switched off.
    fn watching(&self, post: &Post) -> Option<Watching> {
        let spikes = &self.config.spikes;
        let lookout = Lookout {
            store: self.store.clone(),
            rule: spikes.rule,
            notify: spikes.notify.clone(),
            zone: self.config.time_zone,
            dashboard_url: self.dashboard_url(),
            domain: self.mail_domain(),
            channels: Arc::clone(&post.channels),
            clock: self.clock.clone(),
        };
        spikes.watch.then(|| Watching { lookout, wakes: self.ledger.wakes() })
    }

    fn gateway(&self, book: Arc<Book>) -> Result<Gateway, StartError> {
        Ok(Gateway::new(GatewaySetup {
            openrouter: self.config.openrouter.clone(),
            settings: self.config.gateway.clone(),
            on_ledger_failure: self.config.journal.on_ledger_failure,
            open: self.guard.is_loopback(),
            tally_keys: Arc::clone(&self.tally_keys),
            guard: Arc::clone(&self.guard),
            keyring: Arc::clone(&self.keyring),
            recorder: self.recorder.clone(),
            admission: Arc::new(Budgets { book, catalogue: self.catalogue.clone(), clock: self.clock.clone() }),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            tasks: self.tasks.clone(),
        })?)
    }

    fn definitions(&self, reload: Option<Arc<Reload>>) -> Definitions {
        Definitions {
            ledger: self.ledger.clone(),
            store: self.store.clone(),
            zone: self.config.time_zone,
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            open: self.guard.is_open(),
            webhooks: self.config.webhooks.keys().cloned().collect(),
            reload,
        }
    }

    fn api(&self, definitions: &Definitions, post: &Post, replays: &Arc<Semaphore>) -> ApiState {
        ApiState {
            ledger: self.ledger.clone(),
            store: self.store.clone(),
            journal: self.journal.clone(),
            recorder: self.recorder.clone(),
            keys: Arc::new(named_keys(self.config)),
            definitions: definitions.clone(),
            tally_keys: Arc::clone(&self.tally_keys),
            catalogue: self.catalogue.clone(),
            post: post.clone(),
            management_key: super::management_key(self.config),
            imports: Arc::new(Semaphore::new(api::IMPORTS_AT_ONCE)),
            exports: Arc::new(Semaphore::new(api::EXPORTS_AT_ONCE)),
            replays: Arc::clone(replays),
            console: self.console.clone(),
            zone: self.config.time_zone,
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            metrics: self.metrics.clone(),
        }
    }

    fn dashboard(&self, shown: Shown<'_>) -> DashboardState {
        let Shown { definitions, board, signer, post, digests, replays, warnings } = shown;
        DashboardState {
            store: self.store.clone(),
            ledger: self.ledger.clone(),
            journal: self.journal.clone(),
            recorder: self.recorder.clone(),
            on_ledger_failure: self.config.journal.on_ledger_failure,
            keyring: Arc::clone(&self.keyring),
            definitions: definitions.clone(),
            tally_keys: Arc::clone(&self.tally_keys),
            is_loopback: self.guard.is_loopback(),
            catalogue: self.catalogue.clone(),
            reads_catalogue: self.config.catalogue.enabled,
            management_key: super::management_key(self.config),
            board,
            signer,
            post,
            digests,
            clock: self.clock.clone(),
            zone: self.config.time_zone,
            url: self.dashboard_url(),
            address: self.address,
            upstream: self.config.openrouter.base_url.to_string(),
            database: self.config.database.to_string(),
            journal_dir: self.config.journal_dir.clone(),
            has_mail_server: self.config.smtp.url.is_some(),
            warnings: warnings.into(),
            started_at: self.clock.now(),
            stop: self.tasks.stop_token(),
            replays,
            console: self.console.clone(),
            listeners: dashboard::listeners(),
        }
    }

    /// What OpenRouter's Broadcast pushes to.
    fn traces(&self) -> Router {
        let teller = Teller { clock: self.clock.clone(), entropy: self.entropy.clone(), keys: named_keys(self.config) };
        let broadcast = self.config.broadcast.clone();
        let state = TracesState::new(broadcast, self.ledger.clone(), teller, Arc::clone(&self.guard));
        if state.is_off() {
            tracing::info!("/v1/traces takes nothing: set broadcast.token to let OpenRouter's Broadcast push to it");
        }
        traces::router(state)
    }

    fn dashboard_url(&self) -> String {
        self.config.dashboard.url(self.address)
    }

    /// The right-hand side of Message-IDs.
    fn mail_domain(&self) -> String {
        self.config.smtp.from.email.domain().to_owned()
    }
}

/// Everything that is not the gateway.
fn pages(guard: &Arc<Guard>, api: ApiState, dashboard: DashboardState) -> Router {
    let guarded =
        |router: Router| router.layer(middleware::from_fn_with_state(Arc::clone(guard), access::require_admin));
    let metrics = api::metrics(api.clone())
        .layer(middleware::from_fn_with_state(Arc::clone(guard), access::require_admin_beyond_loopback));
    let tellers = Tellers { guard: Arc::clone(guard), keys: Arc::clone(&api.tally_keys) };
    let telling = api::telling(api.clone()).layer(middleware::from_fn_with_state(tellers, access::require_teller));
    let snooze = dashboard::snooze::router(dashboard.clone(), guard);
    guarded(dashboard::router(dashboard).merge(api::router(api.clone())))
        .merge(telling)
        .merge(snooze)
        .merge(dashboard::login::router(guard))
        .merge(dashboard::assets())
        .merge(metrics)
        .merge(api::operations(api))
}
