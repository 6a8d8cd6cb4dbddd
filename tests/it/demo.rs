//! `tallyd demo --database`: an invented past in a database of its own.

use std::path::Path;
use std::process::{Command, Output};

use crate::store::calls::save;
use crate::store::engines::on_sqlite;
use crate::store::samples::settled;

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
