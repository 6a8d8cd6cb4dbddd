//! `tallyd demo`: it needs nothing and leaves nothing; with `--database`, an invented past in a database of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;

use crate::store::calls::save;
use crate::store::engines::on_sqlite;
use crate::store::samples::settled;
use crate::support::caller::Caller;
use crate::support::installation::Installation;
use crate::support::until;

fn tallyd(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tallyd"));
    command.args(arguments).env_clear().output().unwrap()
}

fn filled(url: &str) -> Output {
    tallyd(&["demo", "--only-fill", "--completions", "3000", "--days", "9", "--database", url])
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn config(folder: &Path, url: &str) -> String {
    let file = folder.join("tallyd.toml");
    std::fs::write(&file, format!("database_url = \"{url}\"\njournal_dir = \"{}\"\n", folder.join("j").display()))
        .unwrap();
    file.display().to_string()
}

#[test]
fn a_past_of_any_size_is_filled_once_and_every_sum_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("demo.db").display());
    let first = filled(&url);
    assert!(
        first.status.success() && told(&first).contains("3,000 completions of the last 9 days"),
        "{}",
        told(&first)
    );
    let config = config(folder.path(), &url);
    let verified = tallyd(&["--config", &config, "verify"]);
    assert!(verified.status.success(), "{}", told(&verified));
    assert!(told(&verified).contains("all sums agree with the rows: 3000 rows"), "{}", told(&verified));
    let days = "SELECT COUNT(DISTINCT day) AS days, SUM(completions + failures) AS calls FROM spend_by_day";
    let asked = tallyd(&["--config", &config, "sql", "--format", "csv", days]);
    assert!(told(&asked).contains("10,3000"), "{}", told(&asked));
    let again = filled(&url);
    assert!(again.status.success() && told(&again).contains("an earlier demo"), "{}", told(&again));
    let verified = tallyd(&["--config", &config, "verify"]);
    assert!(told(&verified).contains("3000 rows"), "{}", told(&verified));
}

#[tokio::test]
async fn a_database_with_rows_of_its_own_is_left_alone() {
    on_sqlite(async |database| {
        save(database, &[settled(1)]).await;
        database.store.close().await;
        let refused = filled(&database.url);
        assert!(!refused.status.success() && told(&refused).contains("no demo's"), "{}", told(&refused));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demonstration_asks_for_nothing_shows_what_it_should_and_leaves_nothing() {
    let at = Installation::new("http://127.0.0.1:9/api/v1", "");
    // Neither the file nor the environment counts, and somebody else may have its port.
    at.configure("listen = [nonsense");
    let _taken = TcpListener::bind("127.0.0.1:7117").await;
    let temporary = at.folder().join("temporary");
    std::fs::create_dir(&temporary).unwrap();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_tallyd"));
    command.arg("demo").env_clear().kill_on_drop(true);
    command
        .env("HOME", at.folder())
        .env("TALLYD_CONFIG", at.config_file())
        .env("TMPDIR", &temporary)
        .env("DATABASE_URL", "postgres://nobody@127.0.0.1:9/none")
        .env("TALLYD_LISTEN", "no");
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let (mut address, mut database): (Option<SocketAddr>, Option<PathBuf>) = (None, None);
    while address.is_none() || database.is_none() {
        let line = lines.next_line().await.unwrap().expect("the demonstration goes on");
        if let Some(page) = line.strip_prefix("The dashboard:  http://") {
            address = Some(page.trim_end_matches('/').parse().unwrap());
        }
        if let Some((_, rest)) = line.split_once("--database-url sqlite:") {
            database = Some(rest.split(' ').next().unwrap().into());
        }
    }
    let (caller, database) = (Caller::new(address.unwrap()), database.unwrap());
    assert!(database.starts_with(&temporary), "{}", database.display());
    assert_eq!(caller.get("/").await.status, 200);

    // From here on commands read its database.
    at.configure(&format!("database_url = \"sqlite:{}\"\n", database.display()));
    at.verify().await;
    until("the past and living calls", async || {
        (at.number("SELECT COUNT(*) FROM usage").await > 200_000).then_some(())
    })
    .await;
    at.verify().await;
    for (what, least, query) in [
        ("programs", 4, "SELECT COUNT(DISTINCT app) FROM usage"),
        ("models", 4, "SELECT COUNT(DISTINCT model) FROM usage"),
        ("keys", 3, "SELECT COUNT(DISTINCT key_name) FROM usage"),
        ("days", 40, "SELECT COUNT(DISTINCT substr(created_at, 1, 10)) FROM usage"),
        ("crossings", 1, "SELECT COUNT(*) FROM alert_history"),
        ("fallbacks", 1, "SELECT COUNT(*) FROM usage WHERE flags LIKE '%fallback_%'"),
        ("failures", 1, "SELECT COUNT(*) FROM usage WHERE state = 'failed'"),
        ("streams that were cut", 1, "SELECT COUNT(*) FROM usage WHERE streamed AND cancelled"),
    ] {
        let there = at.number(query).await;
        assert!(there >= least, "{there} {what}");
    }
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(child.wait().await.unwrap().success());
    let left: Vec<_> = std::fs::read_dir(&temporary).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}
