//! What calls through the gateway notice of people's queries: their latency while eight hostile queries run without end, as a
//! ratio to their latency while none does, the two taken in turns within one run.
//!
//! The simulated OpenRouter and the callers live in this process; the daemon is the real binary. `cargo bench --bench console`

#![expect(clippy::disallowed_methods, reason = "a bench measures by the real clock")]

mod support;

use std::time::{Duration, Instant};

use support::Daemon;
use tallyd::clock::{Clock, Entropy};
use tallyd::sim::{SimConfig, Simulator};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Callers, and the rest of each between two calls.
const CALLERS: usize = 4;
const REST: Duration = Duration::from_millis(2);

/// Turns of each kind, and how long one lasts.
const TURNS: usize = 5;
const TURN: Duration = Duration::from_secs(6);

/// Queries asked at once, without end.
const HOSTILE: usize = 8;

const BODY: &str =
    r#"{"model":"openai/gpt-4o-mini","messages":[{"role":"user","content":"Say when budget alerts fire."}]}"#;

/// Computes, sorts, and grows a text, each for as long as it is let.
const QUERIES: [&str; 3] = [
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) SELECT COUNT(*) FROM n a, n b, n c, n d",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n ORDER BY i DESC",
    "SELECT COUNT(*) FROM usage a, usage b, usage c, usage d WHERE a.app || b.app LIKE '%x%y%' || c.app || d.app",
];

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(run());
}

async fn run() {
    let simulator = Simulator::start(SimConfig::default(), Clock::system(), Entropy::seeded(1));
    let simulator = simulator.await.expect("the simulator starts");
    let upstream = simulator.base_url().trim_start_matches("http://").trim_end_matches("/api/v1").to_owned();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let daemon = Daemon::start(folder.path(), &upstream, "");
    calls(daemon.port, TURN).await;
    let (mut calm, mut pressed) = (Vec::new(), Vec::new());
    let mut answered = 0;
    for _ in 0..TURNS {
        calm.extend(calls(daemon.port, TURN).await);
        let mut hostile = JoinSet::new();
        for place in 0..HOSTILE {
            hostile.spawn(ask(daemon.port, QUERIES[place % QUERIES.len()], TURN));
        }
        pressed.extend(calls(daemon.port, TURN).await);
        while let Some(count) = hostile.join_next().await {
            answered += count.expect("an asker ends");
        }
    }
    calm.sort_unstable();
    pressed.sort_unstable();
    println!(
        "{HOSTILE} askers had {answered} queries cut off or refused; the daemon took {} MiB at most",
        daemon.memory().1
    );
    for (name, percent) in [("median", 50), ("p95", 95), ("p99", 99)] {
        let at = |sorted: &[Duration]| sorted[(sorted.len() - 1) * percent / 100].as_secs_f64() * 1e3;
        let (before, during) = (at(&calm), at(&pressed));
        println!("{name}: {before:.2} ms without queries, {during:.2} ms beside them: {:.2} times", during / before);
    }
    println!("({} and {} calls)", calm.len(), pressed.len());
    simulator.stop().await;
}

/// The latency of every call that is made within a turn.
async fn calls(port: u16, turn: Duration) -> Vec<Duration> {
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(async move {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the daemon answers");
            stream.set_nodelay(true).expect("a socket takes it");
            let request = format!(
                "POST /api/v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
                 Authorization: Bearer sk-or-v1-bench\r\nContent-Length: {}\r\n\r\n{BODY}",
                BODY.len()
            );
            let began = Instant::now();
            let mut took = Vec::new();
            while began.elapsed() < turn {
                let call = Instant::now();
                stream.write_all(request.as_bytes()).await.expect("the daemon reads");
                read_reply(&mut stream).await;
                took.push(call.elapsed());
                tokio::time::sleep(REST).await;
            }
            took
        });
    }
    let mut all = Vec::new();
    while let Some(took) = callers.join_next().await {
        all.extend(took.expect("a caller ends"));
    }
    all
}

/// Reads one reply with a length, or in chunks.
async fn read_reply(stream: &mut TcpStream) {
    let mut seen = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        let count = stream.read(&mut buffer).await.expect("the daemon writes");
        assert!(count > 0, "the daemon closed the connection: {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..count]);
        let Some(head) = seen.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&seen[..head]).to_lowercase();
        assert!(text.starts_with("http/1.1 200"), "{text}");
        let length: Option<usize> =
            text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
        let over = match length {
            Some(length) => seen.len() >= head + 4 + length,
            None => seen.ends_with(b"0\r\n\r\n"),
        };
        if over {
            return;
        }
    }
}

/// Asks the same again and again; how often it was answered.
async fn ask(port: u16, query: &str, turn: Duration) -> u32 {
    let body = serde_json::json!({ "query": query }).to_string();
    let began = Instant::now();
    let mut answered = 0;
    while began.elapsed() < turn {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the daemon answers");
        let request = format!(
            "POST /tally/v1/sql HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.expect("the daemon reads");
        let mut reply = Vec::new();
        let left = turn.saturating_sub(began.elapsed());
        // Whoever asks leaves at the end of the turn, and the query with it.
        match tokio::time::timeout(left, stream.read_to_end(&mut reply)).await {
            Ok(_) => answered += 1,
            Err(_) => return answered,
        }
    }
    answered
}
