//! `tallyd demo`: look at it without a key and without a network.

use anyhow::Context as _;
use clap::Args;

use super::{Ending, Outcome, Surroundings};
use crate::app::demo;
use crate::config::{Log, LogFormat};
use crate::shutdown::Signals;
use crate::telemetry;

/// Run the daemon against a simulated OpenRouter with a month of history and living traffic on a temporary
/// database. Configuration and environment are ignored.
#[derive(Debug, Args)]
pub(super) struct Demo {}

impl Demo {
    pub(super) async fn run(self, surroundings: Surroundings) -> Outcome {
        telemetry::init(&Log { level: "warn,tallyd::app=info".to_owned(), format: LogFormat::Auto })?;
        let signals = Signals::of_process().context("signals can not be listened to")?;
        let demo = demo::Demo::start(surroundings.clock, surroundings.entropy).await?;
        let address = demo.daemon.address();
        let database = demo.config.database.to_string();
        eprintln!("The dashboard:  http://{address}/");
        eprintln!(
            "The gateway:    http://{address}/api/v1   (a simulated OpenRouter answers; any sk-or-v1-… key will do)"
        );
        eprintln!(
            "Ask it in SQL:  tallyd --database-url {database} sql \"SELECT app, count(*) FROM usage GROUP BY 1\""
        );
        eprintln!(
            "200,000 completions of the last weeks are being filled in, then calls go on. Ctrl+C ends it and leaves nothing."
        );
        let ending = demo.run(signals).await;
        match ending.failed {
            None => Ok(Ending::Done),
            Some(task) => anyhow::bail!("the demo ended because its {task} failed"),
        }
    }
}
