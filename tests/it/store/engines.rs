//! A fresh database on each engine for each test.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use tallyd::store::{Store, StoreOptions};
use tempfile::TempDir;

/// Where PostgreSQL is for tests; unset, its half of the suite is left out, aloud.
pub(crate) const POSTGRES: &str = "TEST_POSTGRES_URL";

/// A database of a test's own.
pub(crate) struct Database {
    pub(crate) url: String,
    pub(crate) store: Store,
    _folder: TempDir,
}

impl Database {
    pub(crate) async fn reopen(&self) -> Store {
        Store::open(&StoreOptions::new(&*self.url)).await.unwrap()
    }

    /// Runs SQL behind the store's back.
    pub(crate) async fn tamper(&self, sql: &'static str) {
        if self.url.starts_with("sqlite:") {
            let options = self.url.parse::<sqlx::sqlite::SqliteConnectOptions>().unwrap();
            let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            sqlx::Connection::close(connection).await.unwrap();
        } else {
            let mut connection = connect(&self.url).await;
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            sqlx::Connection::close(connection).await.unwrap();
        }
    }
}

/// Runs `test` on a new SQLite file.
pub(crate) async fn on_sqlite(test: impl AsyncFnOnce(&Database)) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("tallyd.db").display());
    let store = Store::open(&StoreOptions::new(&*url)).await.unwrap();
    let database = Database { url, store, _folder: folder };
    test(&database).await;
    database.store.close().await;
}

/// Runs `test` on a new PostgreSQL database, which is dropped afterwards.
pub(crate) async fn on_postgres(name: &str, test: impl AsyncFnOnce(&Database)) {
    let Some(url) = postgres_url(name) else { return };
    create(&url).await;
    let store = Store::open(&StoreOptions::new(&*url)).await.unwrap();
    let database = Database { url, store, _folder: tempfile::tempdir().unwrap() };
    let outcome = AssertUnwindSafe(test(&database)).catch_unwind().await;
    database.store.close().await;
    drop_database(&database.url).await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// Runs `test` with the URL of a new PostgreSQL database, which is dropped afterwards.
pub(crate) async fn on_a_postgres_of_its_own(name: &str, test: impl AsyncFnOnce(&str)) {
    let Some(url) = postgres_url(name) else { return };
    create(&url).await;
    let outcome = AssertUnwindSafe(test(&url)).catch_unwind().await;
    drop_database(&url).await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// The URL of a database of this test's own; `None`, said aloud, where there is no server.
pub(crate) fn postgres_url(name: &str) -> Option<String> {
    let Ok(server) = std::env::var(POSTGRES) else {
        eprintln!("SKIPPED on PostgreSQL: {name} ({POSTGRES} is not set)");
        return None;
    };
    let (base, _) = server.rsplit_once('/').unwrap();
    Some(format!("{base}/tallyd_test_{}_{name}", std::process::id()))
}

/// Creates the database that `url` names.
pub(crate) async fn create(url: &str) {
    administer(url, "CREATE DATABASE").await;
}

/// Drops the database that `url` names.
pub(crate) async fn drop_database(url: &str) {
    administer(url, "DROP DATABASE IF EXISTS").await;
}

async fn administer(url: &str, what: &str) {
    let (base, name) = url.rsplit_once('/').unwrap();
    let mut connection = connect(&format!("{base}/postgres")).await;
    let force = if what.starts_with("DROP") { " WITH (FORCE)" } else { "" };
    let sql = format!("{what} \"{name}\"{force}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    sqlx::Connection::close(connection).await.unwrap();
}

pub(crate) async fn connect(url: &str) -> sqlx::PgConnection {
    let options = url.parse::<sqlx::postgres::PgConnectOptions>().unwrap();
    sqlx::ConnectOptions::connect(&options).await.unwrap()
}

/// Makes of each function two tests, one on each engine.
macro_rules! on_both_engines {
    ($($name:ident)*) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                $crate::store::engines::on_sqlite(super::$name).await;
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                $crate::store::engines::on_postgres(stringify!($name), super::$name).await;
            })*
        }
    };
}

pub(crate) use on_both_engines;
