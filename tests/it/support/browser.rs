//! A headless Chromium, spoken to over its debugging pipe.

use std::collections::VecDeque;
use std::process::Stdio;

use base64::Engine as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Tests that need a browser run where this is set.
const WANTED: &str = "TEST_BROWSER";

/// The pipe's ends are descriptors 3 and 4 of the browser; the shell makes them of its own two.
const START: &str = "exec chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
    --user-data-dir=\"$1\" --remote-debugging-pipe about:blank 3<&0 4>&1 1>/dev/null 2>/dev/null";

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub struct View {
    pub width: u32,
    pub dark: bool,
}

/// A browser with one page.
pub struct Browser {
    commands: ChildStdin,
    messages: BufReader<ChildStdout>,
    events: VecDeque<Value>,
    session: Option<String>,
    next: u64,
    _process: Child,
    _profile: TempDir,
}

impl Browser {
    /// Starts it; `None`, said aloud, where no browser is wanted.
    pub async fn start() -> Option<Self> {
        if std::env::var_os(WANTED).is_none() {
            eprintln!("SKIPPED: no browser looks at the pages; set {WANTED}=1 where chromium is installed");
            return None;
        }
        let profile = tempfile::tempdir().unwrap();
        let mut process = Command::new("sh")
            .args(["-c", START, "sh"])
            .arg(profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let commands = process.stdin.take().unwrap();
        let messages = BufReader::new(process.stdout.take().unwrap());
        let mut browser = Self {
            commands,
            messages,
            events: VecDeque::new(),
            session: None,
            next: 0,
            _process: process,
            _profile: profile,
        };
        let target = browser.ask("Target.createTarget", json!({ "url": "about:blank" })).await;
        let attached = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.ask("Target.attachToTarget", attached).await;
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.ask(domain, json!({})).await;
        }
        Some(browser)
    }

    /// Opens a page, and says what the browser complained of while it loaded.
    pub async fn open(&mut self, url: &str, view: View) -> Vec<String> {
        let size = json!({ "width": view.width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.ask("Emulation.setDeviceMetricsOverride", size).await;
        let scheme = if view.dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.ask("Emulation.setEmulatedMedia", features).await;
        self.ask("Log.clear", json!({})).await;
        self.events.clear();
        self.ask("Page.navigate", json!({ "url": url })).await;
        let mut complaints = Vec::new();
        loop {
            let event = match self.events.pop_front() {
                Some(event) => event,
                None => self.read().await,
            };
            match event["method"].as_str() {
                Some("Page.loadEventFired") => break,
                Some("Log.entryAdded") if event["params"]["entry"]["level"] == "error" => {
                    complaints.push(event["params"]["entry"]["text"].to_string());
                }
                Some("Runtime.exceptionThrown") => complaints.push(event["params"].to_string()),
                _ => {}
            }
        }
        complaints
    }

    /// What a script says in the page.
    pub async fn evaluate(&mut self, script: &str) -> Value {
        let asked = json!({ "expression": script, "returnByValue": true });
        self.ask("Runtime.evaluate", asked).await["result"]["value"].clone()
    }

    /// The whole page as a PNG.
    pub async fn picture(&mut self) -> Vec<u8> {
        let asked = json!({ "format": "png", "captureBeyondViewport": true });
        let answer = self.ask("Page.captureScreenshot", asked).await;
        base64::engine::general_purpose::STANDARD.decode(answer["data"].as_str().unwrap()).unwrap()
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let mut message = json!({ "id": self.next, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = Value::from(session.clone());
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.commands.write_all(&bytes).await.unwrap();
        loop {
            let message = self.read().await;
            if message["id"] == self.next {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.events.push_back(message);
        }
    }

    async fn read(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.messages.read_until(0, &mut bytes).await.unwrap();
        assert_eq!(bytes.pop(), Some(0), "the browser is gone");
        serde_json::from_slice(&bytes).unwrap()
    }
}
