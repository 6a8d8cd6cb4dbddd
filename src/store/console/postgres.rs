//! Queries on PostgreSQL: a connection of its own, a transaction that reads only, in a role that may read the views alone.

use std::borrow::Cow;
use std::fmt::Write as _;

use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgErrorPosition, PgRow};
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Executor as _, PgConnection, Row as _,
    SqlSafeStr as _, Statement as _, TypeInfo as _, ValueRef as _,
};

use super::{Refusal, Sink, SqlError, SqlLimits, VIEWS, Value, guard};
use crate::clock::Clock;
use crate::domain::table::Cell;
use crate::store::StoreError;

/// The role that a migration makes.
const ROLE: &str = "tallyd_reader";

/// Who we are, for what an administrator is told.
const WHO: &str = "SELECT CAST(current_user AS TEXT), CAST(current_schema() AS TEXT)";

/// Nothing but reading, by the meaning that the guard gives to strings.
const READ_ONLY: &str = "SET TRANSACTION READ ONLY; SET LOCAL standard_conforming_strings = on";

/// The rest, as the role.
const TAKE_ROLE: &str = "SET LOCAL role = tallyd_reader";

/// Bounds of the session: as many of these as the server knows and lets us set. One process a query, no code compiled for it,
/// what it sorts in memory and on the server's disk bounded, and an end when the client is gone.
const CONFINE: &str = "
    SELECT set_config(wanted.name, wanted.setting, true)
    FROM (VALUES
        ('work_mem', $1),
        ('hash_mem_multiplier', '1'),
        ('temp_file_limit', $2),
        ('max_parallel_workers_per_gather', '0'),
        ('jit', 'off'),
        ('lock_timeout', '1000'),
        ('client_connection_check_interval', '250')
    ) AS wanted (name, setting)
    JOIN pg_settings AS known ON known.name = wanted.name
    WHERE known.context = 'user'
       OR known.context = 'superuser' AND (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)";

/// Sorts and hashes of one query among which its memory is shared out: the server bounds each by itself.
const SORTS_AT_ONCE: u64 = 8;

/// Tables and views that whoever asks may read beside ours, of any schema: named by nobody's query. Those of the system have
/// names by which the guard knows them.
const READABLE: &str = r"
    SELECT lower(CAST(class.relname AS TEXT))
    FROM pg_class AS class
    JOIN pg_namespace AS space ON space.oid = class.relnamespace
    WHERE class.relkind IN ('r', 'p', 'v', 'm', 'f')
      AND space.nspname <> 'information_schema' AND space.nspname NOT LIKE 'pg\_%' AND class.relname NOT LIKE 'pg\_%'
      AND NOT (space.nspname = current_schema() AND CAST(class.relname AS TEXT) = ANY ($1))
      AND has_table_privilege(class.oid, 'SELECT')
    LIMIT 10000";

/// The name under which a query with parameters is prepared.
const PREPARED: &str = "tallyd_query";

/// How long beyond the query's own time the server may take to say that it was too long.
const GRACE: std::time::Duration = std::time::Duration::from_secs(2);

/// What is asked.
pub(super) struct Asked<'a> {
    /// The query.
    pub(super) checked: &'a guard::Checked<'a>,
    /// The values of its parameters.
    pub(super) values: &'a [&'a Value],
    /// Whether the user of the connection may read the views alone.
    pub(super) reads_only: bool,
}

/// Runs one query.
pub(super) async fn run(
    connect: PgConnectOptions,
    asked: &Asked<'_>,
    limits: &SqlLimits,
    clock: &Clock,
    sink: &mut (impl Sink + Send),
) -> Result<(), SqlError> {
    let mut connection = connect
        .application_name("tallyd sql")
        .options([("statement_timeout", limits.time.as_millis().to_string())])
        .disable_statement_logging()
        .connect()
        .await
        .map_err(|error| StoreError::Unreachable(error.to_string()))?;
    let answered = clock.timeout(limits.time + GRACE, ask(&mut connection, asked, limits, sink)).await;
    // Rows that are left unread are the server's to drop.
    let _ = connection.close_hard().await;
    answered.ok_or(SqlError::TimedOut(limits.time))?
}

async fn ask(
    connection: &mut PgConnection,
    asked: &Asked<'_>,
    limits: &SqlLimits,
    sink: &mut (impl Sink + Send),
) -> Result<(), SqlError> {
    let mut tx = connection.begin().await.map_err(StoreError::from)?;
    let (user, schema): (String, Option<String>) =
        sqlx::query_as(WHO).fetch_one(&mut *tx).await.map_err(StoreError::from)?;
    let schema = schema.as_deref().unwrap_or("public");
    sqlx::raw_sql(READ_ONLY).execute(&mut *tx).await.map_err(StoreError::from)?;
    let kib = limits.memory / 1024;
    let each = (kib / SORTS_AT_ONCE).to_string();
    sqlx::query(CONFINE).bind(each).bind(kib.to_string()).fetch_all(&mut *tx).await.map_err(StoreError::from)?;
    if !asked.reads_only
        && let Err(error) = sqlx::raw_sql(TAKE_ROLE).execute(&mut *tx).await
    {
        return Err(match code(&error).as_deref() {
            // insufficient_privilege; invalid_parameter_value: there is no such role
            Some("42501" | "22023") => SqlError::NotAvailable(no_role(&user, schema)),
            _ => StoreError::from(error).into(),
        });
    }
    let readable: Vec<String> =
        sqlx::query_scalar(READABLE).bind(VIEWS.as_slice()).fetch_all(&mut *tx).await.map_err(StoreError::from)?;
    if asked.reads_only && readable.iter().any(|table| table == "calls") {
        return Err(SqlError::NotAvailable(format!(
            "the user of sql.reader_url may read tallyd's tables, and not only its views; give it a user with SELECT on {} and \
             nothing else",
            VIEWS.join(", ")
        )));
    }
    if let Some(table) = readable.iter().find(|table| asked.checked.words.contains(*table)) {
        return Err(Refusal::from(format!("{table} can not be read here; there are {}", VIEWS.join(", "))).into());
    }
    let text = asked.checked.numbered();
    // Preparing refuses more than one statement; running it as text then gives every type in its own writing.
    let prepared = tx
        .prepare(AssertSqlSafe(text.clone()).into_sql_str())
        .await
        .map_err(|error| refused(error, Some(asked.checked), limits))?;
    sink.columns(prepared.columns().iter().map(|column| column.name().to_owned()).collect());
    let text = if asked.values.is_empty() {
        text
    } else {
        let prepare = AssertSqlSafe(format!("PREPARE {PREPARED} AS {text}"));
        sqlx::raw_sql(prepare).execute(&mut *tx).await.map_err(|error| refused(error, None, limits))?;
        execution(asked.values)
    };
    let placed = asked.values.is_empty().then_some(asked.checked);
    let mut rows = sqlx::raw_sql(AssertSqlSafe(text)).fetch(&mut *tx);
    while let Some(row) = rows.try_next().await.map_err(|error| refused(error, placed, limits))? {
        if !sink.row(cells(&row)?) {
            break;
        }
    }
    Ok(())
}

/// Runs the prepared query: each value goes to its parameter as a string, which the server reads as the type that it found the
/// parameter to have.
fn execution(values: &[&Value]) -> String {
    let mut text = format!("EXECUTE {PREPARED} (");
    for (place, value) in values.iter().enumerate() {
        if place > 0 {
            text.push_str(", ");
        }
        // Strings are standard-conforming here: a quote is all that could end one.
        let _ = match value {
            Value::Null => write!(text, "NULL"),
            Value::Boolean(truth) => write!(text, "'{truth}'"),
            Value::Integer(number) => write!(text, "'{number}'"),
            Value::Real(number) => write!(text, "'{number}'"),
            Value::Text(value) => write!(text, "'{}'", value.replace('\'', "''")),
        };
    }
    text.push(')');
    text
}

fn cells(row: &PgRow) -> Result<Vec<Cell>, SqlError> {
    (0..row.columns().len())
        .map(|at| {
            let value = row.try_get_raw(at).map_err(StoreError::from)?;
            if value.is_null() {
                return Ok(Cell::Null);
            }
            let text = value.as_str().map_err(|error| Refusal::from(error.to_string()))?;
            let as_text = || Cell::Text(text.to_owned());
            Ok(match value.type_info().name() {
                "INT2" | "INT4" | "INT8" => text.parse().map_or_else(|_| as_text(), Cell::Integer),
                // JSON has no infinite numbers.
                "FLOAT4" | "FLOAT8" => match text.parse::<f64>() {
                    Ok(number) if number.is_finite() => Cell::Real(number),
                    _ => as_text(),
                },
                "NUMERIC" => Cell::Decimal(text.to_owned()),
                "BOOL" => Cell::Boolean(text == "t"),
                _ => as_text(),
            })
        })
        .collect()
}

/// What an administrator has to do where we may not.
fn no_role(user: &str, schema: &str) -> String {
    format!(
        "queries need a role that may read the views and nothing else, and tallyd may not make it; have an administrator run: \
         CREATE ROLE {ROLE} NOLOGIN; GRANT {ROLE} TO \"{user}\"; GRANT USAGE ON SCHEMA \"{schema}\" TO {ROLE}; \
         GRANT SELECT ON {} TO {ROLE};",
        VIEWS.join(", ")
    )
}

/// The server's SQLSTATE, if it was the server that refused.
fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).map(Cow::into_owned)
}

/// Why the server did not answer; its place stands in `placed`, if that is what was sent.
fn refused(error: sqlx::Error, placed: Option<&guard::Checked<'_>>, limits: &SqlLimits) -> SqlError {
    let told = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    let message = told.map_or_else(|| error.to_string(), |told| told.message().to_owned());
    let hint = told.and_then(PgDatabaseError::hint).map(|hint| format!(" ({})", hint.trim_end_matches('.')));
    let place = match (placed, told.and_then(PgDatabaseError::position)) {
        (Some(checked), Some(PgErrorPosition::Original(at))) => {
            Some((checked, checked.place_of_numbered(at.saturating_sub(1))))
        }
        _ => None,
    };
    match code(&error).as_deref() {
        // query_canceled
        Some("57014") => SqlError::TimedOut(limits.time),
        // out_of_memory; a file that sorting needs is beyond its bound; a value beyond the server's own gigabyte
        Some("53200" | "53400" | "54000") => SqlError::TooLarge(limits.memory),
        Some("XX000") if message.starts_with("invalid memory alloc request size") => SqlError::TooLarge(limits.memory),
        // insufficient_privilege
        Some("42501") => Refusal::from(format!("{message}; a query may read {}", VIEWS.join(", "))).into(),
        Some(_) => {
            let message = format!("{message}{}", hint.unwrap_or_default());
            match place {
                Some((checked, at)) => Refusal::at(checked.text, at, message).into(),
                None => Refusal::from(message).into(),
            }
        }
        None => StoreError::from(error).into(),
    }
}
