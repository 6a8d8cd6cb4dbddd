//! The composition root: configuration in, a running daemon out.

mod daemon;
pub mod demo;
pub mod handles;
mod ledger;
pub mod offline;

use prometheus_client::registry::Registry;

pub use self::daemon::{Daemon, Surroundings};
pub use self::ledger::set_aside_file;
use crate::clock::{Clock, Entropy};
use crate::config::Config;
pub use crate::definitions::Reload;
use crate::domain::ids::KeyFingerprint;
use crate::keys::TallyKeys;
use crate::ledger::intake::NamedKeys;
use crate::store::console::{Console, SqlLimits};
use crate::store::{Store, StoreError};
use crate::telemetry::Metrics;

/// Why the daemon does not start; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal's folder.
    #[error(transparent)]
    Journal(#[from] crate::journal::JournalError),
    /// Another daemon has the database.
    #[error(
        "the database {} is in use by a running tallyd{}: stop that one, or give this one another database_url",
        database.display(),
        pid.map(|pid| format!(" (PID {pid})")).unwrap_or_default()
    )]
    Owned {
        /// The file.
        database: std::path::PathBuf,
        /// The owner's process ID, if its lock file tells.
        pid: Option<u32>,
    },
    /// The folder of the database can not be written.
    #[error("{} can not be written ({error}); give this user the folder, or change database_url", path.display())]
    Unwritable {
        /// The file that could not be made.
        path: std::path::PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The ledger, while it was brought up to date.
    #[error(transparent)]
    Ledger(#[from] crate::ledger::OpenError),
    /// The address is taken.
    #[error(
        "{address} can not be listened on ({error}); another tallyd or program may run there: stop it, or set listen to another address"
    )]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// A client of ours could not be set up.
    #[error(transparent)]
    Client(#[from] crate::openrouter::ClientError),
    /// The gateway's client could not be set up.
    #[error(transparent)]
    Gateway(#[from] crate::web::gateway::UpstreamError),
    /// The mail server's URL.
    #[error(transparent)]
    Mail(#[from] crate::mail::SetupError),
    /// The client of webhooks could not be set up.
    #[error(transparent)]
    Webhook(#[from] crate::webhook::SetupError),
}

/// Counters of a process of its own.
fn metrics() -> Metrics {
    Metrics::new(Registry::with_prefix("tallyd"))
}

/// The tally keys of this database.
async fn tally_keys(
    config: &Config,
    store: &Store,
    clock: &Clock,
    entropy: &Entropy,
) -> Result<TallyKeys, crate::store::StoreError> {
    let upstreams = config.openrouter.keys.keys().cloned().collect();
    TallyKeys::open(store.clone(), upstreams, config.time_zone, clock.clone(), entropy.clone()).await
}

/// The SHA-256 of the management key; `None`: none is configured.
fn management_key(config: &Config) -> Option<String> {
    use secrecy::ExposeSecret as _;
    config.openrouter.management_key.as_ref().map(|key| KeyFingerprint::of(key.expose_secret()).sha256)
}

/// The configured keys by name, as told IDs may name them.
fn named_keys(config: &Config) -> NamedKeys {
    use secrecy::ExposeSecret as _;
    config.openrouter.keys.iter().map(|(name, key)| (name.clone(), KeyFingerprint::of(key.expose_secret()))).collect()
}

/// Where people's own queries are answered: in workers of `program`, a tallyd, or in this process where there is none.
pub fn console(config: &Config, program: Option<std::path::PathBuf>, clock: &Clock) -> Result<Console, StoreError> {
    use secrecy::ExposeSecret;
    let sql = &config.sql;
    let limits = SqlLimits { time: sql.time_limit, rows: sql.rows, bytes: sql.bytes, memory: sql.memory };
    let reader = sql.reader_url.as_ref().map(ExposeSecret::expose_secret);
    let console = Console::new(&config.database.url(), reader, limits, clock.clone())?;
    Ok(console.shared(sql.concurrency, program))
}

/// This very program, to be started once more; `None` where the system does not tell.
pub fn own_program() -> Option<std::path::PathBuf> {
    // On Linux the name that stays true when the file was replaced by a newer version's.
    let running = std::path::Path::new("/proc/self/exe");
    if running.exists() { Some(running.to_owned()) } else { std::env::current_exe().ok() }
}
