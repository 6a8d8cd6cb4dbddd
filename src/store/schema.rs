//! Migrations, and whose database it is.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{PgPool, SqliteConnection, SqlitePool};

use super::StoreError;

/// The table that says that the others are ours.
const OUR_TABLE: &str = "tallyd_meta";

/// The migrator's own table; alone, it belongs to an installation that broke off at its first step.
const MIGRATIONS_TABLE: &str = "_sqlx_migrations";

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

const SQLITE_TABLES: &str = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
const POSTGRES_TABLES: &str =
    "SELECT CAST(tablename AS TEXT) FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1";
const VERSION: &str = "SELECT MAX(version) FROM _sqlx_migrations";

/// Refuses a SQLite database that is neither ours nor empty.
pub(super) async fn refuse_foreign_sqlite(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let tables: Vec<String> = sqlx::query_scalar(SQLITE_TABLES).fetch_all(connection).await?;
    owner(&tables).map(drop)
}

/// Brings a SQLite database up to date, if it is ours or empty.
pub(super) async fn migrate_sqlite(pool: &SqlitePool) -> Result<(), StoreError> {
    let tables: Vec<String> = sqlx::query_scalar(SQLITE_TABLES).fetch_all(pool).await?;
    if owner(&tables)? == Owner::Tallyd {
        refuse_newer(sqlx::query_scalar(VERSION).fetch_one(pool).await?, &SQLITE)?;
    }
    SQLITE.run(pool).await.map_err(migration)
}

/// Brings a PostgreSQL schema up to date, if it is ours or empty; one daemon at a time.
pub(super) async fn migrate_postgres(pool: &PgPool) -> Result<(), StoreError> {
    let tables: Vec<String> = sqlx::query_scalar(POSTGRES_TABLES).fetch_all(pool).await?;
    if owner(&tables)? == Owner::Tallyd {
        refuse_newer(sqlx::query_scalar(VERSION).fetch_one(pool).await?, &POSTGRES)?;
    }
    POSTGRES.run(pool).await.map_err(migration)
}

/// Refuses a SQLite database that is not ours or not of this version.
pub(super) async fn check_sqlite(pool: &SqlitePool) -> Result<(), StoreError> {
    let tables: Vec<String> = sqlx::query_scalar(SQLITE_TABLES).fetch_all(pool).await?;
    let found = match owner(&tables)? {
        Owner::Tallyd => sqlx::query_scalar(VERSION).fetch_one(pool).await?,
        Owner::Nobody => None,
    };
    refuse_other(found, &SQLITE)
}

/// Refuses a PostgreSQL schema that is not ours or not of this version.
pub(super) async fn check_postgres(pool: &PgPool) -> Result<(), StoreError> {
    let tables: Vec<String> = sqlx::query_scalar(POSTGRES_TABLES).fetch_all(pool).await?;
    let found = match owner(&tables)? {
        Owner::Tallyd => sqlx::query_scalar(VERSION).fetch_one(pool).await?,
        Owner::Nobody => None,
    };
    refuse_other(found, &POSTGRES)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Nobody,
    Tallyd,
}

fn owner(tables: &[String]) -> Result<Owner, StoreError> {
    if tables.iter().any(|table| table == OUR_TABLE) {
        return Ok(Owner::Tallyd);
    }
    match tables.iter().find(|table| *table != MIGRATIONS_TABLE) {
        Some(table) => Err(StoreError::Foreign { table: table.clone() }),
        None => Ok(Owner::Nobody),
    }
}

fn newest(migrator: &Migrator) -> i64 {
    migrator.iter().map(|migration| migration.version).max().unwrap_or(0)
}

fn refuse_newer(found: Option<i64>, migrator: &Migrator) -> Result<(), StoreError> {
    let (found, known) = (found.unwrap_or(0), newest(migrator));
    if found > known { Err(StoreError::Newer { found, known }) } else { Ok(()) }
}

fn refuse_other(found: Option<i64>, migrator: &Migrator) -> Result<(), StoreError> {
    refuse_newer(found, migrator)?;
    let (found, known) = (found.unwrap_or(0), newest(migrator));
    if found < known { Err(StoreError::Older { found, known }) } else { Ok(()) }
}

/// What a reader is told of a database whose update was cut: its sums are those of the version before still.
pub(super) fn unfinished() -> StoreError {
    let known = newest(&SQLITE);
    StoreError::Older { found: known - 1, known }
}

fn migration(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => match StoreError::from(error) {
            StoreError::Database(error) | StoreError::Data(error) => StoreError::Migration(error.to_string()),
            told => told,
        },
        other => StoreError::Migration(other.to_string()),
    }
}
