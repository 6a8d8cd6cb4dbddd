//! Queries on SQLite: a connection of its own, opened to be read only, whose authorizer knows the views.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::{Null, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{Question, Refusal, Sink, SqlError, SqlLimits, VIEWS, Value, bound, guard};
use crate::clock::Clock;
use crate::domain::table::Cell;
use crate::store::StoreError;

/// Longest wait for a lock.
const BUSY: Duration = Duration::from_secs(2);

/// Steps of SQLite's machine between two looks at the clock: well under a millisecond.
const STEPS: i32 = 10_000;

/// Longest text or blob a query may make, in bytes. One step of SQLite's machine looks at no clock, and searching one such text
/// for another takes about a second at this length; it grows with its square.
const MAX_TEXT: i32 = 256 * 1024;

/// Longest pattern of LIKE and GLOB, in bytes: what they take grows with it times the text.
const MAX_PATTERN: i32 = 1024;

/// Most steps of a program that a query becomes: some thousands are a long one.
const MAX_PROGRAM: i32 = 100_000;

/// Most columns of a result, or of a table within the query.
const MAX_COLUMNS: i32 = 500;

/// What SQLite says of a text beyond [`MAX_TEXT`].
const TOO_BIG: &str = "a text in the query grew beyond 256 KiB; make it shorter, for example with substr()";

/// A view that documented views read and that is none itself.
const INNER_VIEW: &str = "alert_mail";

/// What has a name that no part of a query may be taken for.
const NAMES: &str = "SELECT lower(name) FROM sqlite_master UNION SELECT lower(name) FROM pragma_module_list";

/// Tables that functions stand for.
const FUNCTION_TABLES: [&str; 2] = ["json_each", "json_tree"];

/// What the fence knows of the database.
#[derive(Default)]
struct Fence {
    /// What the views read of the tables: table and column.
    views_read: BTreeSet<(String, String)>,
    /// Everything that has a name in the schema, and the modules that are tables without being in it, in lower case.
    names: BTreeSet<String>,
    /// What the query itself may call by its name: its words and strings, in lower case.
    named: BTreeSet<String>,
}

/// Runs one query on the file at `path`; what it answers goes to `sink`.
pub(super) fn run(
    path: &Path,
    question: &Question,
    limits: &SqlLimits,
    clock: &Clock,
    sink: &mut impl Sink,
) -> Result<(), SqlError> {
    if !path.exists() {
        return Err(StoreError::Missing(path.to_owned()).into());
    }
    let checked = guard::check(&question.query)?;
    let values = bound(&checked, &question.parameters)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |error| failed(error, checked.text, limits);
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    confine(&connection).map_err(failed)?;
    let fence = Fence { named: &checked.words | &checked.strings, ..Fence::learn(&connection)? };
    connection.authorizer(Some(move |context: AuthContext<'_>| fence.judge(&context))).map_err(failed)?;
    let (until, clock) = (clock.elapsed() + limits.time, clock.clone());
    connection.progress_handler(STEPS, Some(move || clock.elapsed() > until)).map_err(failed)?;
    answer(&connection, &checked, &values, sink).map_err(failed)
}

fn confine(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    // No file of a query's is ever on the disk: what it sorts counts as its memory.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    for (limit, most) in [
        (Limit::SQLITE_LIMIT_LENGTH, MAX_TEXT),
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, MAX_PATTERN),
        (Limit::SQLITE_LIMIT_VDBE_OP, MAX_PROGRAM),
        (Limit::SQLITE_LIMIT_COLUMN, MAX_COLUMNS),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        connection.set_limit(limit, most)?;
    }
    Ok(())
}

impl Fence {
    /// Learns what the documented views themselves read, by preparing each.
    ///
    /// SQLite names the innermost view (or part of WITH) on whose behalf a column is read, and no more;
    /// so a column is allowed only where a view reads that very column.
    fn learn(connection: &Connection) -> Result<Self, SqlError> {
        let old = |error: rusqlite::Error| {
            SqlError::NotAvailable(format!(
                "the database does not have the views of this tallyd ({error}); start `tallyd serve` once to bring it up to date"
            ))
        };
        let mut names = connection.prepare(NAMES).map_err(old)?;
        let names = names.query_map([], |row| row.get(0)).and_then(Iterator::collect).map_err(old)?;
        let reads = Arc::new(Mutex::new(BTreeSet::new()));
        let seen = Arc::clone(&reads);
        let watch = move |context: AuthContext<'_>| {
            if let (AuthAction::Read { table_name, column_name }, Some(_)) = (context.action, context.accessor) {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.insert((table_name.to_owned(), column_name.to_owned()));
            }
            Authorization::Allow
        };
        connection.authorizer(Some(watch)).map_err(old)?;
        for view in VIEWS {
            connection.prepare(&format!("SELECT * FROM {view}")).map_err(old)?;
        }
        let views_read = std::mem::take(&mut *reads.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Self { views_read, names, named: BTreeSet::new() })
    }

    fn judge(&self, context: &AuthContext<'_>) -> Authorization {
        let allowed = match context.action {
            AuthAction::Select | AuthAction::Recursive => true,
            AuthAction::Function { function_name } => {
                guard::FUNCTIONS.iter().any(|known| known.eq_ignore_ascii_case(function_name))
            }
            AuthAction::Read { table_name, column_name } => {
                VIEWS.iter().any(|view| view.eq_ignore_ascii_case(table_name))
                    || FUNCTION_TABLES.contains(&table_name)
                    || self.of_view(context.accessor, table_name, column_name)
                    || self.is_behind_a_view(table_name, column_name)
                    || self.is_of_the_query(table_name, column_name)
            }
            _ => false,
        };
        if allowed { Authorization::Allow } else { Authorization::Deny }
    }

    /// Whether a view reads this column.
    fn of_view(&self, accessor: Option<&str>, table: &str, column: &str) -> bool {
        accessor.is_some_and(|view| VIEWS.contains(&view) || view == INNER_VIEW)
            && (column.is_empty()
                || table == INNER_VIEW
                || self.views_read.contains(&(table.to_owned(), column.to_owned())))
    }

    /// Whether it is a table of which no column is read, as by COUNT(*), and that the query does not name: then a view that
    /// it names reads it. SQLite puts simple views into the query, and tells of the table alone.
    fn is_behind_a_view(&self, table: &str, column: &str) -> bool {
        column.is_empty()
            && self.views_read.iter().any(|(read, _)| read == table)
            && !self.named.contains(&table.to_lowercase())
    }

    /// Whether it is a part of WITH, or a query in FROM, of which no column is read, as by COUNT(*).
    fn is_of_the_query(&self, table: &str, column: &str) -> bool {
        let table = table.to_lowercase();
        column.is_empty()
            && (!self.names.contains(&table) || FUNCTION_TABLES.contains(&&*table))
            && !table.starts_with("sqlite_")
            && !table.starts_with("pragma_")
    }
}

fn answer(
    connection: &Connection,
    checked: &guard::Checked<'_>,
    values: &[&Value],
    sink: &mut impl Sink,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(checked.text)?;
    for (name, value) in checked.names.iter().zip(values) {
        let Some(index) = statement.parameter_index(&format!(":{name}"))? else { continue };
        match value {
            Value::Null => statement.raw_bind_parameter(index, Null)?,
            Value::Boolean(truth) => statement.raw_bind_parameter(index, truth)?,
            Value::Integer(number) => statement.raw_bind_parameter(index, number)?,
            Value::Real(number) => statement.raw_bind_parameter(index, number)?,
            Value::Text(text) => statement.raw_bind_parameter(index, text)?,
        }
    }
    sink.columns(statement.column_names().into_iter().map(str::to_owned).collect());
    // SQLite keeps truths as numbers; the declared type of the column that the view shows tells them apart.
    let truths: Vec<bool> = statement
        .columns()
        .iter()
        .map(|column| column.decl_type().is_some_and(|declared| declared.eq_ignore_ascii_case("BOOLEAN")))
        .collect();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        let cells = truths.iter().enumerate().map(|(at, truth)| Ok(cell(row.get_ref(at)?, *truth)));
        if !sink.row(cells.collect::<rusqlite::Result<_>>()?) {
            break;
        }
    }
    Ok(())
}

fn cell(value: ValueRef<'_>, truth: bool) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) if truth => Cell::Boolean(number != 0),
        ValueRef::Integer(number) => Cell::Integer(number),
        ValueRef::Real(number) if number.is_finite() => Cell::Real(number),
        // As PostgreSQL writes them; JSON has no such numbers.
        ValueRef::Real(number) => Cell::Text(if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Cell::Text(String::from_utf8_lossy(bytes).into_owned()),
    }
}

fn failed(error: rusqlite::Error, query: &str, limits: &SqlLimits) -> SqlError {
    let may_read = |message: String| Refusal::from(format!("{message}; a query may read {}", VIEWS.join(", "))).into();
    match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => SqlError::TimedOut(limits.time),
        Some(ErrorCode::OutOfMemory) => SqlError::TooLarge(limits.memory),
        Some(ErrorCode::TooBig) => Refusal::from(TOO_BIG.to_owned()).into(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy.into(),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => StoreError::Damaged(error.to_string()).into(),
        Some(ErrorCode::AuthorizationForStatementDenied) => may_read(message_of(error)),
        _ => match error {
            rusqlite::Error::SqlInputError { msg, offset, .. } => match usize::try_from(offset) {
                Ok(at) => Refusal::at(query, at, msg).into(),
                Err(_) => Refusal::from(msg).into(),
            },
            rusqlite::Error::MultipleStatement => Refusal::from("one statement at a time".to_owned()).into(),
            other => Refusal::from(message_of(other)).into(),
        },
    }
}

/// SQLite's own words, without those of the library around them.
fn message_of(error: rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) | rusqlite::Error::SqlInputError { msg: message, .. } => {
            message
        }
        other => other.to_string(),
    }
}
