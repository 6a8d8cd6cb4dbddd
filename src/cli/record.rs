//! `tallyd record`: tells the ledger of generation IDs. Standard input may be of any length: what is held is one request.

use std::io::{BufRead, IsTerminal as _, Write as _};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::daemon::{self, Asked};
use super::{Ending, Outcome, Surroundings, say_beside};
use crate::app::offline::{self, Teller};
use crate::config::Config;
use crate::import::pieces::{next_line, plain};
use crate::ledger::intake::{MAX_BODY, MAX_ITEM, MAX_ITEMS, RefusedItem, Summary};

/// Longest line read from standard input, in bytes, its break included.
const MAX_LINE: usize = MAX_ITEM;

/// Bytes of lines in one request; as JSON they may be longer, but not twice.
const MAX_CHUNK: usize = MAX_BODY / 2 - MAX_LINE;

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
        let mut telling = Telling {
            source: if self.ids == ["-"] {
                Source::Lines { input: Box::new(std::io::BufReader::new(std::io::stdin())), read: 0 }
            } else {
                Source::Arguments(self.ids.into_iter())
            },
            told: Told::default(),
            shows_progress: std::io::stderr().is_terminal(),
        };
        telling.run(&surroundings, &config).await?;
        let Told { recorded, known, refused } = telling.told;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{recorded} recorded, {known} known already, {refused} refused")?;
        Ok(if refused == 0 { Ending::Done } else { Ending::Found })
    }
}

/// What became of all items so far.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    recorded: usize,
    known: usize,
    refused: usize,
}

struct Telling {
    source: Source,
    told: Told,
    shows_progress: bool,
}

/// Where items come from.
enum Source {
    Arguments(std::vec::IntoIter<String>),
    /// Lines, and how many were read.
    Lines {
        input: Box<dyn BufRead + Send>,
        read: u64,
    },
}

/// The items of one request.
#[derive(Default)]
struct Chunk {
    items: Vec<Box<RawValue>>,
    /// The line of each; empty for arguments.
    lines: Vec<u64>,
    /// Lines that can not be sent, and why.
    unreadable: Vec<(u64, &'static str)>,
}

impl Chunk {
    fn is_empty(&self) -> bool {
        self.items.is_empty() && self.unreadable.is_empty()
    }
}

impl Source {
    /// The next request's items; empty at the end.
    fn chunk(&mut self) -> anyhow::Result<Chunk> {
        let mut chunk = Chunk::default();
        match self {
            Self::Arguments(ids) => {
                for id in ids.take(MAX_ITEMS) {
                    chunk.items.push(to_raw_value(&json!({ "id": id }))?);
                }
            }
            Self::Lines { input, read } => {
                let (mut bytes, mut line) = (0, Vec::new());
                while chunk.items.len() + chunk.unreadable.len() < MAX_ITEMS && bytes < MAX_CHUNK {
                    line.clear();
                    let found = next_line(input.as_mut(), &mut line, MAX_LINE, |bytes, _| plain(bytes), |_| Ok(()))
                        .context("standard input could not be read")?;
                    if found.read == 0 {
                        break;
                    }
                    *read += 1;
                    bytes += line.len();
                    let text = line.trim_ascii();
                    if found.fits && text.is_empty() {
                        continue;
                    }
                    match serde_json::from_slice::<Box<RawValue>>(text) {
                        _ if !found.fits => {
                            chunk.unreadable.push((*read, "it is longer than 64 KiB; an item takes a line each"));
                        }
                        Ok(item) if item.get().starts_with('{') => {
                            chunk.items.push(item);
                            chunk.lines.push(*read);
                        }
                        _ => {
                            chunk
                                .unreadable
                                .push((*read, "it is no JSON object; write {\"id\":\"gen-…\"}, one a line"));
                        }
                    }
                }
            }
        }
        Ok(chunk)
    }
}

impl Telling {
    async fn run(&mut self, surroundings: &Surroundings, config: &Config) -> anyhow::Result<()> {
        let mut chunk = self.source.chunk()?;
        while !chunk.is_empty() {
            let Some(summary) = ask(config, &chunk.items).await.with_context(|| self.so_far())? else {
                // Nobody runs: the ledger is ours for what is left.
                let (clock, entropy) = (&surroundings.clock, &surroundings.entropy);
                return offline::telling(config, clock, entropy, async |teller| self.tell(teller, chunk).await).await;
            };
            self.count(&chunk, &summary);
            chunk = self.source.chunk()?;
        }
        Ok(())
    }

    async fn tell(&mut self, teller: &Teller<'_>, mut chunk: Chunk) -> anyhow::Result<()> {
        while !chunk.is_empty() {
            let summary = teller.tell(&chunk.items).await.with_context(|| self.so_far())?;
            self.count(&chunk, &summary);
            chunk = self.source.chunk()?;
        }
        Ok(())
    }

    /// Adds up, names what was refused, and shows how far it is.
    fn count(&mut self, chunk: &Chunk, summary: &Summary) {
        if self.shows_progress {
            // To the line's begin, and clear it.
            eprint!("\r\x1b[K");
        }
        self.told.recorded += summary.recorded;
        self.told.known += summary.known;
        self.told.refused += summary.refused.len() + chunk.unreadable.len();
        let sent = summary.refused.iter().map(|item| (chunk.lines.get(item.index).copied(), refusal(item)));
        let unreadable = chunk.unreadable.iter().map(|(line, reason)| (Some(*line), (*reason).to_owned()));
        let mut refused: Vec<(Option<u64>, String)> = sent.chain(unreadable).collect();
        refused.sort_by_key(|(line, _)| *line);
        for (line, refusal) in refused {
            match line {
                Some(line) => say_beside(format_args!("refused: line {line}: {refusal}")),
                None => say_beside(format_args!("refused: {refusal}")),
            }
        }
        if self.shows_progress && matches!(self.source, Source::Lines { .. }) {
            eprint!("{}", self.so_far());
            let _ = std::io::stderr().flush();
            if chunk.items.len() + chunk.unreadable.len() < MAX_ITEMS {
                eprintln!();
            }
        }
    }

    fn so_far(&self) -> String {
        let Told { recorded, known, refused } = self.told;
        let lines = match &self.source {
            Source::Arguments(_) => String::new(),
            Source::Lines { read, .. } => format!("{read} lines read: "),
        };
        format!("{lines}{recorded} recorded, {known} known already, {refused} refused so far")
    }
}

fn refusal(item: &RefusedItem) -> String {
    format!("{} ({})", item.id.as_deref().unwrap_or("item"), item.reason)
}

/// Tells the daemon; `None`: there is none.
async fn ask(config: &Config, items: &[Box<RawValue>]) -> anyhow::Result<Option<Summary>> {
    if items.is_empty() {
        return Ok(Some(Summary::default()));
    }
    let body = serde_json::to_string(items)?;
    Ok(match daemon::ask(config, reqwest::Method::POST, "/tally/v1/record", Some(body)).await? {
        Asked::Answered(answer) => {
            Some(serde_json::from_value(answer).context("the daemon's answer is not understood")?)
        }
        Asked::NotRunning => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: impl Into<Vec<u8>>) -> Source {
        Source::Lines { input: Box::new(std::io::Cursor::new(text.into())), read: 0 }
    }

    #[test]
    fn lines_go_in_chunks_and_each_keeps_its_number() {
        let mut text = b"\n{\"id\":\"gen-0\"}\r\n\xff\n".to_vec();
        text.extend(vec![b'x'; MAX_LINE + 1]);
        text.extend(b"\n\"gen-1\"\n{\"id\":\"gen-2\"}");
        let mut source = lines(text);
        let chunk = source.chunk().unwrap();
        assert_eq!((chunk.items.len(), chunk.lines), (2, vec![2, 6]));
        assert_eq!(chunk.unreadable.iter().map(|(line, _)| *line).collect::<Vec<u64>>(), [3, 4, 5]);
        assert!(source.chunk().unwrap().is_empty());
    }

    #[test]
    fn no_chunk_is_larger_than_a_request_may_be() {
        let mut source = lines("{\"id\":\"gen-a\"}\n".repeat(2 * MAX_ITEMS + 5));
        let sizes: Vec<usize> = std::iter::from_fn(|| source.chunk().ok().filter(|chunk| !chunk.is_empty()))
            .map(|c| c.items.len())
            .collect();
        assert_eq!(sizes, [MAX_ITEMS, MAX_ITEMS, 5]);
        let long = format!("{{\"id\":\"gen-a\",\"app\":\"{}\"}}\n", "x".repeat(60_000));
        let mut source = lines(long.repeat(400));
        let mut items = 0;
        loop {
            let chunk = source.chunk().unwrap();
            if chunk.is_empty() {
                break;
            }
            items += chunk.items.len();
            assert!(serde_json::to_vec(&chunk.items).unwrap().len() <= MAX_BODY);
        }
        assert_eq!(items, 400);
    }
}
