//! `tallyd import`: history from before tallyd, and what no gateway saw.
//!
//! A file goes to the daemon (or, where none runs, into the ledger) in pieces of whole lines, so that memory does not grow
//! with it, and what is already there is only known. Lines that can not be taken are kept beside the file.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;

use super::daemon::{Asked, Daemon};
use super::{Ending, Outcome, Surroundings};
use crate::app::offline;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::time::Timestamp;
use crate::import::gaps::Search;
use crate::import::pieces::{Cutter, MAX_LINE, Piece};
use crate::import::{self, Counts, Kind, Rejected, Summary, Teller};
use crate::ledger::Ledger;
use crate::openrouter::{Client, Timeouts};
use crate::report::format::count;
use crate::report::span::parse_time;

/// Where the daemon takes pieces.
const PATH: &str = "/tally/v1/import";

/// How long the daemon may take for a piece.
const TIMEOUT: Duration = Duration::from_mins(5);

/// Pieces under way: while one is written, another waits and the next is read.
const AT_ONCE: usize = 3;

/// Lines named one by one; further ones are only counted, and all are in the file of rejects.
const NAMED: u64 = 20;

/// How often the progress is drawn, in a second.
const DRAWN: u8 = 8;

/// Take over the log export of OpenRouter (CSV), or NDJSON of generation IDs, replies or generation records. Importing something
/// twice changes nothing. Lines that can not be taken are kept in FILE.rejects.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// What to read; - is standard input
    #[arg(value_name = "FILE", required_unless_present = "from_openrouter")]
    files: Vec<PathBuf>,
    /// Ask OpenRouter which generations there were, with `openrouter.management_key`, and read those the ledger never saw
    #[arg(long, conflicts_with = "files")]
    from_openrouter: bool,
    /// From when: a date, an instant, or a span back such as 7d [default: 31 days ago, as far as OpenRouter tells]
    #[arg(long, requires = "from_openrouter", conflicts_with = "files", value_name = "TIME")]
    since: Option<String>,
}

/// Where pieces go.
enum Sink<'a> {
    Daemon(Daemon<'a>),
    Here { ledger: &'a Ledger, teller: Teller },
}

impl Sink<'_> {
    async fn send(&self, kind: Kind, text: Vec<u8>) -> anyhow::Result<Summary> {
        match self {
            Self::Daemon(daemon) => {
                match daemon.ask(Method::POST, PATH, Some((kind.content_type(), text.into()))).await? {
                    Asked::Answered(answer) => {
                        serde_json::from_value(answer).context("the daemon's answer is not understood")
                    }
                    Asked::NotRunning => anyhow::bail!(
                        "the daemon has gone; what it said it took is kept. Run the import again: nothing is counted twice"
                    ),
                }
            }
            Self::Here { ledger, teller } => {
                let parsed = teller.clone().read_aside(kind, text).await?;
                Ok(import::write(ledger, parsed).await?)
            }
        }
    }
}

impl Import {
    pub(super) async fn run(self, surroundings: Surroundings) -> Outcome {
        let config = surroundings.load()?.config;
        let clock = &surroundings.clock;
        let since = match &self.since {
            None => Timestamp(0),
            Some(text) => match parse_time(text, config.time_zone, clock.now()) {
                Ok(since) => since,
                Err(error) => {
                    eprintln!("tallyd: {error}");
                    return Ok(Ending::Usage);
                }
            },
        };
        let daemon = Daemon::new(&config, TIMEOUT)?;
        // A piece of nothing tells whether a daemon is there, before anything is read.
        if let Asked::Answered(_) =
            daemon.ask(Method::POST, PATH, Some((Kind::Lines.content_type(), bytes::Bytes::new()))).await?
        {
            import::stand_back();
            return self.import(&config, clock, since, &Sink::Daemon(daemon)).await;
        }
        let entropy = &surroundings.entropy;
        let importing = async |ledger: &Ledger, keys| {
            let teller = Teller { clock: clock.clone(), entropy: entropy.clone(), keys };
            self.import(&config, clock, since, &Sink::Here { ledger, teller }).await
        };
        offline::holding(&config, clock, entropy, importing).await?
    }

    async fn import(&self, config: &Config, clock: &Clock, since: Timestamp, sink: &Sink<'_>) -> Outcome {
        if self.from_openrouter {
            return fill_gaps(config, clock, since, sink).await;
        }
        let mut ending = Ending::Done;
        for path in &self.files {
            if import_file(path, clock, sink).await? > 0 {
                ending = Ending::Found;
            }
        }
        Ok(ending)
    }
}

/// Imports a file; returns how many lines were rejected.
async fn import_file(path: &Path, clock: &Clock, sink: &Sink<'_>) -> anyhow::Result<u64> {
    let is_stdin = path == Path::new("-");
    let name = if is_stdin { "standard input".to_owned() } else { path.display().to_string() };
    let (input, bytes): (Box<dyn BufRead>, Option<u64>) = if is_stdin {
        (Box::new(BufReader::new(io::stdin())), None)
    } else {
        let file = File::open(path).with_context(|| format!("{name} can not be read"))?;
        let bytes = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len());
        (Box::new(BufReader::with_capacity(64 * 1024, file)), bytes)
    };
    let cutter = Cutter::open(input).with_context(|| format!("{name} can not be read"))?;
    let mut cutter = cutter.with_context(|| {
        format!(
            "{name} is neither OpenRouter's log export (CSV with a column generation_id) nor NDJSON of generation IDs, \
             replies or generation records"
        )
    })?;
    let kind = cutter.kind();
    let rejects = if is_stdin { PathBuf::from("stdin.rejects") } else { with_ending(path, ".rejects") };
    let mut rejects =
        Rejects { path: rejects, file: None, header: cutter.header().to_vec(), count: 0, name: name.clone() };
    let mut tally = Tally::new(bytes, clock);
    let mut under_way = FuturesOrdered::new();
    loop {
        while under_way.len() < AT_ONCE
            && let Some(piece) =
                cutter.next(|part| rejects.keep(part)).with_context(|| format!("{name} can not be read on"))?
        {
            for long in &piece.too_long {
                rejects.name(long.line, &format!("it is longer than {MAX_LINE} bytes"), &tally.bar);
            }
            if !piece.is_empty() {
                under_way.push_back(async move {
                    let summary = sink.send(kind, piece.text.clone()).await;
                    summary.map(|summary| (piece, summary))
                });
            }
        }
        let Some(done) = under_way.next().await else { break };
        let (piece, summary) = done.inspect_err(|_| tally.bar.abandon())?;
        for Rejected { line, reason } in &summary.rejected {
            if let Some((number, text)) = piece.line(*line) {
                rejects.keep(text).with_context(|| format!("{} can not be written", rejects.path.display()))?;
                rejects.name(number, reason, &tally.bar);
            }
        }
        tally.add(&piece, &summary);
    }
    tally.bar.finish_and_clear();
    rejects.finish()?;
    writeln!(io::stdout().lock(), "{}", tally.told(&name, &rejects))?;
    if !tally.unknown_columns.is_empty() {
        let columns: Vec<&str> = tally.unknown_columns.iter().map(String::as_str).collect();
        eprintln!("{name}: nothing is read from columns that are not known here: {}", columns.join(", "));
    }
    Ok(rejects.count)
}

/// What came of a file so far.
struct Tally {
    sum: Summary,
    lines: u64,
    unknown_columns: BTreeSet<String>,
    bar: ProgressBar,
    clock: Clock,
    began: Duration,
}

impl Tally {
    fn new(bytes: Option<u64>, clock: &Clock) -> Self {
        // Where standard error is no terminal, nothing is drawn.
        let target = indicatif::ProgressDrawTarget::stderr_with_hz(DRAWN);
        let bar = ProgressBar::with_draw_target(bytes, target);
        let template = match bytes {
            Some(_) => "{wide_bar} {bytes}/{total_bytes}  {msg}  {eta} left",
            None => "{spinner} {bytes}  {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message("0 rows");
        let unknown_columns = BTreeSet::new();
        Self { sum: Summary::default(), lines: 0, unknown_columns, bar, clock: clock.clone(), began: clock.elapsed() }
    }

    fn add(&mut self, piece: &Piece, summary: &Summary) {
        self.sum.new += summary.new;
        self.sum.known += summary.known;
        self.sum.changed += summary.changed;
        self.sum.read.add(summary.read);
        self.unknown_columns.extend(summary.unknown_columns.iter().cloned());
        self.lines += piece.lines() as u64;
        let micros = self.clock.elapsed().saturating_sub(self.began).as_micros().max(1);
        let rate = u64::try_from(u128::from(self.lines) * 1_000_000 / micros).unwrap_or(u64::MAX);
        self.bar.set_message(format!("{} rows, {}/s", number(self.lines), number(rate)));
        self.bar.set_position(piece.read);
    }

    fn told(&self, name: &str, rejects: &Rejects) -> String {
        let Counts { export_lines, ids, replies, records } = self.sum.read;
        let kinds = [
            (export_lines, "lines of the log export"),
            (ids, "generation IDs"),
            (replies, "replies"),
            (records, "generation records"),
        ];
        let read: Vec<String> =
            kinds.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", number(*n))).collect();
        let read = if read.is_empty() { "nothing".to_owned() } else { read.join(", ") };
        let Summary { new, known, changed, .. } = &self.sum;
        let mut told = format!(
            "{name}: {read}: {} new, {} known already, {} changed",
            number(*new),
            number(*known),
            number(*changed)
        );
        if rejects.count > 0 {
            let _ = write!(told, ", {} rejected (kept in {})", number(rejects.count), rejects.path.display());
        }
        told
    }
}

fn number(n: u64) -> String {
    count(i64::try_from(n).unwrap_or(i64::MAX))
}

/// Lines that were not taken, kept as they are.
struct Rejects {
    path: PathBuf,
    /// Made when the first line comes.
    file: Option<io::BufWriter<File>>,
    /// The log export's, so that the file can be mended and imported.
    header: Vec<u8>,
    count: u64,
    name: String,
}

impl Rejects {
    fn keep(&mut self, text: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            let mut options = File::options();
            let file = options.write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
            let mut file = io::BufWriter::new(file);
            file.write_all(&self.header)?;
            self.file = Some(file);
        }
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(text))
    }

    fn name(&mut self, line: u64, reason: &str, bar: &ProgressBar) {
        self.count += 1;
        if self.count <= NAMED {
            let name = &self.name;
            bar.suspend(|| eprintln!("{name}, line {line}: {reason}"));
        } else if self.count == NAMED + 1 {
            bar.suspend(|| {
                eprintln!("{}: further lines that can not be taken are in {}", self.name, self.path.display());
            });
        }
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        let flushed = self.file.as_mut().map_or(Ok(()), io::Write::flush);
        flushed.with_context(|| format!("{} can not be written", self.path.display()))
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Asks OpenRouter which generations there were, and tells the ledger those it never saw.
async fn fill_gaps(config: &Config, clock: &Clock, since: Timestamp, sink: &Sink<'_>) -> Outcome {
    let Some(key) = &config.openrouter.management_key else {
        eprintln!(
            "tallyd: openrouter.management_key is not set; make one at https://openrouter.ai/settings/management-keys and \
             give it as OPENROUTER_MANAGEMENT_KEY"
        );
        return Ok(Ending::Usage);
    };
    let timeouts = Timeouts { connect: config.openrouter.connect_timeout, reading: config.settle.timeout };
    let client = Client::new(&config.openrouter.base_url, timeouts, clock.clone())?;
    let mut search = Search::new(client, key.clone(), clock.clone(), since);
    let mut tally = Tally::new(None, clock);
    let found = async {
        while let Some(ids) = search.next().await.context("OpenRouter's analytics could not be asked")? {
            let mut piece = Piece::default();
            for id in &ids {
                piece.push(id.as_str().as_bytes());
            }
            let summary = sink.send(Kind::Lines, piece.text.clone()).await?;
            tally.add(&piece, &summary);
        }
        anyhow::Ok(())
    };
    let found = found.await;
    tally.bar.finish_and_clear();
    found?;
    let Summary { new, known, changed, .. } = &tally.sum;
    let known = known + changed;
    writeln!(
        io::stdout().lock(),
        "OpenRouter names {} generations: {} the ledger never saw, {} known already. What is new is read with \
         openrouter.api_key as the daemon runs",
        number(new + known),
        number(*new),
        number(known)
    )?;
    if search.odd() > 0 {
        eprintln!("{} more have no generation ID (gen-…) and can not be read", number(search.odd()));
    }
    if search.cut() > 0 {
        eprintln!("OpenRouter named only a part of those in {} of the shortest spans of time", number(search.cut()));
    }
    Ok(Ending::Done)
}
