//! An import of a million lines beside live calls: rows a second, memory, the time of its transactions, and what the calls
//! feel of it.
//!
//! `cargo bench --bench import -- --rows 1000000`. The daemon and `tallyd import` are the real binary; OpenRouter is a thread
//! here that answers at once.

#![expect(clippy::disallowed_methods, reason = "a bench measures by the real clock")]

mod support;

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::Daemon;

/// Clients, and the time from one call of each to its next: 100 calls a second in all.
const CLIENTS: usize = 4;
const BETWEEN: Duration = Duration::from_millis(40);

/// How long calls are measured alone.
const ALONE: Duration = Duration::from_secs(15);

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--rows");
    let rows: u64 = arguments.nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("history.csv");
    write_export(&file, rows);
    let upstream = upstream();
    let daemon = Daemon::start(folder.path(), &upstream, "");
    println!("idle: {} MiB resident", daemon.memory().0);

    let alone = calls(daemon.port, || std::thread::sleep(ALONE));
    let mut first = Imported::default();
    let beside = calls(daemon.port, || first = import(folder.path(), &file, &daemon));
    let mut second = Imported::default();
    let beside_second = calls(daemon.port, || second = import(folder.path(), &file, &daemon));

    println!("{}", first.told.trim());
    println!("first import:  {:.0} rows/s (bound 40000)", rate(rows, first.took));
    println!(
        "first import:  {:.1} us of processor a row, calls beside it included: {:.0} rows/s on two that do nothing else",
        1e6 / rate(rows, first.cpu),
        2.0 * rate(rows, first.cpu)
    );
    println!("{}", second.told.trim());
    println!("second import: {:.0} rows/s", rate(rows, second.took));
    println!(
        "memory at most: `tallyd import` {} MiB (bound 100), the daemon {} MiB (bound 100)",
        first.memory.max(second.memory),
        daemon.memory().1
    );
    println!("transactions of imports: median {}", median_of_transactions(&daemon.get("/metrics")));
    for (what, times) in
        [("alone", &alone), ("beside the first import", &beside), ("beside the second", &beside_second)]
    {
        println!("calls {what}: {} made, median {:.2} ms, p99 {:.2} ms", times.len(), at(times, 50), at(times, 99));
    }
    println!("p99 beside the first import: {:.2} of what it is alone (bound 2)", at(&beside, 99) / at(&alone, 99));
}

fn rate(rows: u64, took: Duration) -> f64 {
    // A million of rows is exact in any float.
    f64::from(u32::try_from(rows).unwrap_or(u32::MAX)) / took.as_secs_f64()
}

/// A percentile of sorted times, in milliseconds.
fn at(times: &[Duration], percent: usize) -> f64 {
    times.get(times.len() * percent / 100).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
}

#[derive(Default)]
struct Imported {
    took: Duration,
    /// Time on processors, of the command and the daemon.
    cpu: Duration,
    /// The most that the command took, in MiB.
    memory: u64,
    told: String,
}

fn import(folder: &Path, file: &Path, daemon: &Daemon) -> Imported {
    let (began, before) = (Instant::now(), cpu_of(daemon.pid()));
    let mut child = Command::new(env!("CARGO_BIN_EXE_tallyd"))
        .arg("--config")
        .arg(folder.join("tallyd.toml"))
        .args(["--listen", &format!("127.0.0.1:{}", daemon.port), "import"])
        .arg(file)
        .stdout(Stdio::piped())
        .env_clear()
        .spawn()
        .expect("the binary starts");
    let (mut memory, mut cpu) = (0, Duration::ZERO);
    let status = loop {
        memory = memory.max(peak(child.id()));
        cpu = cpu.max(cpu_of(child.id()));
        if let Some(status) = child.try_wait().expect("the command is ours") {
            break status;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let took = began.elapsed();
    assert!(status.success(), "the import failed");
    let mut told = String::new();
    child.stdout.take().map(|mut out| out.read_to_string(&mut told));
    Imported { took, cpu: cpu + cpu_of(daemon.pid()).saturating_sub(before), memory, told }
}

/// Time that a process's threads have spent on processors; nothing once it is gone.
fn cpu_of(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Its name, in brackets, may hold anything; user and system time are the 12th and 13th field behind it.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let ticks: u64 = fields.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    // Linux tells processes a hundred ticks a second, whatever it counts itself.
    Duration::from_millis(ticks * 10)
}

/// The most memory that a process ever had resident, in MiB.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// The median of the transactions' times, from the histogram, between the ends of its bucket.
fn median_of_transactions(metrics: &str) -> String {
    let buckets: Vec<(f64, u64)> = metrics
        .lines()
        .filter_map(|line| {
            let rest = line.strip_prefix("tallyd_import_transaction_seconds_bucket{le=\"")?;
            let (end, count) = rest.split_once("\"} ")?;
            Some((end.parse().unwrap_or(f64::INFINITY), count.trim().parse().ok()?))
        })
        .collect();
    let all = buckets.last().map_or(0, |(_, count)| *count);
    let mut before = 0.0;
    for (end, count) in buckets {
        if count * 2 >= all {
            return format!("{:.1} to {:.1} ms, of {all} (bound 20)", before * 1000.0, end * 1000.0);
        }
        before = end;
    }
    "unknown".to_owned()
}

/// Makes calls while `work` runs; the times of all, sorted.
fn calls(port: u16, work: impl FnOnce()) -> Vec<Duration> {
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let over = Arc::clone(&over);
            std::thread::spawn(move || client(port, &over))
        })
        .collect();
    work();
    over.store(true, Ordering::Relaxed);
    let mut times: Vec<Duration> =
        clients.into_iter().flat_map(|client| client.join().expect("a client ends well")).collect();
    times.sort_unstable();
    times
}

fn client(port: u16, over: &AtomicBool) -> Vec<Duration> {
    let body = r#"{"model":"openai/gpt-4o-mini","user":"u-17","messages":[{"role":"user","content":"When?"}]}"#;
    let request = format!(
        "POST /api/v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAuthorization: Bearer sk-or-v1-bench\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).expect("the daemon listens"));
    let _ = stream.get_ref().set_nodelay(true);
    let mut times = Vec::new();
    let mut next = Instant::now();
    while !over.load(Ordering::Relaxed) {
        next += BETWEEN;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        let began = Instant::now();
        stream.get_mut().write_all(request.as_bytes()).expect("the daemon reads");
        read_message(&mut stream).expect("the daemon answers");
        times.push(began.elapsed());
    }
    times
}

/// Reads a head and its body of `Content-Length`; `None` at the connection's end.
fn read_message(stream: &mut BufReader<TcpStream>) -> Option<()> {
    let (mut length, mut line) = (0, String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    std::io::copy(&mut stream.take(length), &mut std::io::sink()).ok()?;
    Some(())
}

/// Answers every POST with a completion of its own, and every GET with 404.
fn upstream() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let address = listener.local_addr().expect("it has an address").to_string();
    std::thread::spawn(move || {
        let number = Arc::new(AtomicU64::new(0));
        for stream in listener.incoming().flatten() {
            let number = Arc::clone(&number);
            std::thread::spawn(move || {
                let _ = stream.set_nodelay(true);
                let mut stream = BufReader::new(stream);
                loop {
                    let is_post = match stream.fill_buf() {
                        Ok([b'P', ..]) => true,
                        Ok([_, ..]) => false,
                        _ => return,
                    };
                    if read_message(&mut stream).is_none() {
                        return;
                    }
                    let id = format!("gen-1789000122-{:020}", number.fetch_add(1, Ordering::Relaxed));
                    let (status, body) = if is_post {
                        (
                            "200 OK",
                            format!(
                                "{{\"id\":\"{id}\",\"model\":\"openai/gpt-4o-mini\",\"provider\":\"OpenAI\",\"choices\":[{{\"finish_reason\":\"stop\"}}],\"usage\":{{\"prompt_tokens\":212,\"completion_tokens\":87,\"cost\":0.00008316,\"is_byok\":false}}}}"
                            ),
                        )
                    } else {
                        ("404 Not Found", "{\"error\":{\"message\":\"not found\",\"code\":404}}".to_owned())
                    };
                    let head = format!(
                        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nX-Generation-Id: {id}\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    if stream.get_mut().write_all(head.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// A log export of half a year, oldest first.
fn write_export(file: &Path, rows: u64) {
    let mut out = std::io::BufWriter::new(std::fs::File::create(file).expect("the folder can be written"));
    out.write_all(b"generation_id,created_at,cost_total,cost_web_search,cost_cache,cost_file_processing,byok_usage_inference,tokens_prompt,tokens_completion,tokens_reasoning,tokens_cached,model_permaslug,provider_name,variant,cancelled,streamed,user,finish_reason_raw,finish_reason_normalized,generation_time_ms,time_to_first_token_ms,api_key_disabled,api_key_name,app_name\n").expect("the disk takes it");
    let start = tallyd::domain::time::Timestamp(1_775_000_000_000);
    let step = 180 * 86_400_000 / i64::try_from(rows).unwrap_or(1).max(1);
    let mut line = String::new();
    for n in 0..rows {
        let at = start.plus_millis(i64::try_from(n).unwrap_or(0) * step);
        line.clear();
        let created = at.to_iso().replace('T', " ");
        // IDs are in no order below their second, as in life.
        let random = u128::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C834) >> 32;
        let _ = writeln!(
            line,
            "gen-{}-{random:020},{},0.{:010},,,,0,{},{},0,0,maker-{}/model-{}-20260101,Provider {},standard,false,true,user-{},stop,stop,1630,412,false,key-{},app-{}",
            at.millis() / 1000,
            created.trim_end_matches('Z'),
            n % 100_000_000,
            200 + n % 5_000,
            n % 900,
            n % 4,
            n % 12,
            n % 3,
            n % 500,
            n % 3,
            n % 5
        );
        out.write_all(line.as_bytes()).expect("the disk takes it");
    }
    out.flush().expect("the disk takes it");
}
