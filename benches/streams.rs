//! What tallyd adds to each chunk of a stream, and what a thousand large streams cost in memory.
//!
//! Upstream and clients live in this process and share a clock, so a chunk's delay is measured from the moment it is
//! written upstream to the moment the client has it. `cargo bench --bench streams`

#![expect(clippy::disallowed_methods, reason = "a bench measures by the real clock")]

mod support;

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use support::Daemon;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Streams for the delay, their chunks a second, and for how long.
const TICKING: usize = 50;
const TICKS_A_SECOND: u32 = 20;
const TICKS: u32 = 200;

/// Streams for the memory, their chunks and the chunks' size: 2 MB each.
const LARGE: usize = 1_000;
const LARGE_CHUNKS: usize = 64;
const LARGE_CHUNK: usize = 32 * 1024;
const LARGE_GAP: Duration = Duration::from_millis(400);

/// The line of text in front of which an event carries the time it was sent.
const MARK: &[u8] = b"\"sent_ns\":\"";

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(run());
}

async fn run() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
    let upstream = listener.local_addr().expect("it has an address").to_string();
    let mut tasks = JoinSet::new();
    tasks.spawn(serve(listener));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let daemon = Daemon::start(folder.path(), &upstream, "");
    println!("idle: {} MiB resident", daemon.memory().0);
    for (name, port) in [
        ("directly", upstream.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0)),
        ("through tallyd", daemon.port),
    ] {
        let delays = delays(port).await;
        println!(
            "{TICKING} streams of {TICKS_A_SECOND} chunks a second, {name}: median {:.3} ms, p99 {:.3} ms ({} chunks)",
            milliseconds(percentile(&delays, 50)),
            milliseconds(percentile(&delays, 99)),
            delays.len()
        );
    }
    println!("(bounds: median 1 ms, p99 5 ms)");
    let bytes = large(daemon.port).await;
    let (now, most) = daemon.memory();
    println!(
        "{LARGE} concurrent streams of 2 MB: {bytes} bytes passed, at most {most} MiB resident (bound 150), {now} MiB after"
    );
}

#[expect(clippy::cast_precision_loss, reason = "for printing")]
fn milliseconds(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

/// Nanoseconds since this process's first look at the clock.
fn nanos() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// The value at a share of sorted values, in percent.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    sorted.get((sorted.len().saturating_sub(1)) * percent / 100).copied().unwrap_or(0)
}

async fn serve(listener: TcpListener) {
    let number = Arc::new(AtomicUsize::new(0));
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let number = Arc::clone(&number);
        connections.spawn(async move {
            let _ = answer(stream, &number).await;
        });
    }
}

async fn answer(mut stream: TcpStream, number: &AtomicUsize) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        request.extend_from_slice(&buffer[..read]);
        if !request.ends_with(b"}") {
            if request.starts_with(b"GET") && request.ends_with(b"\r\n\r\n") {
                stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}").await?;
                request.clear();
            }
            continue;
        }
        let large = request.windows(5).any(|window| window == b"large");
        request.clear();
        let id = format!("gen-1789000001-{:020}", number.fetch_add(1, Ordering::Relaxed));
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Generation-Id: {id}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        let filler = "x".repeat(if large { LARGE_CHUNK - 256 } else { 40 });
        let count = if large { LARGE_CHUNKS } else { TICKS as usize };
        let gap = if large { LARGE_GAP } else { Duration::from_secs(1) / TICKS_A_SECOND };
        for _ in 0..count {
            tokio::time::sleep(gap).await;
            event(&mut stream, &format!("{{\"id\":\"{id}\",\"sent_ns\":\"{:020}\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{filler}\"}}}}]}}", nanos())).await?;
        }
        event(&mut stream, &format!("{{\"id\":\"{id}\",\"model\":\"openai/gpt-4o-mini\",\"choices\":[],\"usage\":{{\"prompt_tokens\":1,\"completion_tokens\":2,\"cost\":0.0001}}}}")).await?;
        event(&mut stream, "[DONE]").await?;
        stream.write_all(b"0\r\n\r\n").await?;
    }
}

async fn event(stream: &mut TcpStream, data: &str) -> std::io::Result<()> {
    let mut chunk = String::with_capacity(data.len() + 32);
    let _ = write!(chunk, "{:x}\r\ndata: {data}\n\n\r\n", data.len() + 8);
    stream.write_all(chunk.as_bytes()).await
}

async fn delays(port: u16) -> Vec<u64> {
    let mut clients = JoinSet::new();
    for _ in 0..TICKING {
        clients.spawn(async move {
            let mut delays = Vec::new();
            read(port, "tick", |piece| {
                let now = nanos();
                let mut rest = piece;
                while let Some(at) = rest.windows(MARK.len()).position(|window| window == MARK) {
                    rest = &rest[at + MARK.len()..];
                    let sent = rest
                        .get(..20)
                        .and_then(|digits| std::str::from_utf8(digits).ok())
                        .and_then(|text| text.parse::<u64>().ok());
                    delays.extend(sent.map(|sent| now.saturating_sub(sent)));
                }
            })
            .await;
            delays
        });
    }
    let mut all: Vec<u64> = clients.join_all().await.into_iter().flatten().collect();
    all.sort_unstable();
    all
}

async fn large(port: u16) -> usize {
    let mut clients = JoinSet::new();
    for _ in 0..LARGE {
        clients.spawn(async move {
            let mut bytes = 0;
            read(port, "large", |piece| bytes += piece.len()).await;
            bytes
        });
    }
    clients.join_all().await.into_iter().sum()
}

async fn read(port: u16, model: &str, mut take: impl FnMut(&[u8])) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
    let body = format!("{{\"stream\":true,\"model\":\"{model}\"}}");
    let request = format!(
        "POST /api/v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer sk-or-v1-bench\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut buffer = vec![0; 64 * 1024];
    let mut tail = Vec::new();
    loop {
        let read = stream.read(&mut buffer).await.expect("it answers");
        assert!(read > 0, "the stream was cut");
        take(&buffer[..read]);
        tail.extend_from_slice(&buffer[read.saturating_sub(8)..read]);
        if tail.ends_with(b"0\r\n\r\n") {
            return;
        }
        let keep = tail.len().saturating_sub(8);
        tail.drain(..keep);
    }
}
