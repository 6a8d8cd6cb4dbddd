//! A mailer on a real database and a scripted mail server, with a clock that the test steps.
//!
//! The test stands in for the ledger's writer: it writes budgets, rows and crossings, and wakes the mailer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tallyd::alert::deliver::{Channels, Deliverer};
use tallyd::alert::post::{Post, Resent};
use tallyd::clock::{Clock, Entropy};
use tallyd::config::{Config, Sources};
use tallyd::domain::alert::CrossingKind;
use tallyd::domain::attribution::{Attribution, KeyRef};
use tallyd::domain::budget::{Budget, BudgetSpec, Origin};
use tallyd::domain::call::Call;
use tallyd::domain::facts::Facts;
use tallyd::domain::forecast::{Basis, Outlook, Reach};
use tallyd::domain::money::{Money, Total};
use tallyd::domain::observation::{Ending, Head, Outcome, Sent};
use tallyd::domain::rollup::Deltas;
use tallyd::domain::snooze::Signer;
use tallyd::domain::time::{DAY_MS, Timestamp};
use tallyd::ledger::Wakes;
use tallyd::mail::{Mailer, Server};
use tallyd::store::alerts::Alert;
use tallyd::store::budgets::SpendDelta;
use tallyd::store::forecasts::StoredForecast;
use tallyd::store::outbox::{Message, MessageState};
use tallyd::store::{Store, StoreOptions, alerts, budgets, calls, forecasts, outbox, rollups};
use tallyd::telemetry::Metrics;
use tallyd::webhook::Webhooks;
use tokio_util::sync::CancellationToken;

use crate::support::smtp;

/// Thu 19 Nov 2026, 11:47 in Berlin.
pub const START: Timestamp = Timestamp(1_795_085_220_000);

/// How long the mailer waits for the mail server.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// How far the clock is stepped at once: no more than crossings are gathered, and less than any wait for the server.
const STEP: Duration = Duration::from_secs(5);

/// Looks at the outbox before the clock is stepped.
const LOOKS_A_STEP: u64 = 20;

/// Longest real time a test waits for something that should come.
const PATIENCE: Duration = Duration::from_mins(1);

#[expect(clippy::disallowed_methods, reason = "a test's own deadline runs on the system's clock")]
pub async fn soon<F: Future>(work: F) -> F::Output {
    tokio::time::timeout(PATIENCE, work).await.expect("it did not come in time")
}

/// Waits until `condition` holds.
pub async fn when(condition: impl Fn() -> bool) {
    let clock = Clock::system();
    soon(async {
        while !condition() {
            clock.sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// What a configuration in `file` alone is read from.
pub fn sources(file: &Path) -> Sources {
    let mut sources = Sources::bare(file.parent().unwrap());
    sources.flags.config = Some(file.to_owned());
    sources.env.insert("HOME".to_owned(), file.parent().unwrap().display().to_string());
    sources
}

pub fn budget(name: &str, notify: &[&str]) -> Budget {
    let spec = serde_json::json!({
        "name": name, "window": "month", "time_zone": "Europe/Berlin", "limit_usd": "300.00", "notify": notify,
        "scope": { "app": name },
    });
    serde_json::from_value::<BudgetSpec>(spec).unwrap().into_budget(Origin::File, chrono_tz::Tz::UTC).unwrap()
}

/// The webhooks of a configuration of these lines alone.
pub fn webhooks(text: &str, folder: &Path, clock: &Clock) -> Webhooks {
    let path = folder.join("webhooks.toml");
    std::fs::write(&path, text).unwrap();
    let config = Config::load(&sources(&path)).unwrap().config;
    Webhooks::from_config(&config.webhooks, clock.clone()).unwrap()
}

pub struct Scene {
    pub clock: Clock,
    pub store: Store,
    pub server: smtp::Server,
    pub stop: CancellationToken,
    wakes: Arc<Wakes>,
    entropy: Entropy,
    webhooks: Webhooks,
    folder: tempfile::TempDir,
}

impl Scene {
    /// A database with these budgets in force, and a mail server that takes everything.
    pub async fn new(in_force: &[Budget]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("tallyd.db").display());
        let store = Store::open(&StoreOptions::new(url)).await.unwrap();
        let mut tx = store.write().await.unwrap();
        budgets::sync(&mut tx, in_force, START).await.unwrap();
        tx.commit().await.unwrap();
        Self {
            clock: Clock::manual(START),
            store,
            server: smtp::Server::plain().await,
            stop: CancellationToken::new(),
            wakes: Arc::default(),
            entropy: Entropy::seeded(7),
            webhooks: webhooks("", folder.path(), &Clock::system()),
            folder,
        }
    }

    /// Configures these `[webhooks.NAME]`.
    pub fn configure_webhooks(&mut self, text: &str) {
        self.webhooks = webhooks(text, self.folder.path(), &self.clock);
    }

    /// Starts a mailer that speaks to the server; awaiting what is returned waits for its end.
    pub fn deliver(&self) -> tokio::task::JoinHandle<()> {
        self.deliver_to(&format!("smtp://127.0.0.1:{}", self.server.port()), None)
    }

    /// Starts a mailer that speaks to the server at `url`, and trusts this authority besides.
    pub fn deliver_to(&self, url: &str, authority: Option<&str>) -> tokio::task::JoinHandle<()> {
        let server = Server::from_url(url, authority.map(str::as_bytes)).unwrap();
        let from = "tallyd <tallyd@example.com>".parse().unwrap();
        self.run(Some(Mailer::new(server, from, TIMEOUT, self.clock.clone())))
    }

    /// Starts a mailer without `[smtp]`.
    pub fn deliver_nowhere(&self) -> tokio::task::JoinHandle<()> {
        self.run(None)
    }

    #[expect(clippy::disallowed_methods, reason = "what a test spawns ends with its runtime")]
    fn run(&self, mailer: Option<Mailer>) -> tokio::task::JoinHandle<()> {
        let deliverer = Deliverer {
            store: self.store.clone(),
            dashboard_url: "http://127.0.0.1:7117".to_owned(),
            domain: "example.com".to_owned(),
            channels: Channels { mailer, webhooks: self.webhooks.clone() },
            signer: Signer::new("k".repeat(64)),
            wakes: Arc::clone(&self.wakes),
            metrics: Metrics::new(Registry::default()),
            clock: self.clock.clone(),
        };
        tokio::spawn(deliverer.run(self.stop.clone()))
    }

    /// Sends again what was given up, as the page and the API do.
    pub async fn resend(&self, message_id: &str) -> Resent {
        let post = Post { channels: ["mail".to_owned()].into(), wakes: Arc::clone(&self.wakes) };
        post.resend(&self.store, &self.clock, message_id).await.unwrap()
    }

    /// Ends the mailer and makes ready for another.
    pub async fn end(&mut self, running: tokio::task::JoinHandle<()>) {
        self.stop.cancel();
        soon(running).await.unwrap();
        self.stop = CancellationToken::new();
    }

    /// Writes that `budget` reached `threshold` now, with this much spent, and wakes the mailer as the ledger does.
    pub async fn cross(&self, budget: &Budget, threshold: &str, spent: &str) {
        let now = self.clock.now();
        let window = budget.window_at(now);
        let alert = Alert {
            alert_id: format!("{}-{threshold}-{}", budget.name, now.millis()),
            budget: budget.name.clone(),
            value: "".into(),
            window_key: window.start,
            window_start: window.start,
            window_end: window.end,
            threshold: threshold.parse().unwrap(),
            kind: CrossingKind::Crossed.as_str().to_owned(),
            crossed_at: now,
            limit: budget.limit,
            spent: Money::parse(spent).unwrap().into(),
        };
        let mut tx = self.store.write().await.unwrap();
        assert!(alerts::insert(&mut tx, &alert, &budget.notify).await.unwrap());
        tx.commit().await.unwrap();
        self.wakes.outbox.notify_one();
    }

    /// Counts spend in the budget's counters, as the ledger does beside the rows.
    pub async fn count(&self, budget: &Budget, spent: &str, at: &str) {
        let cost_picos = Money::parse(spent).unwrap().picos();
        let bucket = Timestamp::parse(at).unwrap().bucket();
        let (budget, value) = (budget.name.clone(), "".into());
        let delta = SpendDelta { budget, value, bucket, cost_picos, inline_picos: 0, unknown: 0 };
        let mut tx = self.store.write().await.unwrap();
        budgets::add_spend(&mut tx, &[delta]).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Keeps a forecast of $389 that reaches the limit at `likely`, as the ledger does at each step.
    pub async fn foresee(&self, budget: &Budget, likely: &str) {
        let at = self.clock.now().bucket();
        let usd = |usd| Total::from(Money::from_usd(usd).unwrap());
        let likely = Timestamp::parse(likely).unwrap();
        let reach = Reach { early: likely, likely: Some(likely), late: Some(likely.plus_millis(DAY_MS)) };
        let outlook = Outlook {
            at,
            basis: Basis::Profile { weeks: 8 },
            projected: usd(389),
            low: usd(376),
            high: usd(402),
            reaches_limit: Some(reach),
        };
        let window_start = budget.window_at(at).start;
        let kept = StoredForecast { window_start, as_of: at, signals: Vec::new(), outlook: Ok(outlook) };
        let mut tx = self.store.write().await.unwrap();
        forecasts::save(&mut tx, &budget.name, &kept).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// A completion that `app` was answered at `at`.
    pub async fn call(&self, app: &str, model: &str, cost: &str, at: &str) {
        let at = Timestamp::parse(at).unwrap();
        let call_id = self.entropy.call_id(at);
        let attribution = Attribution { app: Some(app.to_owned()), ..Attribution::default() };
        let mut call = Call::sent(
            &Sent {
                call_id,
                at,
                endpoint: "chat/completions".to_owned(),
                key: KeyRef { name: "default".to_owned(), fingerprint: None },
                tally_key: None,
                attribution,
                requested_model: Some(model.to_owned()),
                models: Vec::new(),
                routing: None,
                streamed: Some(false),
                flags: Vec::new(),
                estimate: None,
            },
            "journal",
        );
        let generation_id = Some(format!("gen-{call_id}").parse().unwrap());
        call.head(&Head { call_id, at, generation_id: generation_id.clone(), status: 200 });
        let facts = Facts {
            reply_model: Some(model.to_owned()),
            inline_cost: Some(Money::parse(cost).unwrap()),
            native_tokens_prompt: Some(1_200),
            native_tokens_completion: Some(345),
            ..Facts::default()
        };
        call.outcome(&Outcome {
            call_id,
            at,
            head_at: None,
            ending: Ending::Complete,
            status: Some(200),
            generation_id,
            facts,
            error: None,
            first_byte_ms: Some(5),
            duration_ms: 9,
            response_cache_hit: false,
            flags: Vec::new(),
        });
        let mut tx = self.store.write().await.unwrap();
        calls::upsert(&mut tx, &[&call]).await.unwrap();
        let mut deltas = Deltas::default();
        deltas.moved(None, Some(&call));
        rollups::add(&mut tx, &deltas).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// All messages, oldest first.
    pub async fn messages(&self) -> Vec<Message> {
        let mut messages = outbox::page(&self.store, None, 100).await.unwrap();
        messages.reverse();
        messages
    }

    /// Waits until the messages are as wanted, and steps the clock whenever nothing comes of itself and nobody converses.
    pub async fn until(&self, wanted: impl Fn(&[Message]) -> bool) -> Vec<Message> {
        self.until_by(STEP, wanted).await
    }

    /// As [`Scene::until`], with steps of this length.
    pub async fn until_by(&self, step: Duration, wanted: impl Fn(&[Message]) -> bool) -> Vec<Message> {
        let real = Clock::system();
        soon(async {
            for look in 1_u64.. {
                let messages = self.messages().await;
                if wanted(&messages) {
                    return messages;
                }
                if look.is_multiple_of(LOOKS_A_STEP) && self.server.open() == 0 {
                    self.clock.advance(step);
                }
                real.sleep(Duration::from_millis(1)).await;
            }
            unreachable!()
        })
        .await
    }

    /// Waits, without a step of the clock, until every message is in this state, at least one.
    pub async fn at_once_all(&self, state: MessageState) -> Vec<Message> {
        let real = Clock::system();
        soon(async {
            loop {
                let messages = self.messages().await;
                if !messages.is_empty() && messages.iter().all(|message| message.state == state) {
                    return messages;
                }
                real.sleep(Duration::from_millis(1)).await;
            }
        })
        .await
    }

    /// Steps the clock until every message is in this state, at least one.
    pub async fn until_all(&self, state: MessageState) -> Vec<Message> {
        self.until(|messages| !messages.is_empty() && messages.iter().all(|message| message.state == state)).await
    }
}
