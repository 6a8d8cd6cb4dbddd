//! Queries on PostgreSQL: a connection of its own, a transaction that reads only, in a role that may read the views alone.

use std::borrow::Cow;

use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Executor as _, PgConnection, Row as _,
    SqlSafeStr as _, Statement as _, TypeInfo as _, ValueRef as _,
};

use super::{Gathered, SqlError, SqlLimits, VIEWS};
use crate::clock::Clock;
use crate::domain::table::{Cell, Table};
use crate::store::StoreError;

/// The role that a migration makes.
const ROLE: &str = "tallyd_reader";

/// Who we are, for what an administrator is told.
const WHO: &str = "SELECT CAST(current_user AS TEXT), CAST(current_schema() AS TEXT)";

/// Nothing but reading, by the meaning that the guard gives to strings, as the role.
const FENCE: &str =
    "SET TRANSACTION READ ONLY; SET LOCAL standard_conforming_strings = on; SET LOCAL role = tallyd_reader";

/// How long beyond the query's own time the server may take to say that it was too long.
const GRACE: std::time::Duration = std::time::Duration::from_secs(2);

/// Runs one query.
pub(super) async fn run(
    connect: PgConnectOptions,
    query: &str,
    limits: &SqlLimits,
    clock: &Clock,
) -> Result<Table, SqlError> {
    let mut connection = connect
        .application_name("tallyd sql")
        .options([("statement_timeout", limits.time.as_millis().to_string())])
        .disable_statement_logging()
        .connect()
        .await
        .map_err(|error| StoreError::Unreachable(error.to_string()))?;
    let asked = clock.timeout(limits.time + GRACE, ask(&mut connection, query, limits)).await;
    // Rows that are left unread are the server's to drop.
    let _ = connection.close_hard().await;
    asked.ok_or(SqlError::TimedOut(limits.time))?
}

async fn ask(connection: &mut PgConnection, query: &str, limits: &SqlLimits) -> Result<Table, SqlError> {
    let mut tx = connection.begin().await.map_err(StoreError::from)?;
    let (user, schema): (String, Option<String>) =
        sqlx::query_as(WHO).fetch_one(&mut *tx).await.map_err(StoreError::from)?;
    if let Err(error) = sqlx::raw_sql(FENCE).execute(&mut *tx).await {
        return Err(match code(&error).as_deref() {
            // insufficient_privilege; invalid_parameter_value: there is no such role
            Some("42501" | "22023") => SqlError::NotAvailable(no_role(&user, schema.as_deref().unwrap_or("public"))),
            _ => StoreError::from(error).into(),
        });
    }
    // Preparing refuses more than one statement; running it as text then gives every type in its own writing.
    let prepared =
        tx.prepare(AssertSqlSafe(query.to_owned()).into_sql_str()).await.map_err(|error| refused(error, limits))?;
    let columns = prepared.columns().iter().map(|column| column.name().to_owned()).collect();
    let mut gathered = Gathered::new(columns, limits);
    let mut rows = sqlx::raw_sql(AssertSqlSafe(query.to_owned())).fetch(&mut *tx);
    while let Some(row) = rows.try_next().await.map_err(|error| refused(error, limits))? {
        if !gathered.take(cells(&row)?) {
            break;
        }
    }
    drop(rows);
    Ok(gathered.table)
}

fn cells(row: &PgRow) -> Result<Vec<Cell>, SqlError> {
    (0..row.columns().len())
        .map(|at| {
            let value = row.try_get_raw(at).map_err(StoreError::from)?;
            if value.is_null() {
                return Ok(Cell::Null);
            }
            let text = value.as_str().map_err(|error| SqlError::Refused(error.to_string()))?;
            let as_text = || Cell::Text(text.to_owned());
            Ok(match value.type_info().name() {
                "INT2" | "INT4" | "INT8" => text.parse().map_or_else(|_| as_text(), Cell::Integer),
                "FLOAT4" | "FLOAT8" => text.parse().map_or_else(|_| as_text(), Cell::Real),
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

fn refused(error: sqlx::Error, limits: &SqlLimits) -> SqlError {
    match code(&error).as_deref() {
        // query_canceled
        Some("57014") => SqlError::TimedOut(limits.time),
        // insufficient_privilege
        Some("42501") => SqlError::Refused(format!("{error}; a query may read {}", VIEWS.join(", "))),
        Some(_) => SqlError::Refused(error.to_string()),
        None => StoreError::from(error).into(),
    }
}
