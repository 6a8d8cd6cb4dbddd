use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use sqlx::{Connection as _, Executor as _, Row as _};
use tallyd::store::{Engine, Store, StoreError, StoreOptions, calls};

use super::engines::{connect, create, drop_database, on_postgres, on_sqlite, postgres_url};
use super::samples::settled;
use super::{Database, on_both_engines};

on_both_engines! {
    a_database_opens_again_as_it_was_left
    a_newer_database_is_refused
    a_reader_can_not_write
    the_indexes_serve_the_questions_that_recur
}

async fn a_database_opens_again_as_it_was_left(database: &Database) {
    super::calls::save(database, &[settled(1)]).await;
    let again = database.reopen().await;
    assert_eq!(again.engine(), database.store.engine());
    assert!(calls::find(&again, "gen-00000001").await.unwrap().is_some());
    again.optimise().await.unwrap();
    again.close().await;
}

async fn a_newer_database_is_refused(database: &Database) {
    database
        .tamper(
            "INSERT INTO _sqlx_migrations (version, description, installed_on, success, checksum, execution_time)
                 SELECT 9000, 'later', installed_on, success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
        )
        .await;
    let options = StoreOptions::new(&*database.url);
    for opened in [Store::open(&options).await, Store::open_read_only(&options).await] {
        let error = opened.unwrap_err();
        assert!(matches!(error, StoreError::Newer { found: 9000, .. }), "{error}");
        assert!(!error.blames_data());
    }
    database.tamper("DELETE FROM _sqlx_migrations WHERE version > 1").await;
    let error = Store::open_read_only(&options).await.unwrap_err();
    assert!(matches!(error, StoreError::Older { found: 1, .. }), "{error}");
}

async fn a_reader_can_not_write(database: &Database) {
    super::calls::save(database, &[settled(1)]).await;
    let reader = Store::open_read_only(&StoreOptions::new(&*database.url)).await.unwrap();
    assert!(calls::find(&reader, "gen-00000001").await.unwrap().is_some());
    match reader.write().await {
        Err(error) => assert!(matches!(error, StoreError::ReadOnly), "{error}"),
        Ok(mut tx) => assert!(calls::upsert(&mut tx, &[&settled(2)]).await.is_err()),
    }
    reader.close().await;
}

/// No scan of the whole ledger hides in what the daemon asks again and again.
async fn the_indexes_serve_the_questions_that_recur(database: &Database) {
    if database.store.engine() != Engine::Sqlite {
        return;
    }
    let options = database.url.parse::<sqlx::sqlite::SqliteConnectOptions>().unwrap();
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let scanning = [
        // These read what they sum or show, by their own span; or a table that stays small.
        "alerts/history",
        "alerts/recipients",
        "budgets/absent",
        "budgets/list",
        // Once a refresh of the catalogue; it reads buckets to find the few rows it is about.
        "calls/unnamed",
        "outbox/counts",
        "outbox/set_channels",
    ];
    for statement in tallyd::store::Statement::ALL {
        let explain = format!("EXPLAIN QUERY PLAN {}", statement.sqlite);
        let plan = connection.fetch_all(sqlx::AssertSqlSafe(explain)).await.unwrap();
        let details: Vec<String> = plan.iter().map(|row| row.get::<String, _>("detail")).collect();
        let scans = details.iter().any(|step| {
            step.starts_with("SCAN")
                && ["calls", "spend_cells", "timing_parts", "messages", "alerts"]
                    .iter()
                    .any(|table| step.split_whitespace().nth(1) == Some(table) && !step.contains("USING"))
        });
        assert!(!scans || scanning.contains(&statement.name), "{}: {details:#?}", statement.name);
    }
}

#[tokio::test]
async fn files_are_their_owners_alone() {
    on_sqlite(async |database| {
        super::calls::save(database, &[settled(1)]).await;
        let path = Path::new(database.url.strip_prefix("sqlite:").unwrap());
        let mut seen = 0;
        for file in std::fs::read_dir(path.parent().unwrap()).unwrap() {
            let mode = file.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            seen += 1;
        }
        assert!(seen >= 2, "the file and its log");
    })
    .await;
}

#[tokio::test]
async fn what_can_not_be_opened_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let open = async |url: &str| Store::open(&StoreOptions::new(url)).await.unwrap_err();
    let at = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    std::fs::write(folder.path().join("file"), "").unwrap();
    let error = open(&at("file/tallyd.db")).await;
    assert!(matches!(error, StoreError::Unwritable { .. }), "{error}");
    std::fs::write(folder.path().join("garbage"), "this is no database, but long enough to look at".repeat(40))
        .unwrap();
    let error = open(&at("garbage")).await;
    assert!(matches!(error, StoreError::Damaged(_)), "{error}");
    let error = Store::open_read_only(&StoreOptions::new(at("missing"))).await.unwrap_err();
    assert!(matches!(error, StoreError::Missing(_)), "{error}");
    for url in
        ["mysql://u:secret@h/d", "sqlite:", "sqlite::memory:", "sqlite:x?mode=rwc", "postgres://u:secret@h:port/d"]
    {
        let error = open(url).await;
        assert!(matches!(error, StoreError::Url(_)), "{url}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let error = open("postgres://tallyd:secret@127.0.0.1:1/none").await;
    assert!(matches!(error, StoreError::Unreachable(_)), "{error}");
    assert!(!error.blames_data());
    assert!(!format!("{error}{:?}", StoreOptions::new("postgres://u:secret@h/d")).contains("secret"));
}

#[tokio::test]
async fn a_foreign_sqlite_file_is_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    let foreign = rusqlite::Connection::open(&path).unwrap();
    foreign.execute_batch("CREATE TABLE invoices (id INTEGER)").unwrap();
    let error = Store::open(&StoreOptions::new(format!("sqlite:{}", path.display()))).await.unwrap_err();
    assert!(matches!(&error, StoreError::Foreign { table } if table == "invoices"), "{error}");
    let tables: i64 = foreign.query_row("SELECT COUNT(*) FROM sqlite_master", [], |row| row.get(0)).unwrap();
    assert_eq!(tables, 1);
}

#[tokio::test]
async fn a_foreign_postgres_schema_is_refused_untouched() {
    let Some(url) = postgres_url("foreign") else { return };
    create(&url).await;
    let mut connection = connect(&url).await;
    connection.execute("CREATE TABLE invoices (id INTEGER)").await.unwrap();
    let error = Store::open(&StoreOptions::new(&*url)).await.unwrap_err();
    assert!(matches!(&error, StoreError::Foreign { table } if table == "invoices"), "{error}");
    let tables: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(tables, 1);
    connection.close().await.unwrap();
    drop_database(&url).await;
}

#[tokio::test]
async fn a_second_writer_waits_and_then_says_that_it_is_busy() {
    on_sqlite(async |database| {
        let options = StoreOptions { busy_timeout: Duration::from_millis(50), ..StoreOptions::new(&*database.url) };
        let second = Store::open(&options).await.unwrap();
        let first = database.store.write().await.unwrap();
        let error = second.write().await.unwrap_err();
        assert!(matches!(error, StoreError::Busy), "{error}");
        assert!(!error.blames_data());
        first.rollback().await.unwrap();
        second.write().await.unwrap().rollback().await.unwrap();
        second.close().await;
    })
    .await;
}

#[test]
fn migrations_are_paired() {
    let versions = |engine: &str| {
        let mut names: Vec<String> = std::fs::read_dir(Path::new("migrations").join(engine))
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert!(!versions("sqlite").is_empty());
    assert_eq!(versions("sqlite"), versions("postgres"));
}

/// Tables' columns by name: whether one may be NULL.
type Columns = BTreeMap<(String, String), bool>;

#[tokio::test]
async fn both_engines_have_the_same_tables_and_columns() {
    let mut sqlite = Columns::new();
    on_sqlite(async |database| {
        let path = database.url.strip_prefix("sqlite:").unwrap();
        let connection = rusqlite::Connection::open(path).unwrap();
        let mut columns = connection
            .prepare(
                "SELECT m.name, c.name, c.\"notnull\" FROM sqlite_master AS m, pragma_table_info(m.name) AS c
                 WHERE m.type = 'table' AND m.name NOT LIKE '\\_sqlx%' ESCAPE '\\' AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
            )
            .unwrap();
        let mut rows = columns.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            sqlite.insert((row.get(0).unwrap(), row.get(1).unwrap()), !row.get::<_, bool>(2).unwrap());
        }
    })
    .await;
    assert!(sqlite.len() > 100);
    on_postgres("tables", async |database| {
        let mut connection = connect(&database.url).await;
        let rows: Vec<(String, String, bool)> = sqlx::query_as(
            "SELECT CAST(c.table_name AS TEXT), CAST(c.column_name AS TEXT), c.is_nullable = 'YES'
             FROM information_schema.columns AS c
             JOIN information_schema.tables AS t ON t.table_name = c.table_name AND t.table_schema = c.table_schema
             WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE' AND c.table_name NOT LIKE '\\_sqlx%'",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        let postgres: Columns = rows.into_iter().map(|(table, column, null)| ((table, column), null)).collect();
        assert_eq!(sqlite, postgres);
        connection.close().await.unwrap();
    })
    .await;
}

/// A user who may make no roles gets a ledger, and `tallyd sql` says what an administrator has to run.
#[tokio::test]
async fn queries_without_their_role_say_what_to_do() {
    use tallyd::clock::Clock;
    use tallyd::store::console::{self, SqlError, SqlLimits};
    let Some(url) = postgres_url("norole") else { return };
    create(&url).await;
    let (_, name) = url.rsplit_once('/').unwrap();
    let mut admin = connect(&url).await;
    let user = format!("{name}_user");
    let sql = format!("CREATE ROLE \"{user}\" LOGIN; GRANT CREATE, USAGE ON SCHEMA public TO \"{user}\"");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
    let (scheme, host) = url.split_once("://").unwrap();
    let host = host.split_once('@').map_or(host, |(_, host)| host);
    let as_user = format!("{scheme}://{user}@{host}");
    let store = Store::open(&StoreOptions::new(&*as_user)).await.unwrap();
    let ask =
        async || console::run(&as_user, "SELECT call_id FROM usage", &SqlLimits::default(), &Clock::system()).await;
    let error = ask().await.unwrap_err();
    let SqlError::NotAvailable(advice) = &error else { panic!("{error:?}") };
    let statements = advice.split_once("run: ").unwrap().1.replace("CREATE ROLE tallyd_reader NOLOGIN;", "");
    sqlx::raw_sql("DO $$ BEGIN CREATE ROLE tallyd_reader NOLOGIN; EXCEPTION WHEN OTHERS THEN NULL; END $$")
        .execute(&mut admin)
        .await
        .unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&mut admin).await.unwrap();
    assert!(ask().await.unwrap().rows.is_empty());
    store.close().await;
    admin.close().await.unwrap();
    drop_database(&url).await;
    let mut admin = connect(&std::env::var(super::engines::POSTGRES).unwrap()).await;
    let sql = format!("DROP ROLE \"{user}\"");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
}
