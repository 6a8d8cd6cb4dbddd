//! `tallyd demo`: the daemon against a simulated OpenRouter, with a month of history and living traffic.
//!
//! It ignores configuration and environment, keeps everything in a temporary folder (or its rows in a database that was
//! named), and needs no key and no network. The rows of the past go through the ledger's own writer, as those of the present
//! do.

mod past;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;

use super::{Daemon, Surroundings, offline};
use crate::clock::{Clock, Entropy};
use crate::config::{Config, Flags, Sources};
use crate::domain::ids::KeyFingerprint;
use crate::domain::time::{DAY_MS, Timestamp};
use crate::ledger::{Ledger, Work};
use crate::shutdown::{Ending, Signals};
use crate::sim::live::{self, Live};
use crate::sim::traffic;
use crate::sim::{SimConfig, SimKey, Simulator};
use crate::store::calls::{self, CompletionFilter};
use crate::store::{Store, StoreOptions, notes};

/// Completions of the past, where no number is asked for.
pub const COMPLETIONS: u32 = 200_000;

/// Days of the past, likewise: the month so far and the one before, so that there is something to compare with.
pub const DAYS: u32 = 45;

/// What a database notes when a demo fills it.
const NOTE: &str = "demo";

/// The note while it is being filled.
const FILLING: &str = "filling";

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

/// The past that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    /// Completions.
    pub completions: u32,
    /// Days before today, UTC.
    pub days: u32,
}

impl Default for Past {
    fn default() -> Self {
        Self { completions: COMPLETIONS, days: DAYS }
    }
}

/// A demo that serves; its folder goes when it is dropped.
pub struct Demo {
    /// The daemon.
    pub daemon: Daemon,
    /// What it is configured with.
    pub config: Config,
    folder: tempfile::TempDir,
}

impl Demo {
    /// Starts simulator and daemon. `past` is filled in while the page is already open; without one the database, if one is
    /// named, is served as it is.
    pub async fn start(
        past: Option<Past>,
        database_url: Option<&str>,
        clock: Clock,
        entropy: Entropy,
    ) -> anyhow::Result<Self> {
        let folder = folder()?;
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
        let config = configuration(folder.path(), simulator.base_url(), &keys, free_port().await, database_url)?;
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
            let filling = async {
                match past {
                    Some(past) => filling(&ledger, past, &clock, &entropy).await,
                    None => Ok(()),
                }
            };
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

/// Fills a database of its own with the past, and tells `progress` how many completions are in; `false`: an earlier demo has
/// filled it, and it is left as it is. One that holds anything else is refused.
pub async fn fill_database(
    database_url: &str,
    past: Past,
    clock: &Clock,
    entropy: &Entropy,
    progress: impl Fn(u32),
) -> anyhow::Result<bool> {
    let folder = folder()?;
    let keys: BTreeMap<&'static str, String> = traffic::keys().collect();
    let config = configuration(folder.path(), "https://openrouter.ai/api/v1", &keys, 0, Some(database_url))?;
    if !is_to_be_filled(&config.database.url()).await? {
        return Ok(false);
    }
    let filling = async |ledger: &Ledger, _| fill(ledger, entropy, clock.now(), past, progress).await;
    offline::holding(&config, clock, entropy, filling).await??;
    let store = Store::open(&StoreOptions::new(config.database.url())).await?;
    note(&store, &format!("{} completions over {} days", past.completions, past.days)).await?;
    store.optimise().await?;
    store.close().await;
    Ok(true)
}

/// Looks whose rows a database holds, and notes that it is being filled.
async fn is_to_be_filled(url: &str) -> anyhow::Result<bool> {
    let store = Store::open(&StoreOptions::new(url)).await?;
    let noted = notes::get(&store, NOTE).await?;
    let holds_rows = !calls::page(&store, &CompletionFilter::default(), None, 1).await?.is_empty();
    if noted.is_none() && !holds_rows {
        note(&store, FILLING).await?;
    }
    store.close().await;
    match noted.as_deref() {
        None if holds_rows => {
            anyhow::bail!("the database holds completions that are no demo's; give the demo a database of its own")
        }
        Some(FILLING) if holds_rows => {
            anyhow::bail!("an earlier demo was cut while it filled this database; remove it, or name another one")
        }
        None | Some(FILLING) => Ok(true),
        Some(_) => Ok(false),
    }
}

async fn note(store: &Store, text: &str) -> anyhow::Result<()> {
    let mut tx = store.write().await?;
    notes::set(&mut tx, NOTE, text).await?;
    Ok(tx.commit().await?)
}

fn folder() -> anyhow::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("tallyd-demo-").tempdir().context("no temporary folder can be made")
}

async fn filling(ledger: &Ledger, past: Past, clock: &Clock, entropy: &Entropy) -> anyhow::Result<()> {
    let began = clock.elapsed();
    fill(ledger, entropy, clock.now(), past, |_| ()).await?;
    let took = clock.elapsed().saturating_sub(began);
    tracing::info!(
        completions = past.completions,
        took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "the past is filled in"
    );
    Ok(())
}

/// Fills a ledger with a past as it is at `now`, the same every time but for its call IDs, and tells `progress` how many calls
/// are in.
pub async fn fill(
    ledger: &Ledger,
    entropy: &Entropy,
    now: Timestamp,
    past: Past,
    progress: impl Fn(u32),
) -> anyhow::Result<()> {
    let from = Timestamp(now.millis() - now.millis().rem_euclid(DAY_MS) - i64::from(past.days) * DAY_MS);
    let keys: BTreeMap<&'static str, String> = traffic::keys().collect();
    let fingerprints: Arc<BTreeMap<&'static str, KeyFingerprint>> =
        Arc::new(keys.iter().map(|(name, key)| (*name, KeyFingerprint::of(key))).collect());
    let mut filled = 0;
    let mut calls = traffic::history(SEED, from, now, past.completions);
    let mut next = move |entropy: Entropy, fingerprints: Arc<BTreeMap<&'static str, KeyFingerprint>>| {
        let mut work = Work::default();
        let mut told: u32 = 0;
        for call in calls.by_ref().take(CALLS_AT_ONCE) {
            work.as_of = Some(call.created_at);
            past::tell(&mut work, &call, &fingerprints, &entropy, now);
            told += 1;
        }
        (told, work)
    };
    // While one part is written, the next is made up.
    let mut ahead = next(entropy.clone(), Arc::clone(&fingerprints));
    while ahead.0 > 0 {
        let (told, work) = ahead;
        let (of_entropy, of_keys) = (entropy.clone(), Arc::clone(&fingerprints));
        let making = tokio::task::spawn_blocking(move || {
            let made = next(of_entropy, of_keys);
            (next, made)
        });
        let (written, made) = tokio::join!(ledger.submit(work, PATIENCE), making);
        written?;
        (next, ahead) = made?;
        filled += told;
        progress(filled);
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
    database_url: Option<&str>,
) -> anyhow::Result<Config> {
    let journal = folder.join("journal");
    let mut text = format!(
        "listen = \"127.0.0.1:{port}\"\ndatabase_url = {}\njournal_dir = {}\n\n[openrouter]\nbase_url = \"{base_url}\"\napi_key = \"{DEFAULT_KEY}\"\n\n[openrouter.keys]\n",
        quoted(&absolute(database_url.unwrap_or("sqlite:tallyd.db"), database_url.is_some())?),
        quoted(&journal.display().to_string()),
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

/// As TOML reads it: its basic strings are written as JSON's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A path that the user named is meant from where the user stands, not from the demo's folder.
fn absolute(url: &str, named: bool) -> anyhow::Result<String> {
    match url.strip_prefix("sqlite:") {
        Some(path) if named => {
            let path = path.strip_prefix("//").unwrap_or(path);
            let path = std::path::absolute(path).context("--database names no file")?;
            Ok(format!("sqlite:{}", path.display()))
        }
        _ => Ok(url.to_owned()),
    }
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
