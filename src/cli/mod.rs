//! The command line: what each command is told, and which exit code it ends with.
//!
//! 0 done, 1 failed, 2 wrong usage. Results go to standard output, everything else to standard error.

mod budget;
mod check;
mod daemon;
mod demo;
mod export;
mod import;
mod key;
mod record;
mod report;
mod screen;
mod serve;
mod sql;
mod streaming;
mod verify;

use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use secrecy::SecretString;

use crate::clock::{Clock, Entropy};
use crate::config::{Config, Flags, Loaded, Sources};
use crate::store::console::worker;

/// Knows what every OpenRouter completion really cost, and says so before the budget is gone.
#[derive(Debug, Parser)]
#[command(name = "tallyd", version, about, max_term_width = 100, infer_subcommands = false)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct Global {
    /// The configuration file [default: ./tallyd.toml, then the XDG and /etc places]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The address to serve, or of the running daemon
    #[arg(long, global = true, value_name = "ADDRESS")]
    listen: Option<String>,
    #[arg(long, global = true, value_name = "URL", help = "The ledger: sqlite:/path/to/file or postgres://…")]
    database_url: Option<String>,
    /// What is logged: error, warn, info, debug, trace
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl Global {
    fn is_given(&self) -> bool {
        self.config.is_some() || self.listen.is_some() || self.database_url.is_some() || self.log_level.is_some()
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon; what tallyd alone does
    Serve,
    /// Run the daemon against a simulated OpenRouter with a month of history: no key, no network
    Demo(demo::Demo),
    /// Tell the daemon of generation IDs
    Record(record::Record),
    /// Take over OpenRouter's log export, or IDs, replies and generation records that were kept
    Import(import::Import),
    /// List, make, change and remove budgets
    Budget(budget::Budget),
    /// Let the running daemon read its configuration anew: its budgets hold at once
    Reload,
    /// Make, list and revoke tally keys
    Key(key::Key),
    /// Show spend as a table
    Report(report::Report),
    /// Take completions away as CSV, NDJSON, Parquet or FOCUS
    Export(Box<export::Export>),
    /// Ask the ledger in SQL, read-only
    Sql(sql::Sql),
    /// One query, for a daemon that asks on standard input
    #[command(name = worker::COMMAND, hide = true)]
    SqlWorker,
    /// Check configuration, database, OpenRouter key, mail server, clock and disk
    Check(check::Check),
    /// Recompute all sums from the rows and name each difference
    Verify,
}

/// What a command failed with: a message for people that says what to do.
type Outcome = anyhow::Result<Ending>;

/// How a command that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// What was asked for is done.
    Done,
    /// It was done, and what it found is not good (a check that failed, a difference).
    Found,
    /// The command was told something that it can not do.
    Usage,
}

/// What every command is given.
struct Surroundings {
    sources: Sources,
    clock: Clock,
    entropy: Entropy,
}

impl Surroundings {
    fn load(&self) -> anyhow::Result<Loaded> {
        Ok(Config::load(&self.sources)?)
    }
}

/// Reads the arguments, runs the command, and says how it ended.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are printed to standard output and are no failure.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    if let (Some(Command::Demo(_)), true) = (&arguments.command, arguments.global.is_given()) {
        say_beside(
            "tallyd: the demo takes no settings; it finds a free port and a temporary folder itself. Run `tallyd demo` alone",
        );
        return ExitCode::from(2);
    }
    let flags = Flags {
        config: arguments.global.config,
        listen: arguments.global.listen,
        database_url: arguments.global.database_url.map(SecretString::from),
        log_level: arguments.global.log_level,
    };
    match execute(arguments.command.unwrap_or(Command::Serve), flags) {
        Ok(Ending::Done) => ExitCode::SUCCESS,
        Ok(Ending::Found) => ExitCode::from(1),
        Ok(Ending::Usage) => ExitCode::from(2),
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say_beside(format_args!("tallyd: {}", sentence(&error)));
            ExitCode::from(1)
        }
    }
}

fn execute(command: Command, flags: Flags) -> Outcome {
    if matches!(command, Command::SqlWorker) {
        return sql::work();
    }
    let sources = Sources::of_process(flags)?;
    let surroundings = Surroundings { sources, clock: Clock::system(), entropy: Entropy::system() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Serve => serve::run(surroundings).await,
            Command::Demo(demo) => demo.run(surroundings).await,
            Command::Record(record) => record.run(surroundings).await,
            Command::Import(import) => import.run(surroundings).await,
            Command::Budget(budget) => budget.run(surroundings).await,
            Command::Reload => budget::reload(surroundings).await,
            Command::Key(key) => key.run(surroundings).await,
            Command::Report(report) => report.run(surroundings).await,
            Command::Export(export) => export.run(surroundings).await,
            Command::Sql(sql) => sql.run(surroundings).await,
            Command::SqlWorker => sql::work(),
            Command::Check(check) => check.run(surroundings).await,
            Command::Verify => verify::run(surroundings).await,
        }
    })
}

/// Whether whoever reads the results (`| head -1`) has had enough of them, which is no failure. Connections that break
/// come with words of ours around them.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Says something beside the results, on standard error; if nobody listens there, it stays unsaid.
fn say_beside(words: impl Display) {
    let _ = writeln!(io::stderr(), "{words}");
}

/// The whole chain of an error in one sentence, without saying the same thing twice.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.contains(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
    text
}
