//! Throughput and latency through tallyd as ratios to an nginx that passes bytes through, in one run.
//!
//! Needs `nginx` and `wrk` from Debian. Three processes on loopback: an nginx that answers as OpenRouter would (each
//! reply with an ID of its own), an nginx that passes bytes through to it, and the daemon's real binary with journal,
//! ledger, budgets and settler on. `cargo bench --bench gateway -- --seconds 60`

#![expect(clippy::disallowed_methods, reason = "a bench measures by the real clock")]

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use std::io::Write as _;

use support::{Daemon, free_port};

/// Runs of which the median p99 is taken.
const RUNS: usize = 5;

/// How long after the end the last row may take.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);

const BODY: &str = r#"{\"id\":\"gen-$sec-$request_id\",\"object\":\"chat.completion\",\"created\":1789000122,\"model\":\"openai/gpt-4o-mini\",\"provider\":\"OpenAI\",\"choices\":[{\"index\":0,\"finish_reason\":\"stop\",\"native_finish_reason\":\"stop\",\"message\":{\"role\":\"assistant\",\"content\":\"Budget alerts fire when spend crosses a threshold, once for each threshold and window, whatever restarts come between.\",\"refusal\":null}}],\"usage\":{\"prompt_tokens\":212,\"completion_tokens\":87,\"total_tokens\":299,\"cost\":0.00008316,\"is_byok\":false,\"prompt_tokens_details\":{\"cached_tokens\":0},\"cost_details\":{\"upstream_inference_cost\":0.000084},\"completion_tokens_details\":{\"reasoning_tokens\":0}}}"#;

struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// What `wrk` measured.
#[derive(Clone, Copy)]
struct Run {
    rate: f64,
    p50_ms: f64,
    p99_ms: f64,
    requests: u64,
}

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--seconds");
    let seconds: u64 = arguments.nth(1).and_then(|text| text.parse().ok()).unwrap_or(10);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (upstream, through) = (free_port(), free_port());
    let _nginx = nginx(folder.path(), upstream, through);
    let script = folder.path().join("post.lua");
    let lua = "wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'\nwrk.headers['Authorization'] = 'Bearer sk-or-v1-bench'\nwrk.headers['X-Title'] = 'bench'\nwrk.body = '{\"model\":\"openai/gpt-4o-mini\",\"user\":\"u-17\",\"messages\":[{\"role\":\"user\",\"content\":\"Say when budget alerts fire.\"}]}'\n";
    std::fs::write(&script, lua).expect("the folder can be written");
    let daemon = Daemon::start(folder.path(), &format!("127.0.0.1:{upstream}"), "");
    println!("idle: {} MiB resident", daemon.memory().0);
    let (sync_p50, sync_p99) = bare_sync(folder.path());
    println!("bare fdatasync on this disk: median {:.3} ms, p99 {:.3} ms", ms(sync_p50), ms(sync_p99));
    let load = |port: u16, connections: u32, seconds: u64| wrk(&script, port, connections, seconds);
    for port in [through, daemon.port] {
        load(port, 32, 2);
    }

    let (nginx, tallyd) = (load(through, 1, 5), load(daemon.port, 1, 5));
    println!(
        "1 connection: nginx median {:.3} ms, tallyd median {:.3} ms: {:.3} ms added, {:.3} ms beyond a bare fdatasync (bound 0.300)",
        nginx.p50_ms,
        tallyd.p50_ms,
        tallyd.p50_ms - nginx.p50_ms,
        tallyd.p50_ms - nginx.p50_ms - ms(sync_p50)
    );

    let pairs: Vec<(Run, Run)> = (0..RUNS).map(|_| (load(through, 32, 5), load(daemon.port, 32, 5))).collect();
    let (nginx_p99, tallyd_p99) =
        (median(pairs.iter().map(|pair| pair.0.p99_ms)), median(pairs.iter().map(|pair| pair.1.p99_ms)));
    println!(
        "32 connections, p99 (median of {RUNS} runs): nginx {nginx_p99:.2} ms, tallyd {tallyd_p99:.2} ms; bound {:.2} ms",
        5.0 * nginx_p99 + ms(sync_p99)
    );

    let nginx = load(through, 32, seconds.min(20));
    wait_until_empty(&daemon, Duration::from_mins(2));
    let before = number(folder.path(), "SELECT count(*) FROM usage");
    let tallyd = load(daemon.port, 32, seconds);
    let ended = Instant::now();
    let empty = wait_until_empty(&daemon, Duration::from_mins(2));
    let took = ended.elapsed();
    let rows = number(folder.path(), "SELECT count(*) FROM usage") - before;
    println!(
        "32 connections, {seconds} s: nginx {:.0} requests/s, tallyd {:.0} requests/s: {:.2} of nginx (bound 0.33)",
        nginx.rate,
        tallyd.rate,
        tallyd.rate / nginx.rate
    );
    println!(
        "rows in the ledger {rows}, replies counted by the client {}; journal empty {:.1} s after the end{}",
        tallyd.requests,
        took.as_secs_f64(),
        if empty && took <= SETTLED_WITHIN { "" } else { " (bound 5 s)" }
    );
    let (now, most) = daemon.memory();
    println!("memory: {now} MiB resident, at most {most} MiB");
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn wait_until_empty(daemon: &Daemon, limit: Duration) -> bool {
    let began = Instant::now();
    while began.elapsed() < limit {
        let ready = daemon.get("/readyz");
        if ["0,", "0}"].iter().any(|none| ready.contains(&format!("\"undrained_bytes\":{none}"))) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

fn nginx(folder: &Path, upstream: u16, through: u16) -> Nginx {
    let config = format!(
        "daemon off;\nworker_processes 2;\npid {0}/nginx.pid;\nerror_log stderr crit;\nevents {{ worker_connections 4096; }}\nhttp {{\n\
         access_log off;\nmap $msec $sec {{ \"~^(?<whole>\\d+)\" $whole; }}\nkeepalive_requests 100000000;\nclient_body_temp_path {0}/body;\nproxy_temp_path {0}/proxy;\nfastcgi_temp_path {0}/f;\nuwsgi_temp_path {0}/u;\nscgi_temp_path {0}/s;\n\
         upstream origin {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 100000000; }}\n\
         server {{ listen 127.0.0.1:{upstream}; default_type application/json;\n\
         location = /api/v1/generation {{ return 404 '{{\"error\":{{\"message\":\"not found\",\"code\":404}}}}'; }}\n\
         location / {{ add_header X-Generation-Id gen-$sec-$request_id; return 200 \"{BODY}\"; }} }}\n\
         server {{ listen 127.0.0.1:{through}; location / {{ proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_buffering off; }} }}\n}}\n",
        folder.display()
    );
    let path = folder.join("nginx.conf");
    std::fs::write(&path, config).expect("the folder can be written");
    let child = Command::new("nginx")
        .args(["-c"])
        .arg(&path)
        .args(["-p"])
        .arg(folder)
        .stdout(Stdio::null())
        .spawn()
        .expect("nginx starts: apt-get install nginx-light wrk");
    while std::net::TcpStream::connect(("127.0.0.1", through)).is_err() {
        std::thread::sleep(Duration::from_millis(5));
    }
    Nginx(child)
}

fn wrk(script: &Path, port: u16, connections: u32, seconds: u64) -> Run {
    let output = Command::new("wrk")
        .args(["--latency", "-t", "1", "-c", &connections.to_string(), "-d", &format!("{seconds}s"), "-s"])
        .arg(script)
        .arg(format!("http://127.0.0.1:{port}/api/v1/chat/completions"))
        .output()
        .expect("wrk starts: apt-get install wrk");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("Non-2xx"), "not every answer was a 200:\n{text}");
    let after = |name: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).unwrap_or_default().to_owned()
    };
    let requests = text
        .lines()
        .find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())
        .unwrap_or_else(|| panic!("wrk's output is not understood:\n{text}"));
    Run {
        rate: after("Requests/sec:").parse().unwrap_or(0.0),
        p50_ms: duration(&after("50%")),
        p99_ms: duration(&after("99%")),
        requests,
    }
}

/// Median and 99th percentile of a bare `fdatasync` after an append of 4 KiB, in the folder that the journal is in.
fn bare_sync(folder: &Path) -> (Duration, Duration) {
    let path = folder.join("bare-sync");
    let mut file = std::fs::File::create(&path).expect("the bench's folder can be written");
    let mut times: Vec<Duration> = (0..500)
        .map(|_| {
            file.write_all(&[7; 4096]).expect("the disk takes 4 KiB");
            let began = Instant::now();
            file.sync_data().expect("the disk syncs");
            began.elapsed()
        })
        .collect();
    let _ = std::fs::remove_file(path);
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

/// Asks the ledger for one number.
fn number(folder: &Path, query: &str) -> u64 {
    let output = Command::new(env!("CARGO_BIN_EXE_tallyd"))
        .arg("--config")
        .arg(folder.join("tallyd.toml"))
        .args(["sql", "--format", "csv", query])
        .env_clear()
        .output()
        .expect("the daemon's binary starts");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().nth(1).and_then(|number| number.trim().parse().ok()).unwrap_or(u64::MAX)
}

/// `812.00us`, `3.12ms`, `1.02s` in milliseconds.
fn duration(text: &str) -> f64 {
    let number = |unit: &str| text.strip_suffix(unit).and_then(|number| number.parse::<f64>().ok());
    number("us")
        .map(|us| us / 1000.0)
        .or_else(|| number("ms"))
        .or_else(|| number("s").map(|s| s * 1000.0))
        .unwrap_or(f64::NAN)
}
