//! Imports: text that OpenRouter or a caller has kept, and what Broadcast pushes, on their way into the ledger.
//!
//! Everything becomes what is told of generations and goes through the one writer, so that what is told twice, or told by
//! several, is one row. A piece of text is read whole, under the bound of whoever hands it in; files of any size come in
//! pieces ([`pieces`]).

pub mod gaps;
mod lines;
pub mod pieces;
pub mod pushed;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::ToSchema;

pub use self::pieces::Kind;
use crate::clock::{Clock, Entropy};
use crate::domain::attribution::KeyRef;
use crate::domain::observation::{Tidings, Told};
use crate::ledger::intake::NamedKeys;
use crate::ledger::{Ledger, LedgerError, Verdict};
use crate::openrouter::export::Columns;

/// How long a piece of an import may wait for the writer.
const PATIENCE: Duration = Duration::from_mins(1);

/// What ends a line, of every text alike; a carriage return before it is white space of the last cell.
const LINE_FEED: csv::Terminator = csv::Terminator::Any(b'\n');

/// Most names of unknown columns told.
const MAX_UNKNOWN: usize = 32;

/// How far the reading of imports stands back: a tenth of what a call through the gateway gets where both want the processor.
const NICENESS: i32 = 10;

/// What whoever imports is given.
#[derive(Clone, Debug)]
pub struct Teller {
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
    /// The keys of ours, by name.
    pub keys: NamedKeys,
}

/// What became of a piece of text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = ImportSummary)]
pub struct Summary {
    /// Generations that are new in the ledger.
    pub new: u64,
    /// Those it knew as they are.
    pub known: u64,
    /// Those it knew, and now knows more of.
    pub changed: u64,
    /// What was read.
    pub read: Counts,
    /// Lines that were not taken.
    pub rejected: Vec<Rejected>,
    /// Columns of the log export that nothing is read from.
    pub unknown_columns: Vec<String>,
}

/// Lines by what they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = ImportCounts)]
pub struct Counts {
    /// Lines of the log export.
    pub export_lines: u64,
    /// Generation IDs.
    pub ids: u64,
    /// Replies.
    pub replies: u64,
    /// Generation records.
    pub records: u64,
}

/// A line that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ImportRejected)]
pub struct Rejected {
    /// Its number in the text, from 1; of a line that is several, the first.
    pub line: u64,
    /// Why; nothing of its text.
    pub reason: String,
}

/// Why nothing of a text was taken.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is none of the forms that are read.
    #[error("{0}")]
    Form(String),
    /// It could not be read; nothing is wrong with it.
    #[error("the text could not be read: {0}; try again")]
    Reading(String),
    /// The ledger did not take it.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// A text, read.
#[derive(Debug, Default)]
pub struct Parsed {
    told: Vec<Told>,
    /// The line of each of `told`.
    lines: Vec<u64>,
    summary: Summary,
}

impl Counts {
    fn count(&mut self, tidings: &Tidings) {
        *match tidings {
            Tidings::Export(_) => &mut self.export_lines,
            Tidings::Reply(_) => &mut self.replies,
            Tidings::Record(_) => &mut self.records,
            Tidings::Id | Tidings::ImportedId | Tidings::Broadcast(_) => &mut self.ids,
        } += 1;
    }

    /// Adds another text's counts.
    pub fn add(&mut self, other: Self) {
        self.export_lines += other.export_lines;
        self.ids += other.ids;
        self.replies += other.replies;
        self.records += other.records;
    }
}

impl Parsed {
    /// What was read and what was not; nothing of it is written yet.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    fn take(&mut self, line: u64, read: Result<Told, String>) {
        match read {
            Ok(told) => {
                self.summary.read.count(&told.tidings);
                self.told.push(told);
                self.lines.push(line);
            }
            Err(reason) => self.summary.rejected.push(Rejected { line, reason }),
        }
    }
}

impl Teller {
    /// Reads a text of thousands of lines, which takes milliseconds, on a thread that stands back behind all that serve calls.
    pub async fn read_aside(self, kind: Kind, text: impl AsRef<[u8]> + Send + 'static) -> Result<Parsed, ImportError> {
        let (sender, parsed) = oneshot::channel();
        // A thread of its own: one of the runtime's could not come forward again for the next who uses it.
        std::thread::Builder::new()
            .name("import-reader".to_owned())
            .spawn(move || {
                stand_back();
                // Who asked may have gone.
                let _ = sender.send(self.read(kind, text.as_ref()));
            })
            .map_err(|error| ImportError::Reading(error.to_string()))?;
        parsed.await.map_err(|_| ImportError::Reading("its reader failed".to_owned()))?
    }

    /// Reads a text, on this thread.
    pub fn read(&self, kind: Kind, text: &[u8]) -> Result<Parsed, ImportError> {
        match kind {
            Kind::Export => self.read_export(text),
            Kind::Lines => Ok(self.read_lines(text)),
        }
    }

    fn read_export(&self, text: &[u8]) -> Result<Parsed, ImportError> {
        let mut parsed = Parsed::default();
        let blank = text.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let (before, text) = text.split_at(blank);
        let before = pieces::breaks_in(before);
        let mut reader = csv::ReaderBuilder::new().flexible(true).terminator(LINE_FEED).from_reader(text);
        let columns = reader
            .byte_headers()
            .map_err(|error| error.to_string())
            .and_then(Columns::of)
            .map_err(ImportError::Form)?;
        parsed.summary.unknown_columns = columns.unknown().iter().take(MAX_UNKNOWN).cloned().collect();
        let mut record = csv::ByteRecord::new();
        // Reading from memory, without demanding cells of any number or coding, can not fail.
        while reader.read_byte_record(&mut record).is_ok_and(|more| more) {
            let Some(position) = record.position() else { continue };
            let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(text.len());
            let raw = text.get(place(position.byte())..place(reader.position().byte())).unwrap_or_default();
            if pieces::content(raw.trim_ascii()).is_empty() {
                continue;
            }
            let line = before + line_of(position, text);
            let read = columns.read(&record).map(|line| {
                let now = self.clock.now();
                Told {
                    call_id: self.entropy.call_id(now),
                    at: now,
                    generation_id: line.id,
                    key: self.key_at_openrouter(line.key_name),
                    tally_key: None,
                    attribution: line.attribution,
                    tidings: Tidings::Export(Box::new(line.exported)),
                }
            });
            parsed.take(line, read);
        }
        Ok(parsed)
    }

    fn read_lines(&self, text: &[u8]) -> Parsed {
        let mut parsed = Parsed::default();
        for (line, text) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            let text = pieces::content(text);
            if !text.is_empty() {
                parsed.take(line, lines::read(text, self));
            }
        }
        parsed
    }

    /// The key that has this name here, else OpenRouter's name alone.
    fn key_at_openrouter(&self, name: Option<String>) -> Option<KeyRef> {
        let name = name?;
        let fingerprint = self.keys.get(&name).cloned();
        Some(KeyRef { name, fingerprint })
    }
}

/// Has this thread stand back behind those that serve calls, for good.
pub fn stand_back() {
    // Only Linux has it of one thread; elsewhere all of the process would stand back.
    if cfg!(target_os = "linux") {
        let _ = rustix::process::nice(NICENESS);
    }
}

/// The line at which a record begins: its position may still be at the line breaks before it.
fn line_of(position: &csv::Position, text: &[u8]) -> u64 {
    let from = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let before = text.get(from..).unwrap_or_default().iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    position.line() + before.filter(|byte| **byte == b'\n').count() as u64
}

/// Writes what was read, between live traffic, and says what became of it.
pub async fn write(ledger: &Ledger, parsed: Parsed) -> Result<Summary, LedgerError> {
    let Parsed { told, lines, mut summary } = parsed;
    let verdicts = ledger.import(told, PATIENCE).await?;
    for (line, verdict) in lines.into_iter().zip(verdicts) {
        match verdict {
            Verdict::Recorded => summary.new += 1,
            Verdict::Known => summary.known += 1,
            Verdict::Changed => summary.changed += 1,
            Verdict::SetAside => {
                let reason = "the database refuses it; the log says why".to_owned();
                summary.rejected.push(Rejected { line, reason });
            }
        }
    }
    summary.rejected.sort_by_key(|rejected| rejected.line);
    Ok(summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    #[test]
    fn every_line_of_an_export_is_taken_or_rejected_once_and_blank_ones_are_none() {
        let clock = Clock::manual(Timestamp(1_795_082_400_000));
        let teller = Teller { clock, entropy: Entropy::seeded(1), keys: NamedKeys::new() };
        let text = b"\r\n\ngeneration_id,cost_total,app_name\r\n\r\ngen-1,1,a\rb\r\n  \r\n\xef\xbb\xbf\ngen-2,2\rgen-3,3\n\"\"\r\ngen-4,4,c";
        let parsed = teller.read(Kind::Export, text).unwrap();
        let told: Vec<&str> = parsed.told.iter().map(|told| told.generation_id.as_str()).collect();
        assert_eq!((told, parsed.lines), (vec!["gen-1", "gen-4"], vec![5, 10]));
        assert_eq!(parsed.told[0].attribution.app.as_deref(), Some("a b"), "a carriage return ends no line");
        assert_eq!(parsed.summary.rejected.iter().map(|rejected| rejected.line).collect::<Vec<u64>>(), [8, 9]);
    }
}
