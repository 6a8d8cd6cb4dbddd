//! The API against its own description: a generator of requests (schemathesis) tries each operation with data that fits the
//! description and data that does not, and every answer must be one that is described.

use std::process::Stdio;

use tokio::process::Command;

use crate::support::caller::Caller;
use crate::support::installation::Installation;
use crate::support::process::Process;

/// The environment of Python that holds schemathesis; unset, this is left out, aloud.
const CONFORMANCE: &str = "TEST_CONFORMANCE";

/// The admin token of the daemon that is tried.
const TOKEN: &str = "admin-token-of-a-daemon-that-is-tried";

/// Seconds that the generator may take.
const SECONDS: &str = "100";

/// What it is not to ask: news never end.
const ENDLESS: &str = "/tally/v1/events";

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_one_that_is_described() {
    let Ok(environment) = std::env::var(CONFORMANCE) else {
        eprintln!("SKIPPED: the conformance of the API ({CONFORMANCE} is not set)");
        return;
    };
    // Nobody listens upstream: what is told stays pending, and nothing leaves the machine.
    let at = Installation::new("http://127.0.0.1:9/api/v1", BUDGETS);
    let text = std::fs::read_to_string(at.folder().join("tallyd.toml")).unwrap();
    at.configure(&format!("admin_token = \"{TOKEN}\"\n{text}"));
    let process = Process::start(&at).await;
    let caller = Caller::new(process.address());
    let authorization = format!("Bearer {TOKEN}");
    let headers = [("authorization", &*authorization), ("content-type", "application/x-ndjson")];
    let reply = caller.post("/tally/v1/import", &headers, REPLIES).await;
    assert_eq!(reply.status, 200, "{}", reply.text());

    let url = format!("http://{}/tally/v1/openapi.json", process.address());
    let ended = Command::new(format!("{environment}/bin/schemathesis"))
        .args(["run", &url, "--header", &format!("Authorization: {authorization}"), "--exclude-path", ENDLESS])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "12", "--max-time", SECONDS])
        .args([
            "--exclude-checks",
            UNFIT,
            "--seed",
            "1",
            "--generation-database",
            "none",
            "--no-color",
            "--continue-on-failure",
        ])
        .current_dir(at.folder())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let told = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{told}\n{}", String::from_utf8_lossy(&ended.stderr));
    println!("{told}");
    process.stop().await;
}

/// Checks that do not fit: what the description can not say of a value (a time, a scope, a name that must be there) is refused
/// with 400 though it fits, and most of what does not fit is read leniently by intent (a number as text in a URL).
const UNFIT: &str = "positive_data_acceptance,negative_data_rejection";

const BUDGETS: &str = "[[budgets]]\nname = \"everything\"\nwindow = \"month\"\nlimit_usd = \"60.00\"\n";

const REPLIES: &str = concat!(
    r#"{"id":"gen-1795090001-conformance","model":"openai/gpt-4o","object":"chat.completion","usage":{"prompt_tokens":10,"completion_tokens":5,"cost":0.00125}}"#,
    "\n",
    r#"{"id":"gen-1795090002-conformance","app":"support-bot","tags":{"team":"care"}}"#,
    "\n",
);
