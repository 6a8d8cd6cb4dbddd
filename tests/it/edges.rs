//! What lies at the edges of what people ask: times that no calendar holds, closed pipes, empty databases.

use std::process::Stdio;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tallyd::clock::Clock;
use tallyd::domain::time::{DAY_MS, Timestamp};
use tokio::net::TcpListener;

use crate::store::engines::on_a_postgres_of_its_own;
use crate::support::beside;
use crate::support::caller::{Caller, Reply, read};
use crate::support::installation::Installation;
use crate::support::process::Process;
use crate::support::running::Running;
use crate::support::until;

const NOWHERE: &str = "http://127.0.0.1:9/api/v1";

const NO_YEARS: [&str; 5] = ["1900-01-01", "1969-12-31", "0001-01-01", "%2B12345-01-01", "1900-01-01T00:00:00Z"];

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_no_row_can_have_is_refused_and_stops_nobody() {
    let at = Installation::new(NOWHERE, "");
    let daemon = Process::start(&at).await;
    let caller = Caller::new(daemon.address());
    for time in NO_YEARS {
        for path in ["/tally/v1/spend", "/tally/v1/spend.csv"] {
            for which in ["since", "until"] {
                let reply = caller.get(&format!("{path}?{which}={time}")).await;
                assert_eq!(reply.status, 400, "{path} {which} {time}");
                assert!(
                    reply.json()["error"]["message"].as_str().unwrap().contains("1970 to 9999"),
                    "{}",
                    reply.text()
                );
            }
        }
        let page = caller.get(&format!("/completions?since={time}")).await;
        assert_eq!(page.status, 200);
        let text = page.text();
        assert!(text.contains("1970 to 9999") && text.contains("role=\"alert\""), "{time}: {text}");
        // The filter can be taken away again.
        assert!(text.contains("Remove the filter from"), "{text}");
        let time = time.replace("%2B", "+");
        let ended = at.run(&["report", "--since", &time]).await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{ended:?}");
        assert!(ended.err.starts_with("tallyd: ") && ended.err.contains("1970 to 9999"), "{ended:?}");
        assert_eq!(ended.err.trim_end().lines().count(), 1, "{ended:?}");
    }
    let first = caller.get("/tally/v1/spend?since=1970-01-01&until=9999-12-31").await;
    assert_eq!(first.status, 200, "{}", first.text());
    daemon.stop().await;
}

/// A link in a mail, as webmail opens it.
const FOLLOWED: [(&str, &str); 4] = [
    ("accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
    ("sec-fetch-site", "cross-site"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
];

async fn ask(caller: &Caller, path: &str, headers: &[(&str, &str)]) -> Reply {
    read(caller.send(Method::GET, path, headers, String::new()).await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_a_mail_opens_its_page_and_no_other_site_reads_anything() {
    let at = Installation::new(NOWHERE, "");
    let running = Running::start(&at, &Clock::system()).await;
    let caller = Caller::new(running.address());
    for path in ["/", "/alerts", "/completions?app=a"] {
        let page = ask(&caller, path, &FOLLOWED).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.text());
        assert!(page.headers["content-security-policy"].to_str().unwrap().contains("frame-ancestors 'none'"));
    }
    for path in ["/tally/v1/spend", "/tally/v1/events", "/metrics"] {
        let refused = ask(&caller, path, &FOLLOWED).await;
        assert_eq!((refused.status, refused.json()["error"]["code"].clone()), (StatusCode::FORBIDDEN, 403.into()));
    }
    assert_eq!(ask(&caller, "/api/v1/models", &FOLLOWED).await.status, StatusCode::FORBIDDEN);
    // What only looks like it: a frame, a form, a picture.
    let mut framed = FOLLOWED;
    framed[3] = ("sec-fetch-dest", "iframe");
    let refused = ask(&caller, "/alerts?x=%22%3E", &framed).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let text = refused.text();
    assert!(text.starts_with("<!doctype html>") && text.contains("href=\"/alerts?x=%22%3E\""), "{text}");
    assert!(refused.headers["content-security-policy"].to_str().unwrap().contains("frame-ancestors 'none'"));
    let posted = caller.send(Method::POST, "/login", &FOLLOWED, String::new()).await.unwrap();
    assert_eq!(posted.status(), StatusCode::FORBIDDEN);
    let mut picture = FOLLOWED;
    picture[0] = ("accept", "image/avif,*/*;q=0.8");
    picture[2] = ("sec-fetch-mode", "no-cors");
    picture[3] = ("sec-fetch-dest", "image");
    let refused = ask(&caller, "/alerts", &picture).await;
    assert_eq!((refused.status, refused.json()["error"]["code"].clone()), (StatusCode::FORBIDDEN, 403.into()));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_is_signed_in_gets_from_a_mail_to_its_page() {
    let token = "a-token-that-nobody-guesses";
    let at = Installation::new(NOWHERE, "");
    let text = std::fs::read_to_string(at.folder().join("tallyd.toml")).unwrap();
    at.configure(&format!("admin_token = \"{token}\"\n{text}"));
    let running = Running::start(&at, &Clock::system()).await;
    let caller = Caller::new(running.address());
    // The cookie stays home: it is SameSite.
    let turned = ask(&caller, "/alerts", &FOLLOWED).await;
    assert_eq!(turned.status, StatusCode::SEE_OTHER);
    let sign_in = turned.headers["location"].to_str().unwrap().to_owned();
    let page = ask(&caller, &sign_in, &FOLLOWED).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text().contains("<a href=\"/alerts\">Open the page</a>"), "{}", page.text());
    assert!(!caller.get(&sign_in).await.text().contains("Open the page"));
    running.stop().await;
}

/// An upstream that answers every request with one reply.
async fn upstream(reply: String) -> (String, tokio::task::JoinHandle<()>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/v1", listener.local_addr().unwrap());
    let answering = beside(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let reply = reply.clone();
            beside(async move {
                let (mut request, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
                while !is_whole(&request) {
                    match stream.read(&mut buffer).await {
                        Ok(read @ 1..) => request.extend_from_slice(&buffer[..read]),
                        _ => return,
                    }
                }
                let _ = stream.write_all(reply.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (url, answering)
}

/// Whether a request with a named length has come to its end.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    });
    body.len() >= length.unwrap_or(0)
}

fn http(status: &str, headers: &str, body: &Value) -> String {
    let body = body.to_string();
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

const CHAT: &str = "/api/v1/chat/completions";

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_has_cost_nothing() {
    let (url, _answering) = upstream(http("307 Temporary Redirect", "location: /elsewhere\r\n", &json!({}))).await;
    let at = Installation::new(&url, "");
    let running = Running::start(&at, &Clock::system()).await;
    let caller = Caller::new(running.address());
    assert_eq!(caller.post(CHAT, &[], "{}".to_owned()).await.status, StatusCode::TEMPORARY_REDIRECT);
    until("a row", async || {
        let failed = "SELECT COUNT(*) FROM usage WHERE state = 'failed' AND cost_picousd = 0 AND http_status = 307";
        (at.number(failed).await == 1).then_some(())
    })
    .await;
    running.stop().await;
    at.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn costs_that_are_all_unknown_are_no_zero() {
    // Answered well, without an ID and without a cost: nobody can ever say what it was.
    let (url, _answering) = upstream(http("200 OK", "", &json!({ "model": "a/unknown" }))).await;
    let at = Installation::new(&url, "");
    let running = Running::start(&at, &Clock::system()).await;
    let caller = Caller::new(running.address());
    assert_eq!(caller.post(CHAT, &[], json!({ "model": "a/unknown" }).to_string()).await.status, StatusCode::OK);
    until("a row", async || (at.number("SELECT COUNT(*) FROM usage").await == 1).then_some(())).await;
    let answer = caller.get("/tally/v1/spend?by=model").await.json();
    assert_eq!((&answer["rows"][0]["cost_usd"], &answer["rows"][0]["unknown"]), (&Value::Null, &1.into()), "{answer}");
    let csv = caller.get("/tally/v1/spend.csv?by=model").await.text();
    assert!(csv.lines().nth(1).unwrap().starts_with("a/unknown,1,0,0,0,,1"), "{csv}");
    let table = at.run(&["report"]).await;
    assert_eq!(table.code, Some(0), "{table:?}");
    let line = table.out.lines().nth(1).unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["a/unknown", "1", "0", "0", "0", "unknown", "1"]);
    let printed = at.run(&["report", "--format", "json"]).await;
    let printed: Value = serde_json::from_str(&printed.out).unwrap();
    assert_eq!(printed[0]["cost_usd"], Value::Null);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_had_enough_is_no_failure() {
    let at = Installation::new(NOWHERE, "");
    Process::start(&at).await.stop().await;
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT i, 'a long line of text' FROM n";
    for arguments in [
        &["sql", many] as &[&str],
        &["sql", many, "--format", "json"],
        &["sql", many, "--format", "csv"],
        &["report"],
        &["report", "--format", "csv"],
        &["verify"],
        &["check"],
    ] {
        // Both outputs are closed before a word is written to them.
        let (reader, writer) = std::io::pipe().unwrap();
        let (error_reader, error_writer) = std::io::pipe().unwrap();
        drop((reader, error_reader));
        let mut command = at.command(arguments);
        let mut child = command.stdout(Stdio::from(writer)).stderr(Stdio::from(error_writer)).spawn().unwrap();
        let status = child.wait().await.unwrap();
        assert_eq!(status.code(), Some(0), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_journal_is_told_wherever_people_look() {
    let (url, _answering) = upstream(http("200 OK", "x-generation-id: gen-1795098726-a\r\n", &json!({}))).await;
    let at = Installation::new(&url, "[journal]\nlimit = \"2MiB\"\nsegment_size = \"1MiB\"\n");
    let running = Running::start(&at, &Clock::system()).await;
    let caller = Caller::new(running.address());
    let holder = rusqlite::Connection::open(at.data().join("tallyd.db")).unwrap();
    holder.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let tags: Vec<String> = (0..20).map(|n| format!("t{n}={}", "x".repeat(500))).collect();
    let metadata: serde_json::Map<String, Value> =
        (0..12).map(|n| (format!("m{n}"), Value::from("y".repeat(500)))).collect();
    let (tags, body) = (tags.join(","), json!({ "metadata": metadata }).to_string());
    let call = async || {
        let reply = caller.post(CHAT, &[("x-tally-tags", &tags)], body.clone()).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    };
    let accepts = async || caller.readiness().await.unwrap().1["journal"]["accepts_new_calls"] == true;
    while accepts().await {
        call().await;
    }
    for _ in 0..3 {
        call().await;
    }
    let (status, told) = caller.readiness().await.unwrap();
    assert_eq!((status, &told["journal"]["uncounted_calls"]), (StatusCode::SERVICE_UNAVAILABLE, &3.into()), "{told}");
    let metrics = caller.get("/metrics").await.text();
    assert!(metrics.lines().any(|line| line == "tallyd_calls_uncounted_total 3"), "{metrics}");
    let page = caller.get("/status").await.text();
    assert!(page.contains("The journal is full.") && page.contains("3 calls since the start are in no sum"), "{page}");
    assert!(page.contains("<dt>Calls passed without a record</dt><dd class=\"bad\">3</dd>"), "{page}");
    assert!(!page.contains("Nothing is lost"), "{page}");
    holder.execute_batch("ROLLBACK").unwrap();
    until("a journal that is empty", async || {
        let (status, told) = caller.readiness().await.unwrap();
        (status.is_success() && told["journal"]["undrained_bytes"] == 0).then_some(())
    })
    .await;
    // It stays told that the ledger has a gap.
    let page = caller.get("/status").await.text();
    assert!(page.contains("<dt>Calls passed without a record</dt><dd class=\"bad\">3</dd>"), "{page}");
    running.stop().await;
    at.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_budget_that_blocks_says_when_it_lets_calls_go() {
    let start = Timestamp::parse("2026-11-22T14:07:00Z").unwrap();
    let clock = Clock::manual(start);
    let _pacer = crate::support::pacer::Pacer::start(&clock);
    let (url, _answering) = upstream(http("200 OK", "", &json!({ "usage": { "cost": 2 } }))).await;
    let at = Installation::new(
        &url,
        "[[budgets]]\nname = \"day\"\nwindow = \"rolling 24h\"\nlimit_usd = \"4.00\"\nwhen_exceeded = \"block\"\n",
    );
    let running = Running::start(&at, &clock).await;
    let caller = Caller::new(running.address());
    let call = async || caller.post(CHAT, &[], "{}".to_owned()).await;
    let counted = async |rows: i128| {
        until("a row", async || (at.number("SELECT COUNT(*) FROM usage").await == rows).then_some(())).await;
    };
    assert_eq!(call().await.status, StatusCode::OK);
    counted(1).await;
    clock.set_wall(start.plus_millis(5 * 3_600_000));
    assert_eq!(call().await.status, StatusCode::OK);
    counted(2).await;
    let refused = until("a budget that is spent", async || {
        let reply = call().await;
        (reply.status == StatusCode::PAYMENT_REQUIRED).then_some(reply)
    })
    .await;
    let metadata = &refused.json()["error"]["metadata"];
    // $4 of $4, and a third one has no room: the first $2 leave with the bucket of 14:00, whole.
    assert_eq!(metadata["resets_at"], "2026-11-23T14:15:00+00:00", "{metadata}");
    let resets = Timestamp::parse(metadata["resets_at"].as_str().unwrap()).unwrap();
    assert!(resets.millis() - start.millis() < 2 * DAY_MS);
    clock.set_wall(resets);
    until("a budget that lets calls go", async || (call().await.status == StatusCode::OK).then_some(())).await;
    running.stop().await;
}

#[tokio::test]
async fn a_database_that_was_made_and_not_used_yet_is_no_fault() {
    on_a_postgres_of_its_own("unused", async |url| {
        let at = Installation::on(url, NOWHERE, "");
        let ended = at.run(&["check"]).await;
        assert!(ended.out.contains("is empty; `tallyd serve` fills it"), "{ended:?}");
        assert!(!ended.out.contains("WRONG  database"), "{ended:?}");
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_from_one_that_is_slow() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let at = Installation::on(&format!("postgres://me:hush@127.0.0.1:{port}/tally"), NOWHERE, "");
    for command in ["verify", "serve"] {
        let ended = at.run(&[command]).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains("refused") && !ended.err.contains("no answer in time"), "{ended:?}");
        assert!(!format!("{ended:?}").contains("hush"));
    }
}
