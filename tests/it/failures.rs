//! What goes wrong around the daemon: each is said in a sentence, and nothing that was seen is lost.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use tallyd::clock::{Clock, Entropy};
use tallyd::domain::time::Timestamp;
use tallyd::sim::{SimConfig, Simulator};
use tokio::net::TcpListener;

use crate::support::caller::{Caller, Reply};
use crate::support::installation::{Installation, KEY, QUICK, text};
use crate::support::pacer::Pacer;
use crate::support::process::Process;
use crate::support::running::Running;
use crate::support::until;

const START: Timestamp = Timestamp(1_795_082_400_000);

async fn simulator(clock: &Clock) -> Simulator {
    Simulator::start(SimConfig::default(), clock.clone(), Entropy::seeded(5)).await.unwrap()
}

/// Where nobody listens.
async fn nowhere() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// Makes a call.
async fn chat(caller: &Caller, streamed: bool) -> Reply {
    let body =
        json!({ "model": "openai/gpt-4o-mini", "stream": streamed, "messages": [{ "role": "user", "content": "?" }] });
    let headers = [("authorization", &*format!("Bearer {KEY}")), ("x-sim", "prompt_tokens=1000;completion_tokens=50")];
    caller.post("/api/v1/chat/completions", &headers, body.to_string()).await
}

/// Makes so many calls, each of which must be answered to its end.
async fn calls_go_on(caller: &Caller, count: u32) {
    for turn in 0..count {
        let reply = chat(caller, turn % 2 == 0).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(reply.whole, "{}", reply.text());
    }
}

async fn rows(at: &Installation, count: u32) {
    until(&format!("{count} rows"), async || {
        (at.number("SELECT COUNT(*) FROM usage WHERE state IN ('pending', 'settled')").await == count.into())
            .then_some(())
    })
    .await;
}

/// Waits until `/readyz` says so, and gives all that it says.
async fn readiness(caller: &Caller, ready: bool) -> serde_json::Value {
    until("readiness", async || {
        let (status, body) = caller.readiness().await.unwrap();
        assert_eq!(status.is_success(), body["ready"] == true);
        (body["ready"] == ready).then_some(body)
    })
    .await
}

/// Starts the program, which must refuse; the sentence that it ends with.
async fn refusal(at: &Installation, arguments: &[&str]) -> String {
    let ended = at.run(arguments).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let (last, before) = ended.err.trim_end().rsplit_once('\n').map_or((ended.err.trim_end(), ""), |(a, b)| (b, a));
    assert!(before.lines().all(|line| line.starts_with('{')), "more than a sentence: {}", ended.err);
    last.strip_prefix("tallyd: ").unwrap_or_else(|| panic!("{ended:?}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_database_holds_nobody_up() {
    let clock = Clock::system();
    let simulator = simulator(&clock).await;
    let at = Installation::new(simulator.base_url(), QUICK);
    let running = Running::start(&at, &clock).await;
    let caller = Caller::new(running.address());
    calls_go_on(&caller, 4).await;
    rows(&at, 4).await;

    let holder = rusqlite::Connection::open(at.data().join("tallyd.db")).unwrap();
    holder.execute_batch("BEGIN EXCLUSIVE").unwrap();
    calls_go_on(&caller, 10).await;
    let held = readiness(&caller, false).await;
    assert_eq!((&held["ledger"]["writable"], &held["journal"]["accepts_new_calls"]), (&false.into(), &true.into()));
    let before = held["journal"]["undrained_bytes"].as_u64().unwrap();
    calls_go_on(&caller, 10).await;
    let after = caller.readiness().await.unwrap().1["journal"]["undrained_bytes"].as_u64().unwrap();
    assert!(before > 0 && after > before, "the journal grows: {before}, then {after}");

    holder.execute_batch("ROLLBACK").unwrap();
    rows(&at, 24).await;
    readiness(&caller, true).await;
    running.stop().await;
    at.verify().await;
}

#[tokio::test]
async fn folders_that_cannot_be_used_are_named() {
    let at = Installation::new("http://127.0.0.1:9/api/v1", "");
    fs::create_dir(at.data()).unwrap();
    let journal = at.data().join("journal");
    fs::write(&journal, "in the way").unwrap();
    let message = refusal(&at, &["serve"]).await;
    assert!(message.contains(journal.to_str().unwrap()) && message.contains("writable"), "{message}");
    fs::remove_file(&journal).unwrap();

    let database = format!("sqlite:{}", at.folder().join("tallyd.toml/tallyd.db").display());
    let message = refusal(&at, &["serve", "--database-url", &database]).await;
    assert!(message.contains("tallyd.toml") && message.contains("database_url"), "{message}");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let at = Installation::new("http://127.0.0.1:9/api/v1", "");
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let message = refusal(&at, &["serve", "--listen", &address]).await;
    assert!(message.contains(&address) && message.contains("listen"), "{message}");
}

#[tokio::test]
async fn a_database_of_somebody_else_is_left_alone() {
    let at = Installation::new("http://127.0.0.1:9/api/v1", "");
    fs::create_dir(at.data()).unwrap();
    let file = at.data().join("tallyd.db");
    let foreign = rusqlite::Connection::open(&file).unwrap();
    foreign.execute_batch("CREATE TABLE invoices (id INTEGER)").unwrap();
    drop(foreign);
    let before = fs::read(&file).unwrap();
    let message = refusal(&at, &["serve"]).await;
    assert!(message.contains("invoices") && message.contains("database_url"), "{message}");
    assert_eq!(fs::read(&file).unwrap(), before);

    fs::write(&file, "no database at all, but a letter to a friend".repeat(100)).unwrap();
    let message = refusal(&at, &["serve"]).await;
    assert!(message.contains("no SQLite database"), "{message}");
}

#[tokio::test]
async fn a_database_of_a_newer_tallyd_is_left_alone() {
    let at = Installation::new("http://127.0.0.1:9/api/v1", "");
    Process::start(&at).await.stop().await;
    let database = rusqlite::Connection::open(at.data().join("tallyd.db")).unwrap();
    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, 'later', TRUE, x'00', 0)";
    database.execute_batch(later).unwrap();
    drop(database);
    for command in ["serve", "verify"] {
        let message = refusal(&at, &[command]).await;
        assert!(message.contains("9999") && message.contains("newer"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_openrouter_costs_nothing() {
    let port = nowhere().await;
    let at = Installation::new(&format!("http://127.0.0.1:{port}/api/v1"), QUICK);
    let running = Running::start(&at, &Clock::system()).await;
    let caller = Caller::new(running.address());
    for _ in 0..3 {
        let reply = chat(&caller, true).await;
        let error = &reply.json()["error"];
        assert_eq!((reply.status.as_u16(), &error["metadata"]["error_type"]), (502, &"upstream_unreachable".into()));
        assert!(error["message"].as_str().unwrap().contains(&port.to_string()), "{error}");
    }
    until("rows", async || {
        let failed = "SELECT COUNT(*) FROM usage WHERE state = 'failed' AND cost_picousd = 0 AND generation_id IS NULL";
        (at.number(failed).await == 3).then_some(())
    })
    .await;
    readiness(&caller, true).await;
    running.stop().await;
    at.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_mail_server_holds_nobody_up() {
    let (clock, port) = (Clock::system(), nowhere().await);
    let simulator = simulator(&clock).await;
    let tables = format!(
        "{QUICK}[smtp]\nurl = \"smtp://127.0.0.1:{port}\"\n\
         [[budgets]]\nname = \"small\"\nwindow = \"total\"\nlimit_usd = \"0.0001\"\nalert_at = [\"100%\"]\nnotify = [\"lead@example.com\"]\n"
    );
    let at = Installation::new(simulator.base_url(), &tables);
    let running = Running::start(&at, &clock).await;
    let caller = Caller::new(running.address());
    calls_go_on(&caller, 2).await;
    let told = until("an alert", async || at.sql("SELECT mail_state FROM alert_history").await.pop()).await;
    assert_eq!(text(&told[0]), Some("queued"));
    calls_go_on(&caller, 2).await;
    rows(&at, 4).await;
    readiness(&caller, true).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_loses_nothing() {
    let clock = Clock::manual(START);
    let pacer = Pacer::start(&clock);
    let simulator = simulator(&clock).await;
    let tables = "connect_timeout = \"1m\"\n[journal]\nsync_timeout = \"5m\"\n\
                  [[budgets]]\nname = \"day\"\nwindow = \"day\"\nlimit_usd = \"0.001\"\n\
                  [[budgets]]\nname = \"rolling\"\nwindow = \"rolling 24h\"\nlimit_usd = \"0.001\"\n";
    let at = Installation::new(simulator.base_url(), &format!("{tables}{QUICK}timeout = \"5m\"\n"));
    let running = Running::start(&at, &clock).await;
    let caller = Caller::new(running.address());
    calls_go_on(&caller, 6).await;
    for minutes in [-10, -11 * 60, 36 * 60, -5] {
        clock.set_wall(clock.now().plus_millis(minutes * 60_000));
        calls_go_on(&caller, 6).await;
    }
    rows(&at, 30).await;
    pacer.set_speed(100);
    // The greatest step back is waited for in steps, so that a row due after it is not waited for in real time.
    until("every record", async || {
        clock.set_wall(clock.now().plus_millis(60_000));
        (at.pending().await == 0).then_some(())
    })
    .await;
    pacer.set_speed(1);
    let truth = simulator.truth().total().0;
    assert_eq!(at.number("SELECT SUM(cost_picousd) FROM usage").await, truth);
    running.stop().await;
    at.verify().await;
}

/// A small disk of its own.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, said aloud, where this user may not mount one.
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m,mode=0700", "tallyd-test"])
            .arg(at)
            .output();
        if mounted.is_ok_and(|mounted| mounted.status.success()) {
            return Some(Self(at.to_owned()));
        }
        eprintln!("SKIPPED: a full disk (this user may not mount a tmpfs)");
        None
    }

    /// Fills it to the last byte; the file that does.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("ballast");
        let mut length = 0;
        for size in [1 << 20, 1 << 14, 1 << 12] {
            while fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(&path)
                .and_then(|mut file| std::io::Write::write_all(&mut file, &vec![0; size]))
                .is_ok()
            {
                length += size;
            }
        }
        assert!(length > 0);
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What cannot be unmounted goes with the machine.
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_holds_nobody_up() {
    let clock = Clock::system();
    let simulator = simulator(&clock).await;
    let at = Installation::new(simulator.base_url(), &format!("{QUICK}[journal]\nsegment_size = \"1MiB\"\n"));
    let Some(disk) = SmallDisk::mount(&at.data()) else { return };
    let running = Process::start(&at).await;
    let caller = Caller::new(running.address());
    calls_go_on(&caller, 6).await;
    rows(&at, 6).await;

    let ballast = disk.fill();
    let mut calls = 6;
    // Small writes may still find room in pages that are there; the disk is full once the daemon says so.
    until("a daemon that is not ready", async || {
        calls_go_on(&caller, 5).await;
        calls += 5;
        let (_, body) = caller.readiness().await.unwrap();
        (body["ready"] == false).then_some(())
    })
    .await;
    calls_go_on(&caller, 10).await;
    fs::remove_file(ballast).unwrap();
    readiness(&caller, true).await;
    rows(&at, calls + 10).await;
    // Each reply that went on before its record was synced is marked and counted.
    until("marks", async || {
        let marked = at.number("SELECT COUNT(*) FROM usage WHERE flags LIKE '%not_synced%'").await;
        let metrics = caller.get("/metrics").await.text();
        let counted = metrics.lines().find_map(|line| line.strip_prefix("tallyd_journal_unsynced_total "));
        (marked > 0 && counted == Some(&*marked.to_string())).then_some(())
    })
    .await;
    running.stop().await;
    at.verify().await;
    drop(disk);
}
