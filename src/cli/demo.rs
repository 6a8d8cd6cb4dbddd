//! `tallyd demo`: look at it without a key and without a network.

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Ending, Outcome, Surroundings};
use crate::app::demo::{self, Past};
use crate::config::{Log, LogFormat};
use crate::report::format::count;
use crate::shutdown::Signals;
use crate::telemetry;

/// How often the progress is drawn, in a second.
const DRAWN: u8 = 4;

/// Run the daemon against a simulated OpenRouter with a month of history and living traffic on a temporary
/// database. Configuration and environment are ignored.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// How many completions the past has
    #[arg(long, value_name = "N", default_value_t = demo::COMPLETIONS)]
    completions: u32,
    /// Over how many days they are spread
    #[arg(long, value_name = "D", default_value_t = demo::DAYS, value_parser = clap::value_parser!(u32).range(1..=3_660))]
    days: u32,
    /// Keep them in this database, sqlite:PATH or postgres://…, which must be empty or an earlier demo's; it is filled before
    /// the demo serves, and stays
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Fill the database, and serve nothing
    #[arg(long, requires = "database")]
    only_fill: bool,
}

impl Demo {
    pub(super) async fn run(self, surroundings: Surroundings) -> Outcome {
        telemetry::init(&Log { level: "warn,tallyd::app=info".to_owned(), format: LogFormat::Auto })?;
        let signals = Signals::of_process().context("signals can not be listened to")?;
        let past = Past { completions: self.completions, days: self.days };
        let (clock, entropy) = (surroundings.clock, surroundings.entropy);
        if let Some(url) = &self.database {
            let bar = progress(past);
            let set = |filled: u32| bar.set_position(u64::from(filled));
            let filled = demo::fill_database(url, past, &clock, &entropy, set).await?;
            bar.finish_and_clear();
            let rows = count(i64::from(past.completions));
            if filled {
                eprintln!("{rows} completions of the last {} days are in {}.", past.days, shown(url));
            } else {
                eprintln!("{} holds an earlier demo's completions; they stay as they are.", shown(url));
            }
            if self.only_fill {
                return Ok(Ending::Done);
            }
        }
        let to_fill = self.database.is_none().then_some(past);
        let demo = demo::Demo::start(to_fill, self.database.as_deref(), clock, entropy).await?;
        let address = demo.daemon.address();
        let database = demo.config.database.to_string();
        eprintln!("The dashboard:  http://{address}/");
        eprintln!(
            "The gateway:    http://{address}/api/v1   (a simulated OpenRouter answers; any sk-or-v1-… key will do)"
        );
        eprintln!(
            "Ask it in SQL:  tallyd --database-url {database} sql \"SELECT app, count(*) FROM usage GROUP BY 1\""
        );
        match to_fill {
            Some(past) => eprintln!(
                "{} completions of the last weeks are being filled in, then calls go on. Ctrl+C ends it and leaves nothing.",
                count(i64::from(past.completions))
            ),
            None => eprintln!("Calls go on. Ctrl+C ends it; the database stays."),
        }
        let ending = demo.run(signals).await;
        match ending.failed {
            None => Ok(Ending::Done),
            Some(task) => anyhow::bail!("the demo ended because its {task} failed"),
        }
    }
}

/// A bar where standard error is a terminal, else nothing.
fn progress(past: Past) -> ProgressBar {
    let target = indicatif::ProgressDrawTarget::stderr_with_hz(DRAWN);
    let bar = ProgressBar::with_draw_target(Some(u64::from(past.completions)), target);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {human_pos} of {human_len} completions  {eta} left") {
        bar.set_style(style);
    }
    bar
}

/// A database as it may be shown: a server's URL may hold a password.
fn shown(url: &str) -> &str {
    if url.starts_with("sqlite:") { url } else { "the database" }
}
