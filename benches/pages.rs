//! How fast pages are over a year of completions: the same requests against a small ledger and a large one.
//!
//! `cargo bench --bench pages [-- COMPLETIONS…]`: 100,000 and 10,000,000 by default. Each ledger is made by
//! `tallyd demo --only-fill` in the folder that `BENCH_FOLDER` names (default: a temporary one), and used again when it is
//! there already: the large one takes minutes to fill and some ten gigabytes.

#![expect(clippy::disallowed_methods, reason = "a bench measures real time")]

mod support;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use support::Daemon;

/// Requests measured, after one that warms.
const REQUESTS: usize = 20;

/// Days of the past.
const DAYS: u32 = 365;

/// What is asked, by name. What is summed already is to take no longer however many completions there are; the rest is read from
/// the rows of its time.
const ASKED: [(&str, &str); 32] = [
    ("Overview", "/"),
    ("Overview, 7 days", "/?range=7d"),
    ("Overview, 12 months", "/?range=12m"),
    ("Budgets", "/budgets"),
    ("Alerts", "/alerts"),
    ("Completions", "/completions"),
    ("Completions of an app", "/completions?app=code-review"),
    ("Failures", "/failures"),
    ("Explore by model, 24 hours", "/explore?by=model&range=24h"),
    ("Explore by model, 30 days", "/explore?by=model&range=30d"),
    ("Explore by app, 12 months", "/explore?by=app&range=12m"),
    ("Explore by key, 12 months", "/explore?by=key&range=12m"),
    ("Explore by model, 12 months", "/explore?by=model&range=12m"),
    ("Explore by provider, 12 months", "/explore?by=provider&range=12m"),
    ("Explore by endpoint, 12 months", "/explore?by=endpoint&range=12m"),
    ("Explore by app and model, 12 months", "/explore?by=app,model&range=12m"),
    ("Explore by model and provider, days", "/explore?by=model,provider&range=12m&step=day"),
    ("Explore by model in Los Angeles, days", "/explore?by=model&range=12m&step=day&zone=America/Los_Angeles"),
    ("Explore by model in Kathmandu, days", "/explore?by=model&range=12m&step=day&zone=Asia/Kathmandu"),
    ("Explore by model, 30 days by the hour", "/explore?by=model&range=30d&step=hour"),
    ("Latency by model, 12 months", "/explore?measure=latency&by=model&range=12m"),
    ("Latency by model and provider, days", "/explore?measure=latency&by=model,provider&range=12m&step=day"),
    ("Speed by model, 30 days", "/explore?measure=speed&by=model&range=30d"),
    ("Explore by user, 24 hours", "/explore?by=user&range=24h"),
    ("Explore by session, 24 hours", "/explore?by=session&range=24h"),
    ("Explore by tag, 24 hours", "/explore?by=tag.team&range=24h"),
    ("Explore asked for → served, 24 hours", "/explore?by=route&range=24h"),
    ("Explore by user, 30 days", "/explore?by=user&range=30d"),
    ("Explore by session, 30 days", "/explore?by=session&range=30d"),
    ("Explore by tag, 30 days", "/explore?by=tag.team&range=30d"),
    ("Explore asked for → served, 30 days", "/explore?by=route&range=30d"),
    ("Spend by model and day, 12 months", "/tally/v1/spend?since=365d&by=model,day"),
];

fn main() -> anyhow::Result<()> {
    let sizes: Vec<u32> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![100_000, 10_000_000] } else { sizes };
    let temporary = tempfile::tempdir()?;
    let folder = std::env::var_os("BENCH_FOLDER").map_or_else(|| temporary.path().to_owned(), Into::into);
    let measured: Vec<Vec<Duration>> =
        sizes.iter().map(|size| measure(&folder.join(format!("pages-{size}")), *size)).collect::<Result<_, _>>()?;
    let mut head = format!("{:<34}", "median of 20, ms");
    for size in &sizes {
        let _ = write!(head, "{size:>12}");
    }
    println!("{head}");
    for (place, (name, _)) in ASKED.iter().enumerate() {
        let mut line = format!("{name:<34}");
        for took in &measured {
            let _ = write!(line, "{:>12.1}", took[place].as_secs_f64() * 1e3);
        }
        let ratio = match (measured.first(), measured.last()) {
            (Some(first), Some(last)) if measured.len() > 1 => {
                format!("{:>8.2} ×", last[place].as_secs_f64() / first[place].as_secs_f64())
            }
            _ => String::new(),
        };
        println!("{line}{ratio}");
    }
    Ok(())
}

fn measure(folder: &Path, completions: u32) -> anyhow::Result<Vec<Duration>> {
    std::fs::create_dir_all(folder)?;
    let began = Instant::now();
    let filled = Command::new(env!("CARGO_BIN_EXE_tallyd"))
        .args(["demo", "--only-fill", "--database"])
        .arg(format!("sqlite:{}", folder.join("tallyd.db").display()))
        .args(["--completions", &completions.to_string(), "--days", &DAYS.to_string()])
        .status()?;
    anyhow::ensure!(filled.success(), "the ledger can not be filled");
    println!("{completions} completions: filled, or found, in {:.0} s", began.elapsed().as_secs_f64());
    let began = Instant::now();
    // A zone whose days are no UTC days.
    let daemon = Daemon::start(folder, "127.0.0.1:9", "time_zone = \"Europe/Berlin\"\n");
    println!("{completions} completions: ready in {:.1} s", began.elapsed().as_secs_f64());
    let medians: Result<_, _> = ASKED
        .iter()
        .map(|(name, path)| {
            let mut took: Vec<Duration> = (0..=REQUESTS)
                .map(|_| {
                    let began = Instant::now();
                    let answer = daemon.get(path);
                    anyhow::ensure!(
                        answer.starts_with("HTTP/1.1 200"),
                        "{name}: {}",
                        answer.lines().next().unwrap_or("")
                    );
                    Ok(began.elapsed())
                })
                .skip(1)
                .collect::<Result<_, _>>()?;
            took.sort_unstable();
            Ok(took[took.len() / 2])
        })
        .collect();
    println!("{completions} completions: {} MiB resident, {} at most", daemon.memory().0, daemon.memory().1);
    medians
}
