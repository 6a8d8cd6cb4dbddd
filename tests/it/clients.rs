//! The clients in `examples/`, as their users run them: what each sees on the wire is the same with and without tallyd
//! between, and its rows settle to what was billed.
//!
//! They run where `TEST_CLIENTS` names a folder with two environments of Python, `sdk` and `litellm`, made from
//! `examples/python/requirements.txt` and `requirements-litellm.txt`, and `npm ci` has been run in `examples/typescript`;
//! `.ci/run` does all of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tallyd::clock::{Clock, Entropy};
use tallyd::domain::time::Timestamp;
use tallyd::sim::{SimConfig, Simulator};
use tokio::process::Command;

use crate::support::installation::{Installation, KEY, QUICK, text};
use crate::support::running::Running;
use crate::support::tap::{Tap, WireReply};
use crate::support::until;

/// Set to the folder of the environments.
const WANTED: &str = "TEST_CLIENTS";

/// The simulator's time stands still, so that two of them say the same.
const START: Timestamp = Timestamp(1_795_082_400_000);

/// The simulator's dice.
const SEED: u64 = 5;

/// The program for a file of `examples/`.
fn command(environments: &Path, file: &str) -> Command {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let environment = if file.contains("litellm") { "litellm" } else { "sdk" };
    let program = match Path::new(file).extension().and_then(|extension| extension.to_str()) {
        Some("py") => environments.join(environment).join("bin/python"),
        Some("ts") => examples.join("typescript/node_modules/.bin/tsx"),
        _ => PathBuf::from("sh"),
    };
    let mut command = Command::new(program);
    command.arg(examples.join(file));
    command
}

/// Runs a client against `server`; what it was answered, and what it printed.
async fn run(environments: &Path, file: &str, server: SocketAddr) -> (Vec<WireReply>, String) {
    let tap = Tap::before(server).await;
    let output = command(environments, file)
        .env("TALLYD_URL", format!("http://{}", tap.address))
        .env("OPENROUTER_API_KEY", KEY)
        // LiteLLM would ask the network for prices.
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap_or_else(|error| panic!("{file} cannot be run ({error}): see examples/README.md for what it needs"));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{file} ended with {}: {told}", output.status);
    (tap.replies(), String::from_utf8_lossy(&output.stdout).into_owned())
}

async fn simulator(clock: &Clock) -> Simulator {
    Simulator::start(SimConfig::default(), clock.clone(), Entropy::seeded(SEED)).await.unwrap()
}

/// A client sees the same with and without tallyd, and its calls are in the ledger as they were billed.
async fn is_served(file: &str, app: &str, calls: usize) {
    let Some(environments) = std::env::var_os(WANTED).map(PathBuf::from) else {
        eprintln!("SKIPPED: {file} is not run; set {WANTED} (examples/README.md)");
        return;
    };
    let alone = simulator(&Clock::manual(START)).await;
    let (expected, printed) = run(&environments, file, alone.address()).await;
    assert_eq!(expected.len(), calls, "{expected:?}");

    let behind = simulator(&Clock::manual(START)).await;
    let at = Installation::new(behind.base_url(), QUICK);
    let running = Running::start(&at, &Clock::system()).await;
    let (seen, printed_through) = run(&environments, file, running.address()).await;
    for (number, (seen, expected)) in seen.iter().zip(&expected).enumerate() {
        assert_eq!((&seen.status, &seen.headers), (&expected.status, &expected.headers), "{file}, reply {number}");
        assert!(seen.body == expected.body, "{file}, reply {number}: another body");
    }
    assert_eq!((seen.len(), printed_through), (expected.len(), printed), "{file}");

    let truth: BTreeMap<String, String> =
        behind.truth().all().iter().map(|billed| (billed.id.to_string(), billed.spend().0.to_string())).collect();
    assert_eq!(truth.len(), calls);
    let query = "SELECT generation_id, CAST(cost_picousd AS TEXT) FROM usage WHERE state = 'settled' AND app = ";
    let query = format!("{query}'{app}'");
    let rows = until("settled rows", async || {
        let rows = at.sql(&query).await;
        (rows.len() == calls).then_some(rows)
    })
    .await;
    let rows: BTreeMap<String, String> = rows
        .iter()
        .map(|row| (text(&row[0]).unwrap().to_owned(), text(&row[1]).unwrap_or("NULL").to_owned()))
        .collect();
    assert_eq!(rows, truth, "{file}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn curl() {
    is_served("curl/chat.sh", "example-curl", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openai_sdk_for_python() {
    is_served("python/openai_sdk.py", "example-openai-python", 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_anthropic_sdk_for_python() {
    is_served("python/anthropic_sdk.py", "example-anthropic-python", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn langchain() {
    is_served("python/langchain_chat.py", "example-langchain", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn litellm() {
    is_served("python/litellm_client.py", "example-litellm", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openai_sdk_for_typescript() {
    is_served("typescript/openai-sdk.ts", "example-openai-typescript", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_anthropic_sdk_for_typescript() {
    is_served("typescript/anthropic-sdk.ts", "example-anthropic-typescript", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vercel_ai_sdk() {
    is_served("typescript/vercel-ai.ts", "example-vercel-ai", 2).await;
}
