//! `tallyd import`: history in every form it comes in, through the daemon and without one, once and again.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use secrecy::SecretString;
use tallyd::clock::{Clock, Entropy};
use tallyd::domain::table::Cell;
use tallyd::domain::time::{DAY_MS, Timestamp};
use tallyd::import::gaps::Search;
use tallyd::import::pieces::{MAX_PIECE, PIECE};
use tallyd::openrouter::{Client, ReadError, Timeouts};
use tallyd::sim::truth::Billed;
use tallyd::sim::{ExportColumns, SimConfig, SimKey, Simulator, Target};
use tokio::io::AsyncWriteExt as _;

use crate::store::engines::on_a_postgres_of_its_own;
use crate::support::caller::{Caller, read};
use crate::support::installation::{Ended, Installation, KEY, QUICK, text};
use crate::support::mixture::Call;
use crate::support::pacer::Pacer;
use crate::support::process::Process;
use crate::support::running::Running;
use crate::support::terminal::on_a_terminal;
use crate::support::until;

/// Thursday, 19 November 2026, 10:00 UTC.
const START: Timestamp = Timestamp(1_795_082_400_000);

const NOWHERE: &str = "http://127.0.0.1:9/api/v1";
const MANAGEMENT_KEY: &str = "sk-or-v1-management-key-0009";
const EXPORT: &str = include_str!("../fixtures/payloads/activity_logs_export.csv");

/// Makes calls past the gateway.
async fn calls(simulator: &Simulator, numbers: std::ops::Range<u64>) {
    let caller = Caller::new(simulator.address());
    let bearer = format!("Bearer {KEY}");
    for number in numbers {
        let call = Call::nth(number);
        let behaviour: Vec<&str> = call.behaviour.split(';').filter(|part| !part.contains("reads")).collect();
        let behaviour = behaviour.join(";");
        let headers = [("content-type", "application/json"), ("authorization", &*bearer), ("x-sim", &*behaviour)];
        if let Ok(reply) = caller.send(Method::POST, &call.path(), &headers, call.body()).await {
            read(reply).await;
        }
    }
    until("the end of every call", async || (simulator.in_flight() == 0).then_some(())).await;
}

async fn simulator(config: SimConfig) -> Simulator {
    Simulator::start(config, Clock::system(), Entropy::seeded(6)).await.unwrap()
}

async fn total(at: &Installation) -> Option<String> {
    let rows = at.sql("SELECT CAST(SUM(cost_picousd) AS TEXT) FROM usage").await;
    text(&rows[0][0]).map(str::to_owned)
}

fn write(at: &Installation, name: &str, text: impl AsRef<[u8]>) {
    std::fs::write(at.folder().join(name), text).unwrap();
}

async fn import(at: &Installation, address: Option<std::net::SocketAddr>, arguments: &[&str]) -> Ended {
    let mut all = vec!["import"];
    let listen = address.map(|address| address.to_string());
    if let Some(listen) = &listen {
        all.extend(["--listen", listen]);
    }
    all.extend(arguments);
    at.run(&all).await
}

async fn an_export_is_taken_once(database_url: &str) {
    let simulator = simulator(SimConfig::default()).await;
    calls(&simulator, 0..200).await;
    let truth = simulator.truth();
    let billed = truth.all().len();
    let at =
        Installation::on(database_url, NOWHERE, "[[budgets]]\nname = \"all\"\nwindow = \"total\"\nlimit_usd = 1000\n");
    write(&at, "new.csv", simulator.export(ExportColumns::New));
    write(&at, "old.csv", simulator.export(ExportColumns::Old));
    let daemon = Process::start(&at).await;
    let address = Some(daemon.address());
    let ended = import(&at, address, &["new.csv"]).await;
    let expected = format!("new.csv: {billed} lines of the log export: {billed} new, 0 known already, 0 changed\n");
    assert_eq!((ended.code, ended.out), (Some(0), expected), "{}", ended.err);
    assert_eq!(ended.err, "", "no bar where there is no terminal");
    assert_eq!(total(&at).await, Some(truth.total().0.to_string()));
    let settled = at.number("SELECT COUNT(*) FROM usage WHERE state = 'settled' AND captured_by = 'import'").await;
    assert_eq!(settled, billed as i128);
    // Both again, by either form's columns.
    let ended = import(&at, address, &["new.csv", "old.csv"]).await;
    let known = |name| format!("{name}: {billed} lines of the log export: 0 new, {billed} known already, 0 changed\n");
    assert_eq!((ended.code, ended.out), (Some(0), known("new.csv") + &known("old.csv")), "{}", ended.err);
    assert_eq!(total(&at).await, Some(truth.total().0.to_string()));
    daemon.stop().await;
    at.verify().await;

    // And where no daemon runs.
    let ended = import(&at, None, &["old.csv"]).await;
    assert_eq!((ended.code, ended.out), (Some(0), known("old.csv")), "{}", ended.err);
    at.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_imported_twice_is_there_once() {
    an_export_is_taken_once("sqlite:data/tallyd.db").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_imported_twice_is_there_once_on_postgres() {
    on_a_postgres_of_its_own("import", async |url| an_export_is_taken_once(url).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_a_bar_shows_how_far_an_import_is_and_is_gone_at_its_end() {
    let at = Installation::new(NOWHERE, "");
    let user = "u".repeat(400);
    let mut csv = "generation_id,created_at,cost_total,user\nno-id,2026-09-01 00:00:00,0.5,u\n".to_owned();
    for number in 0..3_000 {
        writeln!(csv, "gen-{number},2026-09-01 00:00:00,0.5,{user}").unwrap();
    }
    assert!(csv.len() > 2 * PIECE, "three pieces");
    write(&at, "history.csv", &csv);
    let Some(ended) = on_a_terminal(&at, &["import", "history.csv"]).await else {
        eprintln!("skipped: there is no `script` of util-linux to make a terminal");
        return;
    };
    let told = &ended.out;
    assert_eq!(ended.code, Some(1), "{told:?}");
    // Each drawing replaces the last.
    let drawn: Vec<&str> = told.split("\u{1b}[2K").filter(|part| part.contains('█')).collect();
    assert!(!drawn.is_empty(), "{told:?}");
    let hundredths = (csv.len() * 100 + (1 << 19)) >> 20;
    let total = format!("/{}.{:02} MiB", hundredths / 100, hundredths % 100);
    for bar in drawn {
        let bar = bar.rsplit('\n').next().unwrap().trim_end();
        assert!(bar.contains(&total) && bar.contains(" rows") && bar.ends_with(" left"), "{bar:?}");
    }
    assert!(told.contains(" rows, ") && told.contains("/s  "), "how fast it is: {told:?}");
    // What else is told stands on lines of its own, and the bar does not stay.
    let lines: Vec<&str> = told.lines().map(|line| line.rsplit("\u{1b}[2K").next().unwrap()).collect();
    assert!(lines.iter().any(|line| line.starts_with("history.csv, line 2: generation_id is none")), "{told:?}");
    let last = "history.csv: 3,000 lines of the log export: 3,000 new, 0 known already, 0 changed, 1 rejected (kept in \
                history.csv.rejects)";
    assert_eq!(lines.last(), Some(&last), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_line_is_named_and_kept_and_the_others_are_taken() {
    let at = Installation::new(NOWHERE, "");
    let mut lines: Vec<String> = EXPORT.lines().map(|line| format!("{line},happy\r\n")).collect();
    lines[0] = lines[0].replace("happy", "mood").replace("tokens_cached", "\"tokens_cached\"");
    let with_break = lines[1].replace("team-billing", "\"team,\nbilling\"");
    lines[1] = with_break;
    lines.insert(3, "gen-bad-cost,2026-09-10 00:26:41,a lot,,,,,,,,,,,,,,,,,,,,,,\r\n".to_owned());
    lines.push("gen-short,2026-09-10 00:26:41\r\n".to_owned());
    lines.push("\r\n".to_owned());
    let header = lines[0].clone();
    let text = format!("\u{feff}{}", lines.concat());
    write(&at, "history.csv", &text);
    let ended = import(&at, None, &["history.csv"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(
        ended.out,
        "history.csv: 4 lines of the log export: 4 new, 0 known already, 0 changed, 2 rejected (kept in history.csv.rejects)\n"
    );
    let told: Vec<&str> = ended.err.lines().collect();
    assert_eq!(
        told,
        [
            "history.csv, line 5: cost_total is not an amount within ±$9.2 million",
            "history.csv, line 8: it has 2 cells where the header has 25",
            "history.csv: nothing is read from columns that are not known here: mood",
        ]
    );
    let rejects = at.folder().join("history.csv.rejects");
    let kept = std::fs::read_to_string(&rejects).unwrap();
    assert_eq!(kept, format!("\u{feff}{header}{}{}", lines[3], lines[6]));
    assert_eq!(rejects.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let users = at.sql("SELECT end_user FROM usage WHERE end_user IS NOT NULL").await;
    assert_eq!(users, [[Cell::Text("team, billing".to_owned())]]);
    // What is mended is imported from there.
    std::fs::write(&rejects, kept.replace("a lot", "0.5").replace("gen-short,2026-09-10 00:26:41\r\n", "")).unwrap();
    let ended = import(&at, None, &["history.csv.rejects"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("1 new"), "{ended:?}");
    at.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_every_kind_are_told_apart_and_settle_as_their_kind_says() {
    let simulator = simulator(SimConfig::default()).await;
    calls(&simulator, 0..40).await;
    let at = Installation::new(simulator.base_url(), QUICK);
    let compact = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap().to_string() + "\n";
    let mut lines: String = listed(&simulator.truth().all());
    let ids = simulator.truth().all().len();
    lines += "{\"id\":\"gen-1789000999-Labelled\",\"app\":\"bot\",\"tags\":{\"team\":\"blue\"}}\n\n";
    lines += &compact(include_str!("../fixtures/payloads/generation_settled.json"));
    lines += &compact(include_str!("../fixtures/payloads/generation_settled_byok.json"));
    lines += &compact(include_str!("../fixtures/payloads/chat_completion.json"));
    lines += "{\"id\":\"gen-1\",\"no\":\"such label\"}\n";
    let daemon = Process::start(&at).await;
    let mut command = at.command(&["import", "--listen", &daemon.address().to_string(), "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(lines.as_bytes()).await.unwrap();
    drop(input);
    let output = child.wait_with_output().await.unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    assert_eq!(
        out,
        format!(
            "standard input: {} generation IDs, 1 replies, 2 generation records: {} new, 0 known already, 0 changed, 1 rejected (kept in stdin.rejects)\n",
            ids + 1,
            ids + 4
        )
    );
    assert!(err.starts_with(&format!("standard input, line {}: unknown field `no`", ids + 6)), "{err}");
    assert_eq!(
        std::fs::read_to_string(at.folder().join("stdin.rejects")).unwrap(),
        "{\"id\":\"gen-1\",\"no\":\"such label\"}\n"
    );
    let settled = "SELECT COUNT(*) FROM usage WHERE state = 'settled'";
    until("the records of all IDs", async || (at.number(settled).await == ids as i128 + 2).then_some(())).await;
    let byok = "SELECT CAST(cost_picousd AS TEXT), state FROM usage WHERE generation_id = 'gen-1789000240-ByokKeyGenerationAb1'";
    assert_eq!(at.sql(byok).await, [[Cell::Text("36078000000".to_owned()), Cell::Text("settled".to_owned())]]);
    let reply = "SELECT state, CAST(inline_cost_usd AS TEXT) <> '', created_at < '2026-11-01' FROM usage WHERE generation_id = 'gen-1789000122-Zy9Xw8Vu7Ts6Rq5Po4Nm'";
    let row = at.sql(reply).await;
    assert_eq!(row[0][0], Cell::Text("pending".to_owned()), "its record is not to be had here");
    let labelled = at.sql("SELECT app, captured_by FROM usage WHERE generation_id = 'gen-1789000999-Labelled'").await;
    assert_eq!(labelled, [[Cell::Text("bot".to_owned()), Cell::Text("import".to_owned())]]);
    daemon.stop().await;
    at.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_import_is_refused_with_what_it_should_be() {
    let at = Installation::new(NOWHERE, "");
    write(&at, "activity.csv", "date,usage\n2026-09-10,1\n");
    write(&at, "empty.csv", "");
    let ended = import(&at, None, &["activity.csv"]).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("activity.csv is neither OpenRouter's log export"), "{ended:?}");
    let ended = import(&at, None, &["nowhere.csv"]).await;
    assert!(ended.code == Some(1) && ended.err.contains("nowhere.csv can not be read"), "{ended:?}");
    let ended = import(&at, None, &["empty.csv"]).await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "empty.csv: nothing: 0 new, 0 known already, 0 changed\n"));
    assert_eq!(import(&at, None, &[]).await.code, Some(2));
    assert_eq!(import(&at, None, &["--since", "7d", "activity.csv"]).await.code, Some(2));
    let ended = import(&at, None, &["--from-openrouter"]).await;
    assert!(ended.code == Some(2) && ended.err.contains("OPENROUTER_MANAGEMENT_KEY"), "{ended:?}");

    let running = Running::start(&at, &Clock::system()).await;
    let caller = Caller::new(running.address());
    let reply = caller.post("/tally/v1/import", &[], "date,usage\n".to_owned()).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    let reply = caller.post("/tally/v1/import", &[("content-type", "text/csv")], "generation_id\n".to_owned()).await;
    assert!(reply.status == StatusCode::BAD_REQUEST && reply.text().contains("cost_total"), "{}", reply.text());
    let reply = caller.post("/tally/v1/import", &[], vec![b'\n'; MAX_PIECE + 1]).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    let reply = caller.post("/tally/v1/import", &[], "\u{feff}gen-1\nwhat\n".to_owned()).await;
    let answer = reply.json();
    assert_eq!((&answer["new"], &answer["rejected"][0]["line"]), (&1.into(), &2.into()), "{answer}");
    running.stop().await;
}

/// The IDs, one a line.
fn listed(billed: &[Arc<Billed>]) -> String {
    let ids: Vec<&str> = billed.iter().map(|billed| billed.id.as_str()).collect();
    ids.join("\n") + "\n"
}

/// A line of the log export.
fn line(id: &str, at: Timestamp, cost: &str) -> String {
    format!("{id},{},{cost}\n", at.to_iso().replace('T', " ").trim_end_matches('Z'))
}

#[tokio::test(flavor = "multi_thread")]
async fn imported_rows_mail_for_the_window_that_runs_and_for_none_that_has_ended() {
    let clock = Clock::manual(START);
    let tables = "[[budgets]]\nname = \"daily\"\nwindow = \"day\"\nlimit_usd = 1\nalert_at = [\"100%\"]\nnotify = [\"lead@example.com\"]\n";
    let at = Installation::new(NOWHERE, tables);
    Running::start(&at, &clock).await.stop().await;
    clock.advance(Duration::from_hours(20));
    let running = Running::start(&at, &clock).await;
    let caller = Caller::new(running.address());
    let csv = [("content-type", "text/csv")];
    let header = "generation_id,created_at,cost_total\n".to_owned();
    let now = clock.now();
    let text = header.clone() + &line("gen-1", now, "0.5") + &line("gen-2", now.plus_millis(-DAY_MS), "5");
    assert_eq!(caller.post("/tally/v1/import", &csv, text).await.status, StatusCode::OK);
    let history = "SELECT mail_state, window_end < '2026-11-20T01' FROM alert_history ORDER BY window_start";
    let told = at.sql(history).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0][0], Cell::Text("not_mailed".to_owned()), "the day ended six hours ago: {told:?}");
    let text = header + &line("gen-3", now, "0.6");
    assert_eq!(caller.post("/tally/v1/import", &csv, text).await.status, StatusCode::OK);
    let told = at.sql(history).await;
    assert_eq!((told.len(), &told[1][0]), (2, &Cell::Text("queued".to_owned())), "{told:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_ledger_never_saw_is_found_and_settled() {
    let manager = SimKey { management: true, ..SimKey::new(MANAGEMENT_KEY) };
    let simulator = simulator(SimConfig { keys: vec![manager], ..SimConfig::default() }).await;
    calls(&simulator, 0..30).await;
    let billed = simulator.truth().all();
    let at = Installation::new(simulator.base_url(), &format!("management_key = \"{MANAGEMENT_KEY}\"\n{QUICK}"));
    let daemon = Process::start(&at).await;
    let address = Some(daemon.address());
    write(&at, "seen", listed(&billed[..5]));
    assert_eq!(import(&at, address, &["seen"]).await.code, Some(0));
    let ended = import(&at, address, &["--from-openrouter", "--since", "1d"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let wanted = format!(
        "OpenRouter names {} generations: {} the ledger never saw, 5 known already.",
        billed.len(),
        billed.len() - 5
    );
    assert!(ended.out.starts_with(&wanted), "{ended:?}");
    let settled = "SELECT COUNT(*) FROM usage WHERE state = 'settled'";
    until("every record", async || (at.number(settled).await == billed.len() as i128).then_some(())).await;
    assert_eq!(total(&at).await, Some(simulator.truth().total().0.to_string()));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_cut_are_asked_for_in_shorter_ranges_and_within_the_rate() {
    let clock = Clock::manual(START);
    let manager = SimKey { management: true, ..SimKey::new(MANAGEMENT_KEY) };
    let config = SimConfig { keys: vec![manager], analytics_rows: 7, ..SimConfig::default() };
    let simulator = Simulator::start(config, clock.clone(), Entropy::seeded(6)).await.unwrap();
    let pacer = Pacer::start(&clock);
    for number in 0..30 {
        calls(&simulator, number..number + 1).await;
        clock.advance(Duration::from_hours(if number == 10 { 40 * 24 } else { 7 }));
    }
    pacer.set_speed(100);
    let timeouts = Timeouts { connect: Duration::from_hours(1), reading: Duration::from_hours(1) };
    let url = simulator.base_url().parse().unwrap();
    let search = |key: &str| {
        let client = Client::new(&url, timeouts, clock.clone()).unwrap();
        Search::new(client, SecretString::from(key.to_owned()), clock.clone(), Timestamp(0))
    };
    simulator.script(Target::Account, "status=500").unwrap();
    simulator.script(Target::Account, "status=429;retry_after=3").unwrap();
    let mut found = BTreeSet::new();
    let mut all = search(MANAGEMENT_KEY);
    while let Some(ids) = all.next().await.unwrap() {
        assert!(ids.len() <= 7);
        for id in ids {
            assert!(found.insert(id.to_string()), "{id} was found twice");
        }
    }
    let reach = clock.now().plus_millis(-31 * DAY_MS);
    let truth = simulator.truth().all();
    let expected: BTreeSet<String> =
        truth.iter().filter(|billed| billed.created_at >= reach).map(|billed| billed.id.to_string()).collect();
    assert!(expected.len() > 14 && expected.len() < truth.len(), "{} of {}", expected.len(), truth.len());
    assert_eq!(found, expected);
    assert!(all.asked() > 5 && all.cut() == 0, "{} {}", all.asked(), all.cut());
    let refused = search(KEY).next().await;
    assert_eq!(refused, Err(ReadError::Refused { status: 403 }));
}
