//! Replies that are not what they should be: the client gets them as they are, the ledger gets what could be known, and
//! nothing grows beyond its bound.

mod damage;
mod upstream;

use std::collections::BTreeMap;

use bytes::Bytes;
use http::HeaderMap;
use tallyd::clock::Clock;
use tallyd::domain::table::Cell;
use tallyd::ledger::intake::{MAX_BODY, MAX_ITEMS};

use self::damage::{Case, Known, whole};
use self::upstream::{Script, Upstream};
use crate::store::engines::on_a_postgres_of_its_own;
use crate::support::caller::{Caller, Reply};
use crate::support::installation::{Installation, number, text};
use crate::support::process::Process;
use crate::support::running::Running;
use crate::support::until;

/// How much is looked at of a compressed reply, so that bombs need not be large to be bombs.
const OBSERVED: &str = "[gateway]\nobserve_limit = \"2MiB\"\n";

const ASKED: &str = r#"{"model":"openai/gpt-4o-mini","messages":[]}"#;

/// What belongs to one hop, and the time.
const OF_THE_HOP: [&str; 4] = ["connection", "keep-alive", "transfer-encoding", "date"];

fn of_the_message(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    if headers.contains_key("transfer-encoding") {
        // No length of the body: who passes it on has to take it out (RFC 9112, 6.3).
        headers.remove("content-length");
    }
    for name in OF_THE_HOP {
        headers.remove(name);
    }
    headers
}

/// Makes the call of a case; the case is told to the upstream by a header, and to the ledger as the app.
async fn call(caller: &Caller, case: &str, path: &str) -> Reply {
    let headers = [("content-type", "application/json"), ("x-case", case), ("x-tally-app", case)];
    caller.post(path, &headers, ASKED).await
}

/// The client's view of the same reply with and without tallyd in between is the same.
async fn same_either_way(direct: &Caller, through: &Caller, case: &str, path: &str) {
    let (direct, through) = (call(direct, case, path).await, call(through, case, path).await);
    assert_eq!((direct.status, direct.whole), (through.status, through.whole), "{case}");
    assert_eq!(of_the_message(&direct.headers), of_the_message(&through.headers), "{case}");
    assert!(direct.body == through.body, "{case}: {:?} became {:?}", direct.text(), through.text());
}

/// The rows by their case, once all have come to their end.
async fn rows(at: &Installation, count: usize) -> BTreeMap<String, Vec<Cell>> {
    until("every row", async || {
        let over = "SELECT COUNT(*) FROM usage WHERE duration_ms IS NOT NULL";
        (at.number(over).await == i128::try_from(count).unwrap()).then_some(())
    })
    .await;
    let columns = "app, state, generation_id, cost_picousd, flags, model, native_tokens_prompt, http_status";
    let rows = at.sql(&format!("SELECT {columns} FROM usage")).await;
    rows.into_iter().map(|row| (text(&row[0]).unwrap().to_owned(), row)).collect()
}

fn known(row: &[Cell]) -> Known {
    let whole_number = |cell: &Cell| (*cell != Cell::Null).then(|| i64::try_from(number(cell)).unwrap());
    Known {
        state: text(&row[1]).unwrap().to_owned(),
        id: text(&row[2]).map(str::to_owned),
        cost: whole_number(&row[3]),
        flags: text(&row[4]).unwrap_or_default().to_owned(),
        model: text(&row[5]).map(str::to_owned),
        prompt: whole_number(&row[6]),
    }
}

/// Each row knows what it should, or all that do not are named.
fn all_known(cases: &[Case], rows: &BTreeMap<String, Vec<Cell>>) {
    let wrong = cases.iter().filter_map(|case| {
        let known = rows.get(&case.name).map(|row| known(row));
        (known.as_ref() != Some(&case.known)).then(|| format!("{}: {known:?}, not {:?}", case.name, case.known))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// All cases on one daemon, whose rows and sums are looked at afterwards.
async fn suffered(at: &Installation, upstream: &Upstream, cases: &[Case]) {
    let running = Running::start(at, &Clock::system()).await;
    let (direct, through) = (Caller::new(upstream.address), Caller::new(running.address()));
    for case in cases {
        upstream.play(&case.name, case.script.clone());
        same_either_way(&direct, &through, &case.name, case.path).await;
    }
    let rows = rows(at, cases.len()).await;
    all_known(cases, &rows);
    running.stop().await;
    at.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_replies_of_every_dialect_pass_and_tell_what_they_can() {
    let upstream = Upstream::start().await;
    let cases = damage::matrix();
    assert!(cases.len() > 300, "{}", cases.len());
    suffered(&Installation::new(&upstream.base_url(), OBSERVED), &upstream, &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_damaged_reply_tells_fits_into_postgres_too() {
    on_a_postgres_of_its_own("hostile", async |url| {
        let upstream = Upstream::start().await;
        let cases: Vec<Case> = damage::matrix().into_iter().step_by(3).collect();
        suffered(&Installation::on(url, &upstream.base_url(), OBSERVED), &upstream, &cases).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn framing_and_codings_that_lie_break_as_they_would_without_us() {
    let upstream = Upstream::start().await;
    let at = Installation::new(&upstream.base_url(), OBSERVED);
    suffered(&at, &upstream, &damage::framings()).await;
}

/// The most memory that a process ever had, and what it has, in bytes.
fn memory(pid: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let kib = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (kib("VmHWM:") << 10, kib("VmRSS:") << 10)
}

/// What the daemon may take beside what it had, for all these replies at once: the decoders' share, the buffers of some
/// fifty connections, and what an allocator keeps between them.
const GROWTH: u64 = 24 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn replies_of_any_size_take_no_more_memory_than_their_bound() {
    let upstream = Upstream::start().await;
    let tables = "[gateway]\nobserve_limit = \"2MiB\"\nobserve_memory = \"16MiB\"\n";
    let at = Installation::new(&upstream.base_url(), tables);
    let daemon = Process::start(&at).await;
    let (direct, through) = (Caller::new(upstream.address), Caller::new(daemon.address()));
    upstream.play("first", Script::with_length("application/json", "", whole("first", "chat.json")));
    same_either_way(&direct, &through, "first", "/api/v1/chat/completions").await;
    let (_, before) = memory(daemon.pid());

    let cases = damage::giants();
    for case in &cases {
        upstream.play(&case.name, case.script.clone());
    }
    let mut calls = Vec::new();
    for case in &cases {
        let (direct, through) = (direct.clone(), through.clone());
        let (name, path, length) = (case.name.clone(), case.path, case.script.body_length());
        calls.push(async move {
            let came = digest(&through, &name, path).await;
            assert_eq!(came, digest(&direct, &name, path).await, "{name}");
            assert_eq!(came.1, length, "{name}");
        });
    }
    futures_util::future::join_all(calls).await;
    let (most, _) = memory(daemon.pid());
    let grown = most.saturating_sub(before);
    assert!(grown <= GROWTH, "{} MiB beside {} MiB", grown >> 20, before >> 20);
    eprintln!("hostile giants: {} MiB beside {} MiB", grown >> 20, before >> 20);

    let rows = rows(&at, cases.len() + 1).await;
    all_known(&cases, &rows);
    daemon.stop().await;
    at.verify().await;
}

/// What the daemon may take for a full body of `/tally/v1/record`, beside what it had: a few copies of its bytes.
const TOLD: u64 = 96 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn items_that_are_told_take_no_more_memory_than_some_copies_of_their_text() {
    let at = Installation::new("http://127.0.0.1:9/api/v1", "");
    let daemon = Process::start(&at).await;
    let caller = Caller::new(daemon.address());
    let tell = async |body: String| {
        assert!(body.len() <= MAX_BODY, "{}", body.len());
        caller.post("/tally/v1/record", &[("content-type", "application/json")], body).await
    };
    let first = tell("{\"id\":\"gen-first\"}".to_owned()).await;
    assert_eq!(first.status, 202);
    let (_, before) = memory(daemon.pid());
    let room = MAX_BODY - 100;
    // As trees of values these would take some hundred times their text.
    let small = |length: usize| "{\"a\":0},".repeat(length / 8);
    let many = tell(format!("[{}{{}}]", small(room))).await;
    assert_eq!(many.status, 413, "{:?}", many.json());
    let many = tell(format!("{}{{}}", "{\"a\":0}\n".repeat(room / 8))).await;
    assert_eq!(many.status, 413, "{:?}", many.json());
    let odd = format!("{{\"id\":\"gen-odd\",\"x\":[{}0]}},", small(room / MAX_ITEMS - 50));
    let odd = tell(format!("[{}{{\"id\":\"gen-good\"}}]", odd.repeat(MAX_ITEMS - 1))).await;
    assert_eq!((odd.status.as_u16(), &odd.json()["recorded"]), (202, &1.into()));
    assert_eq!(odd.json()["refused"].as_array().unwrap().len(), MAX_ITEMS - 1);
    let long = tell(format!("[{{\"id\":\"gen-long\",\"x\":[{}0]}},{{\"id\":\"gen-fine\"}}]", small(room - 100))).await;
    assert_eq!((long.status.as_u16(), &long.json()["recorded"]), (202, &1.into()));
    let reason = long.json()["refused"][0]["reason"].to_string();
    assert!(reason.contains("longer than 65536 bytes"), "{reason}");
    let (most, _) = memory(daemon.pid());
    let grown = most.saturating_sub(before);
    assert!(grown <= TOLD, "{} MiB beside {} MiB", grown >> 20, before >> 20);
    daemon.stop().await;
}

/// Reads a reply without keeping it: its status, its length, what it hashes to, and whether it was whole.
async fn digest(caller: &Caller, case: &str, path: &str) -> (u16, u64, u64, bool) {
    use http_body_util::BodyExt as _;
    let headers = [("content-type", "application/json"), ("x-case", case), ("x-tally-app", case)];
    let response = caller.send(http::Method::POST, path, &headers, ASKED).await.unwrap();
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let (mut length, mut hash, mut is_whole) = (0, 0xcbf2_9ce4_8422_2325_u64, true);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            is_whole = false;
            break;
        };
        let data: &Bytes = frame.data_ref().unwrap();
        length += data.len() as u64;
        hash = data.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    }
    (status, length, hash, is_whole)
}
