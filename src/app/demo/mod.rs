//! `tallyd demo`: the daemon against a simulated OpenRouter, with a month of history and living traffic.
//!
//! It ignores configuration and environment, keeps everything in a temporary folder, and needs no key and
//! no network. The rows of the past go through the ledger's own writer, as those of the present do.

mod past;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;

use super::{Daemon, Surroundings};
use crate::clock::{Clock, Entropy};
use crate::config::{Config, Flags, Sources};
use crate::domain::ids::KeyFingerprint;
use crate::domain::time::{DAY_MS, Timestamp};
use crate::ledger::{Ledger, Work};
use crate::shutdown::{Ending, Signals};
use crate::sim::live::{self, Live};
use crate::sim::traffic;
use crate::sim::{SimConfig, SimKey, Simulator};

/// Calls of the past.
const CALLS: u32 = 200_000;

/// Days of the past: the month so far and the one before, so that there is something to compare with.
const DAYS: i64 = 45;

/// The past is the same at every start.
const SEED: u64 = 7117;

/// Calls of the past in one transaction.
const CALLS_AT_ONCE: usize = 4_000;

/// How long the writer may take over one of those.
const PATIENCE: Duration = Duration::from_mins(1);

/// Living calls a second.
const RATE: f64 = 2.0;

/// For calls that bring no key, as a configured daemon has one.
const DEFAULT_KEY: &str = "sk-or-v1-simulated-default";

/// The port that the documents name.
const PORT: u16 = 7117;

/// A demo that serves; its folder goes when it is dropped.
pub struct Demo {
    /// The daemon.
    pub daemon: Daemon,
    /// What it is configured with.
    pub config: Config,
    folder: tempfile::TempDir,
}

impl Demo {
    /// Starts simulator and daemon; the past is filled in while the page is already open.
    pub async fn start(clock: Clock, entropy: Entropy) -> anyhow::Result<Self> {
        let folder =
            tempfile::Builder::new().prefix("tallyd-demo-").tempdir().context("no temporary folder can be made")?;
        let keys: BTreeMap<&'static str, String> = traffic::keys().collect();
        let simulator = Simulator::start(
            SimConfig {
                keys: keys.values().map(|key| SimKey::new(key.clone())).collect(),
                lag_ms: 400..=6_000,
                pace: 0.5,
                ..SimConfig::default()
            },
            clock.clone(),
            entropy.clone(),
        )
        .await?;
        let config = configuration(folder.path(), simulator.base_url(), &keys, free_port().await)?;
        let surroundings = Surroundings {
            clock: clock.clone(),
            entropy: entropy.clone(),
            warnings: Vec::new(),
            reload: None,
            program: super::own_program(),
        };
        let daemon = Daemon::start(&config, surroundings).await?;
        let base_url = format!("http://{}/api/v1", daemon.address());
        let (ledger, stop) = (daemon.ledger().clone(), daemon.tasks().stop_token());
        daemon.tasks().spawn("demo", async move {
            let filling = filling(&ledger, &clock, &entropy);
            let filled = tokio::select! {
                filled = filling => filled,
                () = stop.cancelled() => return,
            };
            if let Err(error) = filled {
                tracing::error!(error = %error, "the past could not be filled in");
            }
            live::drive(Live { base_url, rate: RATE }, clock, entropy, stop.clone()).await;
            stop.cancelled().await;
            simulator.stop().await;
        });
        Ok(Self { daemon, config, folder })
    }

    /// Runs until it is told to end; then its folder goes.
    pub async fn run(self, signals: Signals) -> Ending {
        let ending = self.daemon.run(signals).await;
        drop(self.folder);
        ending
    }
}

async fn filling(ledger: &Ledger, clock: &Clock, entropy: &Entropy) -> anyhow::Result<()> {
    let began = clock.elapsed();
    fill(ledger, entropy, clock.now(), CALLS).await?;
    let took = clock.elapsed().saturating_sub(began);
    tracing::info!(
        completions = CALLS,
        took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "the past is filled in"
    );
    Ok(())
}

/// Fills a ledger with the past as it is at `now`: so many calls, the same every time but for their call IDs.
pub async fn fill(ledger: &Ledger, entropy: &Entropy, now: Timestamp, count: u32) -> anyhow::Result<()> {
    let from = Timestamp(now.millis() - now.millis().rem_euclid(DAY_MS) - DAYS * DAY_MS);
    let keys: BTreeMap<&'static str, String> = traffic::keys().collect();
    let fingerprints: BTreeMap<&str, KeyFingerprint> =
        keys.iter().map(|(name, key)| (*name, KeyFingerprint::of(key))).collect();
    let mut calls = traffic::history(SEED, from, now, count).peekable();
    while calls.peek().is_some() {
        let mut work = Work::default();
        for call in calls.by_ref().take(CALLS_AT_ONCE) {
            work.as_of = Some(call.created_at);
            past::tell(&mut work, &call, &fingerprints, entropy, now);
        }
        ledger.submit(work, PATIENCE).await?;
    }
    Ok(())
}

/// 7117 if nobody has it, else any.
async fn free_port() -> u16 {
    match TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))).await {
        Ok(_) => PORT,
        Err(_) => 0,
    }
}

/// The demo's own configuration, read as any other is.
fn configuration(
    folder: &Path,
    base_url: &str,
    keys: &BTreeMap<&'static str, String>,
    port: u16,
) -> anyhow::Result<Config> {
    let mut text = format!(
        "listen = \"127.0.0.1:{port}\"\ndatabase_url = \"sqlite:tallyd.db\"\n\n[openrouter]\nbase_url = \"{base_url}\"\napi_key = \"{DEFAULT_KEY}\"\n\n[openrouter.keys]\n"
    );
    for (name, key) in keys {
        let _ = writeln!(text, "\"{name}\" = \"{key}\"");
    }
    text.push_str(BUDGETS);
    let file = folder.join("tallyd.toml");
    std::fs::write(&file, text).context("the demo's configuration can not be written")?;
    let sources = Sources { flags: Flags { config: Some(file), ..Flags::default() }, ..Sources::bare(folder) };
    Ok(Config::load(&sources)?.config)
}

/// The demo's budgets and reports, as they stand in its file.
pub const BUDGETS: &str = r#"
[[budgets]]
name = "everything"
window = "month"
limit_usd = "900.00"
alert_at = ["50%", "80%", "100%", "forecast 100%"]
notify = ["finance@example.com"]

[[budgets]]
name = "support-bot"
scope = { app = "support-bot" }
window = "month"
time_zone = "Europe/Berlin"
limit_usd = "300.00"
alert_at = ["50%", "80%", "100%", "forecast 100%"]
notify = ["care-team@example.com", "lena@example.com"]

[[budgets]]
name = "code-review"
scope = { app = "code-review" }
window = "week"
limit_usd = "60.00"
alert_at = ["50%", "80%", "100%"]
notify = ["platform@example.com"]

[[budgets]]
name = "runaway-guard"
scope = { app = "code-review" }
window = "hour"
limit_usd = "20.00"
alert_at = ["100%"]
notify = ["platform@example.com"]
when_exceeded = "block"

[[budgets]]
name = "anthropic-rolling"
scope = { model = "anthropic/*" }
window = "rolling 7d"
limit_usd = "120.00"
alert_at = ["80%", "100%"]
notify = ["finance@example.com"]

[[reports]]
name = "daily"
schedule = "0 8 * * *"
notify = ["team@example.com"]

[[reports]]
name = "weekly"
schedule = "0 8 * * mon"
time_zone = "Europe/Berlin"
notify = ["finance@example.com", "team@example.com"]
"#;
