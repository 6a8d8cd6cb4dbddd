//! Every SQL file is known to the store and understood by its engine.

use std::collections::BTreeSet;
use std::path::Path;

use sqlx::{Connection as _, Executor as _, SqlSafeStr as _};
use tallyd::store::Statement;

use crate::store::engines::{connect, on_postgres, on_sqlite};

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
