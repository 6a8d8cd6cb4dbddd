//! A database that refuses: for now, or for good.

use sqlx::Connection as _;
use tallyd::clock::Clock;
use tallyd::sim::Simulator;

use super::{chat, rows, simulator, writable};
use crate::store::engines::{connect, on_a_postgres_of_its_own};
use crate::support::caller::Caller;
use crate::support::installation::{Installation, QUICK};
use crate::support::running::Running;
use crate::support::until;

const SQLITE: &str = "sqlite:data/tallyd.db";

/// A daemon on a database, in front of a simulator.
struct Scene {
    simulator: Simulator,
    at: Installation,
    running: Running,
    caller: Caller,
}

impl Scene {
    async fn new(database_url: &str) -> Self {
        let clock = Clock::system();
        let simulator = simulator(&clock).await;
        let at = Installation::on(database_url, simulator.base_url(), QUICK);
        let running = Running::start(&at, &clock).await;
        let caller = Caller::new(running.address());
        Self { simulator, at, running, caller }
    }
}

/// Runs SQL on the SQLite file behind the daemon's back.
fn behind(at: &Installation, sql: &str) {
    rusqlite::Connection::open(at.data().join("tallyd.db")).unwrap().execute_batch(sql).unwrap();
}

fn set_aside(at: &Installation) -> Vec<String> {
    let text = std::fs::read_to_string(at.data().join("journal/set-aside.ndjson")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_away_costs_no_call() {
    let Scene { simulator: _simulator, at, running, caller } = Scene::new(SQLITE).await;
    chat(&caller, "a", "").await;
    rows(&at, 1).await;
    behind(&at, "ALTER TABLE spend_cells RENAME TO away");
    for _ in 0..4 {
        chat(&caller, "a", "").await;
    }
    writable(&caller, false).await;
    behind(&at, "ALTER TABLE away RENAME TO spend_cells");
    rows(&at, 5).await;
    writable(&caller, true).await;
    assert_eq!(set_aside(&at), Vec::<String>::new());
    running.stop().await;
    at.verify().await;
}

/// Makes calls while the server refuses, and sees that none is lost.
async fn refused_for_a_while(url: &str, daemon_url: &str, refuse: &str, allow: &str) {
    let Scene { simulator: _simulator, at, running, caller } = Scene::new(daemon_url).await;
    chat(&caller, "a", "").await;
    rows(&at, 1).await;
    let mut administrator = connect(&format!("{}/postgres", url.rsplit_once('/').unwrap().0)).await;
    let name = url.rsplit_once('/').unwrap().1;
    let away = format!(
        "{refuse}; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(away)).execute(&mut administrator).await.unwrap();
    for _ in 0..4 {
        chat(&caller, "a", "").await;
    }
    writable(&caller, false).await;
    let back = format!(
        "{allow}; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(back)).execute(&mut administrator).await.unwrap();
    writable(&caller, true).await;
    rows(&at, 5).await;
    assert_eq!(set_aside(&at), Vec::<String>::new());
    running.stop().await;
    at.verify().await;
    administrator.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_postgres_costs_no_call() {
    on_a_postgres_of_its_own("read_only", async |url| {
        let name = url.rsplit_once('/').unwrap().1;
        let alter = |value| format!("ALTER DATABASE \"{name}\" SET default_transaction_read_only = {value}");
        refused_for_a_while(url, url, &alter("on"), &alter("off")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_lets_nobody_in_costs_no_call() {
    on_a_postgres_of_its_own("locked_out", async |url| {
        let (base, name) = url.rsplit_once('/').unwrap();
        let role = format!("{name}_role");
        let mut administrator = connect(url).await;
        // Any lesser one could not make the role that queries run as.
        let make = format!("CREATE ROLE \"{role}\" SUPERUSER LOGIN PASSWORD 'first'");
        sqlx::raw_sql(sqlx::AssertSqlSafe(make)).execute(&mut administrator).await.unwrap();
        administrator.close().await.unwrap();
        let place = base.rsplit_once('@').map_or(base, |(_, place)| place);
        // A server that trusts local users asks for no password, so the role may not log in either.
        let refuse = format!("ALTER ROLE \"{role}\" NOLOGIN PASSWORD 'second'");
        let allow = format!("ALTER ROLE \"{role}\" LOGIN PASSWORD 'first'");
        refused_for_a_while(url, &format!("postgres://{role}:first@{place}/{name}"), &refuse, &allow).await;
        let mut administrator = connect(url).await;
        let drop = format!("DROP OWNED BY \"{role}\" CASCADE; DROP ROLE \"{role}\"");
        sqlx::raw_sql(sqlx::AssertSqlSafe(drop)).execute(&mut administrator).await.unwrap();
        administrator.close().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_refused_for_good_is_set_aside_alone() {
    let Scene { simulator: _simulator, at, running, caller } = Scene::new(SQLITE).await;
    behind(
        &at,
        "CREATE TRIGGER refusing BEFORE INSERT ON calls WHEN NEW.app = 'bad' BEGIN SELECT RAISE(ABORT, 'no'); END;
         CREATE TABLE once (x INTEGER PRIMARY KEY); INSERT INTO once VALUES (1);
         CREATE TRIGGER racing BEFORE INSERT ON calls WHEN NEW.app = 'twice' BEGIN INSERT INTO once VALUES (1); END;",
    );
    for app in ["good", "bad", "good", "twice", "good"] {
        chat(&caller, app, "").await;
    }
    rows(&at, 3).await;
    until("an empty journal", async || running.journal().is_empty().then_some(())).await;
    let aside = set_aside(&at);
    assert!(aside.iter().any(|line| line.contains("\"bad\"")), "{aside:#?}");
    assert!(aside.iter().any(|line| line.contains("\"twice\"")), "{aside:#?}");
    assert!(!aside.iter().any(|line| line.contains("\"good\"")), "{aside:#?}");
    writable(&caller, true).await;
    running.stop().await;
    let ended = at.run(&["verify"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let told = ended.out.lines().find(|line| line.contains("set-aside.ndjson")).unwrap();
    assert!(told.contains(&format!("{} records", aside.len())), "{told}");
    assert!(ended.out.contains("all sums agree with the rows: 3 rows,"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_can_not_be_set_aside_stays_in_the_journal() {
    let Scene { simulator: _simulator, at, running, caller } = Scene::new(SQLITE).await;
    let in_the_way = at.data().join("journal/set-aside.ndjson");
    std::fs::create_dir(&in_the_way).unwrap();
    running.journal().append(b"what a newer tallyd may write").unwrap();
    writable(&caller, false).await;
    assert!(!running.journal().is_empty());
    std::fs::remove_dir(&in_the_way).unwrap();
    until("an empty journal", async || running.journal().is_empty().then_some(())).await;
    assert_eq!(set_aside(&at), ["what a newer tallyd may write"]);
    chat(&caller, "a", "").await;
    rows(&at, 1).await;
    running.stop().await;
    let ended = at.run(&["verify"]).await;
    assert!(ended.out.contains("set-aside.ndjson holds 1 record "), "{ended:?}");
    assert!(ended.out.contains("agree with the rows: 1 row, 8 roll-ups, 0 budget counters;"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_tells_what_waits_in_the_journal() {
    let Scene { simulator: _simulator, at, running, caller } = Scene::new(SQLITE).await;
    chat(&caller, "a", "").await;
    rows(&at, 1).await;
    behind(&at, "ALTER TABLE spend_cells RENAME TO away");
    chat(&caller, "a", "").await;
    writable(&caller, false).await;
    running.stop().await;
    behind(&at, "ALTER TABLE away RENAME TO spend_cells");
    let ended = at.run(&["verify"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("journal holds ") && ended.out.contains(" not in the database yet"), "{ended:?}");
    let running = Running::start(&at, &Clock::system()).await;
    rows(&at, 2).await;
    until("an empty journal", async || running.journal().is_empty().then_some(())).await;
    let ended = at.run(&["verify"]).await;
    assert!(!ended.out.contains("holds"), "{ended:?}");
    running.stop().await;
}
