//! `tallyd sql`: read-only SQL over the documented views.

use std::io::{Read as _, Write as _};

use anyhow::Context as _;
use clap::Args;

use super::{Ending, Outcome, Surroundings, say_beside};
use crate::report::output::{self, Format};
use crate::store::console::{self, SqlLimits};

/// Longest query read from standard input, in bytes.
const MAX_QUERY: u64 = 1 << 20;

const QUERY_HELP: &str = "One statement over usage, usage_tags, spend_by_day, spend_by_bucket, budget_status, budget_limits, budget_changes, budget_forecast, alert_history, spike_history, refusals; - reads it from standard input";

/// Ask the ledger in SQL, read-only.
#[derive(Debug, Args)]
pub(super) struct Sql {
    #[arg(help = QUERY_HELP)]
    query: String,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Sql {
    pub(super) async fn run(self, surroundings: Surroundings) -> Outcome {
        let config = surroundings.load()?.config;
        let query = if self.query == "-" {
            let mut text = String::new();
            std::io::stdin().take(MAX_QUERY).read_to_string(&mut text).context("the query could not be read")?;
            text
        } else {
            self.query
        };
        let table = console::run(&config.database.url(), &query, &SqlLimits::default(), &surroundings.clock).await?;
        let mut out = std::io::stdout().lock();
        output::write(&table, self.format, &mut out)?;
        out.flush()?;
        if let Some(cut) = &table.cut {
            say_beside(format_args!("tallyd: {cut}"));
        }
        Ok(Ending::Done)
    }
}
