//! `tallyd record`: tells the ledger of generation IDs.

use std::io::{BufRead as _, Write as _};

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use super::daemon::{self, Asked};
use super::{Ending, Outcome, Surroundings, say_beside};
use crate::app::offline;
use crate::ledger::intake::{MAX_ITEMS, Summary};

/// Longest line read from standard input, in bytes.
const MAX_LINE: u64 = 64 * 1024;

/// Tell the daemon of generation IDs.
#[derive(Debug, Args)]
pub(super) struct Record {
    /// Generation IDs (gen-…), or - to read NDJSON from standard input: {"id":"gen-…","key"?,"app"?,"user"?,"session"?,"tags"?}
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

impl Record {
    pub(super) async fn run(self, surroundings: Surroundings) -> Outcome {
        let config = surroundings.load()?.config;
        let mut summary = Summary::default();
        let mut batch = Vec::new();
        if self.ids == ["-"] {
            let mut input = std::io::stdin().lock();
            loop {
                let mut line = String::new();
                let read = std::io::Read::take(&mut input, MAX_LINE)
                    .read_line(&mut line)
                    .context("standard input could not be read")?;
                if read == 0 {
                    break;
                }
                let line = line.trim();
                if line.is_empty() {
                    continue;
                }
                // What does not parse is refused alone, in its place.
                batch.push(serde_json::from_str(line).unwrap_or_else(|_| Value::String(line.to_owned())));
                if batch.len() == MAX_ITEMS {
                    summary.merge(tell(&surroundings, &config, std::mem::take(&mut batch)).await?);
                }
            }
        } else {
            batch.extend(self.ids.iter().map(|id| json!({ "id": id })));
        }
        for piece in batch.chunks(MAX_ITEMS) {
            summary.merge(tell(&surroundings, &config, piece.to_vec()).await?);
        }
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "{} recorded, {} known already, {} refused",
            summary.recorded,
            summary.known,
            summary.refused.len()
        )?;
        for refused in &summary.refused {
            say_beside(format_args!("refused: {} ({})", refused.id.as_deref().unwrap_or("item"), refused.reason));
        }
        Ok(if summary.refused.is_empty() { Ending::Done } else { Ending::Found })
    }
}

async fn tell(
    surroundings: &Surroundings,
    config: &crate::config::Config,
    items: Vec<Value>,
) -> anyhow::Result<Summary> {
    match daemon::post(config, "/tally/v1/record", Value::Array(items.clone()).to_string()).await? {
        Asked::Answered(answer) => Ok(serde_json::from_value(answer).context("the daemon's answer is not understood")?),
        Asked::NotRunning => offline::record(config, &surroundings.clock, &surroundings.entropy, &items).await,
    }
}
