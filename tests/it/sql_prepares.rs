//! Every SQL file is known to the store and understood by its engine.

use std::collections::BTreeSet;
use std::path::Path;

use sqlx::{Connection as _, Executor as _, SqlSafeStr as _};
use tallyd::store::Statement;

use crate::store::calls::save;
use crate::store::engines::{connect, on_postgres, on_sqlite};
use crate::store::samples::complete;

#[test]
fn every_file_is_a_statement_and_every_statement_a_file() {
    let root = Path::new("src/store/sql");
    let mut files = BTreeSet::new();
    for family in std::fs::read_dir(root).unwrap() {
        for file in std::fs::read_dir(family.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().trim_end_matches(".sql");
            files.insert(name.trim_end_matches(".sqlite").trim_end_matches(".postgres").to_owned());
        }
    }
    let known: BTreeSet<String> = Statement::ALL.iter().map(|statement| statement.name.to_owned()).collect();
    assert_eq!(files, known);
    assert_eq!(known.len(), Statement::ALL.len(), "a name stands twice");
}

#[tokio::test]
async fn sqlite_understands_every_statement() {
    on_sqlite(async |database| {
        let options = database.url.parse::<sqlx::sqlite::SqliteConnectOptions>().unwrap();
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        for statement in Statement::ALL {
            if let Err(error) = connection.prepare(statement.sqlite.into_sql_str()).await {
                panic!("{}: {error}", statement.name);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn postgres_understands_every_statement() {
    on_postgres("prepares", async |database| {
        let mut connection = connect(&database.url).await;
        for statement in Statement::ALL {
            if let Err(error) = connection.prepare(statement.postgres.into_sql_str()).await {
                panic!("{}: {error}", statement.name);
            }
        }
        connection.close().await.unwrap();
    })
    .await;
}

/// What SQLite counted while a table was small must not make it read all of it once it is large.
#[tokio::test]
async fn no_statement_that_is_given_keys_reads_the_whole_table_of_calls() {
    on_sqlite(async |database| {
        save(database, &(1..=48).map(complete).collect::<Vec<_>>()).await;
        // Counted by somebody else, and by an older daemon.
        database.tamper("ANALYZE").await;
        database.store.optimise().await.unwrap();
        let path = database.url.strip_prefix("sqlite:").unwrap();
        let connection = rusqlite::Connection::open(path).unwrap();
        let given_keys = |statement: &&Statement| {
            ["calls/delete", "calls/load", "calls/of_jobs", "settlements/lease", "settlements/park"]
                .contains(&statement.name)
        };
        let statements: Vec<&Statement> = Statement::ALL.iter().filter(given_keys).collect();
        assert_eq!(statements.len(), 5);
        for statement in statements {
            let mut explained = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", statement.sqlite)).unwrap();
            let mut rows = explained.raw_query();
            while let Some(row) = rows.next().unwrap() {
                let step: String = row.get(3).unwrap();
                assert!(!step.starts_with("SCAN") || step.contains("json_each"), "{}: {step}", statement.name);
            }
        }
    })
    .await;
}
