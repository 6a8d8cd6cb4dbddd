//! SQL that people write: read-only, over the documented views, bounded in time, rows, bytes and memory.
//!
//! Two fences stand behind each other. Here the text is read for what no honest query needs
//! ([`guard`]); and the database itself is told to allow reading the views and nothing else: SQLite
//! by an authorizer, PostgreSQL by a role that owns nothing. A daemon has each query answered by a
//! process of its own ([`worker`]), which can be bounded in memory, stands back for everything else on
//! the machine, and can be ended at any instant.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::domain::table::{Cell, Table};

use super::connect::Location;
use super::{Engine, StoreError};

mod guard;
mod postgres;
mod sqlite;
pub mod worker;

/// The documented views (docs/sql.md), all that a query may read.
pub const VIEWS: [&str; 12] = [
    "usage",
    "usage_tags",
    "spend_by_day",
    "spend_by_bucket",
    "budget_status",
    "budget_values",
    "budget_limits",
    "budget_changes",
    "budget_forecast",
    "alert_history",
    "spike_history",
    "refusals",
];

/// Longest query read, in bytes.
pub const MAX_QUERY: usize = 256 * 1024;

/// Longest value of a parameter, in bytes.
pub const MAX_VALUE: usize = 64 * 1024;

/// Longest message about a query, in characters.
const MAX_MESSAGE: usize = 600;

/// Queries that may wait for their turn for each that runs; further ones are told to try later.
const WAITING_FOR_EACH: usize = 8;

/// Bounds of one query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlLimits {
    /// Longest time it may run.
    pub time: Duration,
    /// Most rows returned.
    pub rows: usize,
    /// Most bytes returned, as text.
    pub bytes: usize,
    /// Most memory it may take, in bytes: of the process that answers on SQLite, for sorting and grouping on PostgreSQL.
    pub memory: u64,
}

impl Default for SqlLimits {
    fn default() -> Self {
        Self { time: Duration::from_secs(5), rows: 100_000, bytes: 16 * 1024 * 1024, memory: 256 * 1024 * 1024 }
    }
}

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Real(f64),
    /// Text.
    Text(String),
}

impl Value {
    /// What somebody typed: a number where it is written as one, else text.
    pub fn typed(text: &str) -> Self {
        let integer = text.parse::<i64>().ok().filter(|number| number.to_string() == text);
        let plain = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
        let real = || text.parse::<f64>().ok().filter(|number| plain && number.is_finite() && text.contains('.'));
        integer.map(Self::Integer).or_else(|| real().map(Self::Real)).unwrap_or_else(|| Self::Text(text.to_owned()))
    }
}

/// A query and the values of its parameters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// One statement.
    pub query: String,
    /// Names, without the colon, and values; those that the query does not name are left alone.
    pub parameters: Vec<(String, Value)>,
}

impl From<&str> for Question {
    fn from(query: &str) -> Self {
        Self { query: query.to_owned(), parameters: Vec::new() }
    }
}

/// What a query answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Its rows.
    pub table: Table,
    /// How long it ran, its wait for a turn left out.
    pub took: Duration,
}

/// A place in a query, as editors count: from 1, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character of it.
    pub column: usize,
}

/// Why a query is not run, or failed: its own fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What is wrong and what to do.
    pub message: String,
    /// Where; `None`: nowhere, or nobody says.
    pub place: Option<Place>,
}

impl Refusal {
    /// At a byte of the query.
    fn at(query: &str, byte: usize, message: impl Into<String>) -> Self {
        let before = query.get(..byte).unwrap_or(query);
        let line = before.rsplit('\n').next().unwrap_or(before);
        let place = Place { line: before.matches('\n').count() + 1, column: line.chars().count() + 1 };
        Self { place: Some(place), ..message.into().into() }
    }
}

impl From<String> for Refusal {
    /// An engine may repeat as much of the query as it likes; a message has a length.
    fn from(mut message: String) -> Self {
        if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE) {
            message.truncate(end);
            message.push('…');
        }
        Self { message, place: None }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.place {
            Some(Place { line, column }) => write!(f, " (line {line}, column {column})"),
            None => Ok(()),
        }
    }
}

/// Why a query gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// The query is not allowed, wrong, or refers to what is not there.
    #[error("{0}")]
    Refused(Refusal),
    /// Parameters that it names were given no value.
    #[error("give a value for {}", .0.iter().map(|name| format!(":{name}")).collect::<Vec<_>>().join(", "))]
    Unbound(Vec<String>),
    /// It ran too long.
    #[error("the query took longer than {} s (sql.time_limit); narrow it, for example by created_ms", .0.as_secs_f64())]
    TimedOut(Duration),
    /// It took too much memory.
    #[error(
        "the query needed more than {} MiB of memory (sql.memory); group or sort fewer rows, for example by filtering on created_ms",
        .0 >> 20
    )]
    TooLarge(u64),
    /// Others run and wait.
    #[error("as many queries run and wait as may (sql.concurrency); try again in a moment")]
    Busy,
    /// This database can not answer safely; says why and what to do.
    #[error("{0}")]
    NotAvailable(String),
    /// The database itself.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Refusal> for SqlError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Where questions of pages and programs are answered: a few at a time, the others waiting their turn.
#[derive(Clone)]
pub struct Console {
    target: Target,
    limits: SqlLimits,
    /// The program whose worker answers; `None`: this process does.
    program: Option<PathBuf>,
    turns: Arc<Semaphore>,
    /// Those that run and wait.
    places: Arc<Semaphore>,
    clock: Clock,
}

/// The database, opened anew for each query.
#[derive(Clone, Serialize, Deserialize)]
enum Target {
    Sqlite(PathBuf),
    /// `reads_only`: the user of the URL may read the views alone, so no role need be taken.
    Postgres {
        url: String,
        reads_only: bool,
    },
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Console {
    /// Answers from the database at `url`, in this process; on PostgreSQL as the user of `reader_url`, where that is given.
    pub fn new(url: &str, reader_url: Option<&str>, limits: SqlLimits, clock: Clock) -> Result<Self, StoreError> {
        let target = match (Location::parse(url)?, reader_url) {
            (Location::Sqlite(path), _) => Target::Sqlite(path),
            (Location::Postgres(_), None) => Target::Postgres { url: url.to_owned(), reads_only: false },
            (Location::Postgres(_), Some(reader)) => match Location::parse(reader)? {
                Location::Postgres(_) => Target::Postgres { url: reader.to_owned(), reads_only: true },
                Location::Sqlite(_) => {
                    return Err(StoreError::Url("sql.reader_url is PostgreSQL's, as database_url is".to_owned()));
                }
            },
        };
        Ok(Self {
            target,
            limits,
            program: None,
            turns: Arc::new(Semaphore::new(1)),
            places: Arc::new(Semaphore::new(1 + WAITING_FOR_EACH)),
            clock,
        })
    }

    /// Runs so many queries at once, each in a worker of `program` (a tallyd), where there is one.
    #[must_use]
    pub fn shared(mut self, concurrency: usize, program: Option<PathBuf>) -> Self {
        self.turns = Arc::new(Semaphore::new(concurrency));
        self.places = Arc::new(Semaphore::new(concurrency * (1 + WAITING_FOR_EACH)));
        self.program = program;
        self
    }

    /// The bounds of a query.
    pub fn limits(&self) -> &SqlLimits {
        &self.limits
    }

    /// The engine that answers.
    pub fn engine(&self) -> Engine {
        match self.target {
            Target::Sqlite(_) => Engine::Sqlite,
            Target::Postgres { .. } => Engine::Postgres,
        }
    }

    /// The parameters that a query names, in the order of their first places; none where it would be refused.
    pub fn parameters(query: &str) -> Vec<String> {
        let checked = guard::check(query);
        checked.map(|checked| checked.names.iter().map(|&name| name.to_owned()).collect()).unwrap_or_default()
    }

    /// Answers a question once its turn has come. Dropped, the query is given up wherever it runs.
    pub async fn ask(&self, question: &Question) -> Result<Answer, SqlError> {
        if question.query.len() > MAX_QUERY {
            return Err(Refusal::from(format!("the query is longer than {MAX_QUERY} bytes")).into());
        }
        let checked = guard::check(&question.query)?;
        bound(&checked, &question.parameters)?;
        let _place = self.places.try_acquire().map_err(|_| SqlError::Busy)?;
        let turn = self.clock.timeout(self.limits.time, self.turns.acquire()).await;
        let Some(Ok(_turn)) = turn else { return Err(SqlError::Busy) };
        let began = self.clock.elapsed();
        let task = Task { target: self.target.clone(), question: question.clone(), limits: self.limits };
        let table = match &self.program {
            Some(program) => worker::ask(program, &task, &self.clock).await?,
            None => here(task, &self.clock).await?,
        };
        Ok(Answer { table, took: self.clock.elapsed().saturating_sub(began) })
    }
}

/// All that a query's own process is told.
#[derive(Clone, Serialize, Deserialize)]
struct Task {
    target: Target,
    question: Question,
    limits: SqlLimits,
}

/// Answers in this process.
async fn here(task: Task, clock: &Clock) -> Result<Table, SqlError> {
    let mut gathered = Gathered::new(&task.limits);
    let Target::Sqlite(path) = &task.target else {
        answer(&task, clock, &mut gathered).await?;
        return Ok(gathered.table);
    };
    let (path, question, limits, clock) = (path.clone(), task.question, task.limits, clock.clone());
    let blocking = tokio::task::spawn_blocking(move || {
        sqlite::run(&path, &question, &limits, &clock, &mut gathered)?;
        Ok(gathered.table)
    });
    blocking.await.map_err(|error| Refusal::from(format!("the query broke off: {error}")))?
}

/// Answers a task into `sink`; SQLite's keeps the thread.
async fn answer(task: &Task, clock: &Clock, sink: &mut (impl Sink + Send)) -> Result<(), SqlError> {
    match &task.target {
        Target::Sqlite(path) => sqlite::run(path, &task.question, &task.limits, clock, sink),
        Target::Postgres { url, reads_only } => {
            let Location::Postgres(connect) = Location::parse(url)? else {
                return Err(StoreError::Url("it is no PostgreSQL URL".to_owned()).into());
            };
            let checked = guard::check(&task.question.query)?;
            let values = bound(&checked, &task.question.parameters)?;
            let asked = postgres::Asked { checked: &checked, values: &values, reads_only: *reads_only };
            postgres::run(*connect, &asked, &task.limits, clock, sink).await
        }
    }
}

/// Runs one query, read-only, on the database at `url`, in this process.
pub async fn run(url: &str, query: &str, limits: &SqlLimits, clock: &Clock) -> Result<Table, SqlError> {
    Ok(Console::new(url, None, *limits, clock.clone())?.ask(&query.into()).await?.table)
}

/// The values of the query's parameters, in their order.
fn bound<'a>(checked: &guard::Checked<'_>, given: &'a [(String, Value)]) -> Result<Vec<&'a Value>, SqlError> {
    let mut values = Vec::with_capacity(checked.names.len());
    let mut missing = Vec::new();
    for name in &checked.names {
        let value = given.iter().find(|(given, _)| given == name).map(|(_, value)| value);
        match value {
            Some(Value::Text(text)) if text.contains('\0') || text.len() > MAX_VALUE => {
                let message =
                    format!("the value of :{name} holds a NUL character, or is longer than {MAX_VALUE} bytes");
                return Err(Refusal::from(message).into());
            }
            Some(value) => values.push(value),
            None => missing.push((*name).to_owned()),
        }
    }
    if missing.is_empty() { Ok(values) } else { Err(SqlError::Unbound(missing)) }
}

/// Whoever takes a result as it comes.
trait Sink {
    /// Takes the columns' names, first and once.
    fn columns(&mut self, columns: Vec<String>);

    /// Takes a row; `false`: no more is wanted.
    fn row(&mut self, row: Vec<Cell>) -> bool;
}

/// Counts rows and bytes up to their bounds.
struct Meter {
    rows: usize,
    bytes: usize,
    limits: SqlLimits,
}

impl Meter {
    fn new(limits: &SqlLimits) -> Self {
        Self { rows: 0, bytes: 0, limits: *limits }
    }

    /// Counts a row; where it is beyond a bound, it says which.
    fn count(&mut self, row: &[Cell]) -> Option<String> {
        if self.rows >= self.limits.rows {
            return Some(format!("only the first {} rows are given (sql.rows)", self.limits.rows));
        }
        self.bytes += row.iter().map(size).sum::<usize>();
        if self.bytes > self.limits.bytes {
            let (rows, most) = (self.rows, self.limits.bytes);
            return Some(format!("only the first {rows} rows are given: there are more than {most} bytes (sql.bytes)"));
        }
        self.rows += 1;
        None
    }
}

/// Rows gathered up to the bounds.
struct Gathered {
    table: Table,
    meter: Meter,
}

impl Gathered {
    fn new(limits: &SqlLimits) -> Self {
        Self { table: Table::default(), meter: Meter::new(limits) }
    }
}

impl Sink for Gathered {
    fn columns(&mut self, columns: Vec<String>) {
        self.table.columns = columns;
    }

    /// `false`, and the table says why, when a bound is reached.
    fn row(&mut self, row: Vec<Cell>) -> bool {
        self.table.cut = self.meter.count(&row);
        if self.table.cut.is_some() {
            return false;
        }
        self.table.rows.push(row);
        true
    }
}

/// What a cell takes as text, about; never nothing, so that empty rows are bounded too.
fn size(cell: &Cell) -> usize {
    match cell {
        Cell::Null | Cell::Boolean(_) => 8,
        Cell::Integer(_) | Cell::Real(_) => 16,
        Cell::Decimal(text) | Cell::Text(text) => 8 + text.len(),
    }
}
