//! Queries on SQLite: a connection of its own, opened to be read only, whose authorizer knows the views.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{Gathered, SqlError, SqlLimits, VIEWS, guard};
use crate::clock::Clock;
use crate::domain::table::{Cell, Table};
use crate::store::StoreError;

/// Longest wait for a lock.
const BUSY: Duration = Duration::from_secs(2);

/// Steps of SQLite's machine between two looks at the clock: well under a millisecond.
const STEPS: i32 = 10_000;

/// Longest text or blob a query may make, in bytes.
const MAX_VALUE: i32 = 16 * 1024 * 1024;

/// A view that documented views read and that is none itself.
const INNER_VIEW: &str = "alert_mail";

/// Tables that functions stand for.
const FUNCTION_TABLES: [&str; 2] = ["json_each", "json_tree"];

/// What the fence knows of the database.
#[derive(Default)]
struct Fence {
    /// What the views read of the tables: table and column.
    views_read: BTreeSet<(String, String)>,
    /// Everything that has a name in the schema, in lower case.
    names: BTreeSet<String>,
}

/// Runs one query on the file at `path`.
pub(super) fn run(path: &Path, query: &str, limits: &SqlLimits, clock: &Clock) -> Result<Table, SqlError> {
    if !path.exists() {
        return Err(StoreError::Missing(path.to_owned()).into());
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| refused(&error, limits))?;
    bound(&connection).map_err(|error| refused(&error, limits))?;
    let fence = Fence::learn(&connection)?;
    connection
        .authorizer(Some(move |context: AuthContext<'_>| fence.judge(&context)))
        .map_err(|error| refused(&error, limits))?;
    let (until, clock) = (clock.elapsed() + limits.time, clock.clone());
    connection
        .progress_handler(STEPS, Some(move || clock.elapsed() > until))
        .map_err(|error| refused(&error, limits))?;
    gather(&connection, query, limits).map_err(|error| refused(&error, limits))
}

fn bound(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE)?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
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
        let mut names = connection.prepare("SELECT lower(name) FROM sqlite_master").map_err(old)?;
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
        Ok(Self { views_read, names })
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

    /// Whether it is a part of WITH, or a query in FROM, of which no column is read, as by COUNT(*).
    fn is_of_the_query(&self, table: &str, column: &str) -> bool {
        let table = table.to_lowercase();
        column.is_empty()
            && !self.names.contains(&table)
            && !table.starts_with("sqlite_")
            && !table.starts_with("pragma_")
    }
}

fn gather(connection: &Connection, query: &str, limits: &SqlLimits) -> rusqlite::Result<Table> {
    let mut statement = connection.prepare(query)?;
    let columns: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
    // SQLite keeps truths as numbers; the declared type of the column that the view shows tells them apart.
    let truths: Vec<bool> = statement
        .columns()
        .iter()
        .map(|column| column.decl_type().is_some_and(|declared| declared.eq_ignore_ascii_case("BOOLEAN")))
        .collect();
    let mut gathered = Gathered::new(columns, limits);
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let cells = truths.iter().enumerate().map(|(at, truth)| Ok(cell(row.get_ref(at)?, *truth)));
        if !gathered.take(cells.collect::<rusqlite::Result<_>>()?) {
            break;
        }
    }
    Ok(gathered.table)
}

fn cell(value: ValueRef<'_>, truth: bool) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) if truth => Cell::Boolean(number != 0),
        ValueRef::Integer(number) => Cell::Integer(number),
        ValueRef::Real(number) => Cell::Real(number),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Cell::Text(String::from_utf8_lossy(bytes).into_owned()),
    }
}

fn refused(error: &rusqlite::Error, limits: &SqlLimits) -> SqlError {
    let code = error.sqlite_error_code();
    match code {
        Some(ErrorCode::OperationInterrupted) => SqlError::TimedOut(limits.time),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy.into(),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => StoreError::Damaged(error.to_string()).into(),
        Some(ErrorCode::AuthorizationForStatementDenied) => {
            SqlError::Refused(format!("{error}; a query may read {}", VIEWS.join(", ")))
        }
        _ => SqlError::Refused(error.to_string()),
    }
}
