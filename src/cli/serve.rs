//! `tallyd serve`: runs the daemon, and says in a few lines what is on, where the page is, and what is missing.

use std::sync::Arc;

use anyhow::Context as _;

use super::{Ending, Outcome, Surroundings};
use crate::app::{self, Daemon, Reload};
use crate::config::{Config, Loaded};
use crate::shutdown::{Hangups, Signals};
use crate::telemetry;

pub(super) async fn run(surroundings: Surroundings) -> Outcome {
    let loaded = surroundings.load()?;
    let reload = Some(Arc::new(Reload::new(surroundings.sources, &loaded)));
    let Loaded { config, origin, mut warnings, .. } = loaded;
    telemetry::init(&config.log)?;
    warnings.extend(app::handles::raise_limit(config.gateway.max_connections));
    let signals = Signals::of_process().context("signals can not be listened to")?;
    let hangups = Hangups::of_process().context("signals can not be listened to")?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let given = app::Surroundings {
        clock: surroundings.clock,
        entropy: surroundings.entropy,
        warnings,
        reload,
        program: app::own_program(),
    };
    let daemon = Daemon::start(&config, given).await?;
    daemon.reload_on(hangups);
    tell(&config, origin.as_deref(), &daemon);
    let ending = daemon.run(signals).await;
    match ending.failed {
        None => {
            tracing::info!("ended; everything that was seen is in the ledger or its journal");
            Ok(Ending::Done)
        }
        Some(task) => {
            anyhow::bail!("the daemon ended because its {task} failed; what was seen is in the journal, start it again")
        }
    }
}

/// What is on, where the page is, what is missing.
fn tell(config: &Config, origin: Option<&std::path::Path>, daemon: &Daemon) {
    let address = daemon.address();
    let upstream = config.openrouter.base_url.as_str();
    tracing::info!(base_url = %format!("http://{address}/api/v1"), %upstream, "calls go through here");
    tracing::info!(page = %config.dashboard.url(address), "the dashboard is here");
    tracing::info!(database = %config.database, journal = %config.journal_dir.display(), "the ledger is here");
    if let Some(path) = origin {
        tracing::info!(file = %path.display(), budgets = config.budgets.len(), "configured");
    } else {
        tracing::info!("no tallyd.toml was found; defaults and environment hold");
    }
    if config.openrouter.api_key().is_none() {
        tracing::warn!("no OpenRouter key is configured (OPENROUTER_API_KEY): callers must bring their own");
    }
    let active = daemon.tally_keys().active();
    if daemon.is_open() {
        tracing::info!(
            "open mode: a call without a key of its own spends with openrouter.api_key; the first tally key ends it"
        );
    } else {
        tracing::info!(tally_keys = active, "open mode is off: every call must bring a tally key or an OpenRouter key");
    }
    if config.smtp.url.is_none() && config.budgets.iter().all(|budget| budget.notify.is_empty()) {
        tracing::info!("no mail server is configured (SMTP_URL): alerts are shown on the dashboard only");
    }
}
