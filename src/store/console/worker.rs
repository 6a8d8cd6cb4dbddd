//! A query in a process of its own: bounded in memory, behind everything else on the machine, ended at any instant.
//!
//! SQLite runs where it is called: within the daemon a query would share SQLite's own locks and page cache with the ledger's
//! writer, no bound could be set on its memory, and what takes long within one step could not be ended. A row of PostgreSQL's may
//! be a gigabyte long, and is held whole by whoever asked. So the daemon starts its own program once more, as `tallyd
//! sql-worker`, writes one task to it, and reads lines: the columns' names, rows, and how it ended. The worker knows no secret
//! but the database's URL: its environment is empty, what tells how to reach PostgreSQL apart.

use std::ffi::OsStr;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Resource, Rlimit};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

use super::{Gathered, MAX_QUERY, Meter, Place, Refusal, Sink, SqlError, SqlLimits, Target, Task, answer};
use crate::clock::Clock;
use crate::domain::table::{Cell, Table};
use crate::store::StoreError;

/// The command of the program that is a worker.
pub const COMMAND: &str = "sql-worker";

/// How long beyond the query's own time a worker may take to say that it was too long.
const GRACE: Duration = Duration::from_secs(1);

/// What a worker takes before its query begins, in bytes: the program itself, its stack.
const OWN_MEMORY: u64 = 64 * 1024 * 1024;

/// Longest task, in bytes; a query and its parameters as JSON, each of whose bytes may be escaped.
const MAX_TASK: u64 = 16 * MAX_QUERY as u64;

/// Most bytes of JSON for one byte of a cell: an escaped control character.
const ESCAPED: u64 = 6;

/// What names and punctuation add to a line, in bytes.
const AROUND: u64 = 1024 * 1024;

/// Longest file that it may write, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// How far it stands back: a tenth of what a call through the gateway gets where both want the processor. Further back, a query
/// on a busy machine would reach its bound in time before it began.
const NICENESS: i32 = 10;

/// A line that a worker writes.
#[derive(Debug, Serialize, Deserialize)]
enum Line {
    Columns(Vec<String>),
    Row(Vec<Wire>),
    /// A bound is reached: which.
    Cut(String),
    End(Ended),
}

/// How a query ended.
#[derive(Debug, Serialize, Deserialize)]
enum Ended {
    Done,
    Refused { message: String, place: Option<Place> },
    TimedOut,
    TooLarge,
    NotAvailable(String),
    Busy,
    Store(String),
}

/// A cell on its way.
#[derive(Debug, Serialize, Deserialize)]
enum Wire {
    N,
    I(i64),
    R(f64),
    D(String),
    B(bool),
    T(String),
}

impl From<Cell> for Wire {
    fn from(cell: Cell) -> Self {
        match cell {
            Cell::Null => Self::N,
            Cell::Integer(number) => Self::I(number),
            Cell::Real(number) => Self::R(number),
            Cell::Decimal(text) => Self::D(text),
            Cell::Boolean(truth) => Self::B(truth),
            Cell::Text(text) => Self::T(text),
        }
    }
}

impl From<Wire> for Cell {
    fn from(wire: Wire) -> Self {
        match wire {
            Wire::N => Self::Null,
            Wire::I(number) => Self::Integer(number),
            Wire::R(number) => Self::Real(number),
            Wire::D(text) => Self::Decimal(text),
            Wire::B(truth) => Self::Boolean(truth),
            Wire::T(text) => Self::Text(text),
        }
    }
}

/// Has a worker of `program` answer; dropped, the worker is killed.
pub(super) async fn ask(program: &Path, task: &Task, clock: &Clock) -> Result<Table, SqlError> {
    let broken = |error: std::io::Error| {
        SqlError::NotAvailable(format!(
            "the query's own process can not be started or spoken to ({error}); start tallyd again"
        ))
    };
    let mut child = Command::new(program)
        .arg(COMMAND)
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| is_needed(name, &task.target)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(broken)?;
    let limits = task.limits;
    let answered = clock.timeout(limits.time + GRACE, converse(&mut child, task)).await;
    // It is asked for nothing more; one that has ended already does not mind. Waited for, so that it leaves no zombie.
    let _ = child.kill().await;
    match answered {
        None => Err(SqlError::TimedOut(limits.time)),
        Some(answered) => answered.map_err(broken)?,
    }
}

/// What PostgreSQL's URLs leave out, its clients look up.
fn is_needed(variable: &OsStr, target: &Target) -> bool {
    matches!(target, Target::Postgres { .. })
        && variable.to_str().is_some_and(|name| name.starts_with("PG") || name == "HOME" || name == "USER")
}

async fn converse(child: &mut Child, task: &Task) -> std::io::Result<Result<Table, SqlError>> {
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(std::io::Error::other("it has no streams"));
    };
    // It reads the whole task before it says anything.
    input.write_all(&serde_json::to_vec(task)?).await?;
    drop(input);
    let mut gathered = Gathered::new(&task.limits);
    let mut lines = BufReader::new(output);
    let longest = AROUND + ESCAPED * u64::try_from(task.limits.bytes).unwrap_or(u64::MAX / ESCAPED / 2);
    let mut line = Vec::new();
    loop {
        line.clear();
        (&mut lines).take(longest).read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            // It ended without a word: the system took it away, or its own memory did not suffice to say so.
            return Ok(Err(match child.wait().await?.code() {
                None => SqlError::TooLarge(task.limits.memory),
                Some(_) => Refusal::from("the query broke off; make it simpler".to_owned()).into(),
            }));
        }
        match serde_json::from_slice(&line)? {
            Line::Columns(columns) => gathered.columns(columns),
            Line::Row(row) => {
                if !gathered.row(row.into_iter().map(Cell::from).collect()) {
                    return Ok(Ok(gathered.table));
                }
            }
            Line::Cut(why) => {
                gathered.table.cut = Some(why);
                return Ok(Ok(gathered.table));
            }
            Line::End(ended) => return Ok(ended.of(task).map(|()| gathered.table)),
        }
    }
}

impl Ended {
    fn of(self, task: &Task) -> Result<(), SqlError> {
        Err(match self {
            Self::Done => return Ok(()),
            Self::Refused { message, place } => SqlError::Refused(Refusal { message, place }),
            Self::TimedOut => SqlError::TimedOut(task.limits.time),
            Self::TooLarge => SqlError::TooLarge(task.limits.memory),
            Self::NotAvailable(why) => SqlError::NotAvailable(why),
            Self::Busy => StoreError::Busy.into(),
            Self::Store(what) => SqlError::NotAvailable(what),
        })
    }

    fn from(answered: Result<(), SqlError>) -> Self {
        match answered {
            Ok(()) => Self::Done,
            Err(SqlError::Refused(Refusal { message, place })) => Self::Refused { message, place },
            Err(SqlError::TimedOut(_)) => Self::TimedOut,
            Err(SqlError::TooLarge(_)) => Self::TooLarge,
            Err(SqlError::NotAvailable(why)) => Self::NotAvailable(why),
            Err(SqlError::Store(StoreError::Busy) | SqlError::Busy) => Self::Busy,
            Err(SqlError::Store(error)) => Self::Store(error.to_string()),
            Err(SqlError::Unbound(names)) => {
                Self::Refused { message: SqlError::Unbound(names).to_string(), place: None }
            }
        }
    }
}

/// Writes lines; when nobody reads them any more, no more is wanted.
struct Writing<W: Write> {
    output: BufWriter<W>,
    meter: Meter,
}

impl<W: Write> Writing<W> {
    fn line(&mut self, line: &Line) -> std::io::Result<()> {
        serde_json::to_writer(&mut self.output, line)?;
        self.output.write_all(b"\n")
    }
}

impl<W: Write> Sink for Writing<W> {
    fn columns(&mut self, columns: Vec<String>) {
        // What can not be written is told by the first row.
        let _ = self.line(&Line::Columns(columns));
    }

    fn row(&mut self, row: Vec<Cell>) -> bool {
        match self.meter.count(&row) {
            Some(why) => {
                let _ = self.line(&Line::Cut(why));
                false
            }
            None => self.line(&Line::Row(row.into_iter().map(Wire::from).collect())).is_ok(),
        }
    }
}

/// Is a worker: reads a task, bounds this process by it, and writes what the query answers. Keeps the thread.
pub async fn serve(input: impl Read, output: impl Write + Send, clock: &Clock) -> std::io::Result<()> {
    let task: Task = serde_json::from_reader(input.take(MAX_TASK))?;
    stand_back(&task.limits);
    let mut writing = Writing { output: BufWriter::new(output), meter: Meter::new(&task.limits) };
    let answered = answer(&task, clock, &mut writing).await;
    writing.line(&Line::End(Ended::from(answered)))?;
    writing.output.flush()
}

/// Bounds this process. Where the system refuses one of these, the others hold, and the daemon ends what takes too long.
fn stand_back(limits: &SqlLimits) {
    let set = |resource, most: u64| {
        let _ = rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
    };
    set(Resource::Data, limits.memory.saturating_add(OWN_MEMORY));
    set(Resource::Core, 0);
    // No file of its grows on the disk; SQLite may make the index of its log anew.
    set(Resource::Fsize, MAX_FILE);
    set(Resource::Cpu, (limits.time + GRACE).as_secs() + 1);
    let _ = rustix::process::nice(NICENESS);
    // If memory gets short on the machine, this process is the first to go.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
}
