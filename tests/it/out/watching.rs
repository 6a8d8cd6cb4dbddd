//! `tallyd report --watch`: shown again and again, with a word when what it shows is gone, until it is told to end.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tallyd::store::{Store, StoreOptions};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::ChildStdout;

use crate::support::installation::Installation;

/// Reads on until a line holds `part`.
async fn until_told(lines: &mut Lines<BufReader<ChildStdout>>, part: &str) -> String {
    loop {
        let line = lines.next_line().await.unwrap().unwrap_or_else(|| panic!("it ended without {part:?}"));
        if line.contains(part) {
            return line;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_report_says_when_its_database_is_gone_and_ends_when_it_is_told_to() {
    let at = Installation::new("http://127.0.0.1:9/api/v1", "");
    Store::open(&StoreOptions::new(at.config().database.url())).await.unwrap().close().await;
    let mut child = at.command(&["report", "--watch", "1"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        until_told(&mut lines, "every 1 s, Ctrl+C ends it").await;
        until_told(&mut lines, "No daemon listens on 127.0.0.1").await;
        until_told(&mut lines, "$0.00 in 0 completions").await;
    }
    let (database, aside) = (at.data().join("tallyd.db"), at.data().join("aside.db"));
    std::fs::rename(&database, &aside).unwrap();
    let told = until_told(&mut lines, "The database can not be read").await;
    assert!(told.contains("Trying again"), "{told}");
    // What it held before still stands below.
    until_told(&mut lines, "$0.00 in 0 completions").await;
    std::fs::rename(&aside, &database).unwrap();
    until_told(&mut lines, "No daemon listens").await;
    kill_process(Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap(), Signal::INT).unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_watched_is_wrong_usage() {
    let at = Installation::new("http://127.0.0.1:9/api/v1", "");
    for arguments in [
        &["report", "--watch", "0"][..],
        &["report", "--watch", "--format", "csv"],
        &["report", "--watch", "--by", "colour"],
    ] {
        let ended = at.run(arguments).await;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
    }
}
