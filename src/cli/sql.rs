//! `tallyd sql`: read-only SQL over the documented views; and the worker that answers for a daemon.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::{Ending, Outcome, Surroundings, say_beside};
use crate::clock::Clock;
use crate::report::output::{self, Format};
use crate::store::console::{MAX_QUERY, Question, SqlError, Value, worker};

const QUERY_HELP: &str = "One statement over the views (docs/sql.md): usage, usage_tags, spend_by_day, spend_by_bucket, budget_status, budget_values, budget_limits, budget_changes, budget_forecast, alert_history, spike_history, refusals; - reads it from standard input";

/// Ask the ledger in SQL, read-only.
#[derive(Debug, Args)]
pub(super) struct Sql {
    #[arg(help = QUERY_HELP, required_unless_present = "file", conflicts_with = "file")]
    query: Option<String>,
    /// Read the query from a file; - is standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A value for :NAME in the query; may be given several times. What is written as a number is one
    #[arg(long = "parameter", short = 'p', value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, Value)>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn parameter(text: &str) -> Result<(String, Value), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            Ok((name.strip_prefix(':').unwrap_or(name).to_owned(), Value::typed(value)))
        }
        _ => Err("write NAME=VALUE, such as --parameter since=2026-11-01".to_owned()),
    }
}

impl Sql {
    pub(super) async fn run(self, surroundings: Surroundings) -> Outcome {
        let config = surroundings.load()?.config;
        let query = match (&self.query, &self.file) {
            (Some(query), _) if query != "-" => query.clone(),
            (_, Some(file)) if file != Path::new("-") => {
                let file = std::fs::File::open(file).with_context(|| format!("{} can not be read", file.display()))?;
                text_of(file)?
            }
            _ => text_of(std::io::stdin())?,
        };
        let console = crate::app::console(&config, None, &surroundings.clock)?;
        let answer = match console.ask(&Question { query, parameters: self.parameters }).await {
            Ok(answer) => answer,
            Err(SqlError::Unbound(names)) => {
                let given: Vec<String> = names.iter().map(|name| format!("--parameter {name}=…")).collect();
                let given = given.join(" ");
                say_beside(format_args!("tallyd: the query has parameters without a value; add {given}"));
                return Ok(Ending::Usage);
            }
            Err(error) => return Err(error.into()),
        };
        let mut out = std::io::stdout().lock();
        output::write(&answer.table, self.format, &mut out)?;
        out.flush()?;
        if let Some(cut) = &answer.table.cut {
            say_beside(format_args!("tallyd: {cut}"));
        }
        Ok(Ending::Done)
    }
}

/// A query's text; one byte more than there may be, so that a longer one is told.
fn text_of(input: impl std::io::Read) -> anyhow::Result<String> {
    let mut text = String::new();
    input.take(MAX_QUERY as u64 + 1).read_to_string(&mut text).context("the query could not be read")?;
    Ok(text)
}

/// Answers the one question that stands on standard input, for a daemon.
pub(super) fn work() -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(worker::serve(std::io::stdin(), std::io::stdout(), &Clock::system()))?;
    Ok(Ending::Done)
}
