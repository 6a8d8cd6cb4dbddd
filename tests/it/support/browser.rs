//! A headless Chromium, spoken to over its debugging pipe.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use tallyd::clock::Clock;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Tests that need a browser run where this is set.
const WANTED: &str = "TEST_BROWSER";

/// The pipe's ends are descriptors 3 and 4 of the browser; the shell makes them of its own two.
const START: &str = "exec chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run \
    --disable-background-networking --disable-component-update --disable-sync --hide-scrollbars \
    --user-data-dir=\"$1\" --remote-debugging-pipe about:blank 3<&0 4>&1 1>/dev/null 2>/dev/null";

/// Longest wait for one message: a browser that says nothing for so long fails the test, and does not hang it.
const PATIENCE: Duration = Duration::from_mins(2);

/// Where `npm ci --prefix tests/browser` puts axe-core.
const AXE: &str = "tests/browser/node_modules/axe-core/axe.min.js";

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub struct View {
    pub width: u32,
    pub dark: bool,
}

/// Height of what is seen at once, in pixels.
const HEIGHT: u32 = 900;

/// A browser with one page.
pub struct Browser {
    commands: ChildStdin,
    messages: BufReader<ChildStdout>,
    events: VecDeque<Value>,
    complaints: Vec<String>,
    /// Where requests may go.
    origin: String,
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
            complaints: Vec::new(),
            origin: String::new(),
            session: None,
            next: 0,
            _process: process,
            _profile: profile,
        };
        let target = browser.ask("Target.createTarget", json!({ "url": "about:blank" })).await;
        let attached = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.ask("Target.attachToTarget", attached).await;
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable", "Network.enable"] {
            browser.ask(domain, json!({})).await;
        }
        browser.ask("Page.setLifecycleEventsEnabled", json!({ "enabled": true })).await;
        Some(browser)
    }

    /// Opens a page, and says what the browser complained of while it loaded.
    ///
    /// The end of loading is that of this navigation, by its own ID: a page before it may end late, and its end says nothing
    /// of this one.
    pub async fn open(&mut self, url: &str, view: View) -> Vec<String> {
        self.look(view).await;
        self.ask("Log.clear", json!({})).await;
        self.events.clear();
        self.complaints.clear();
        self.origin = url.split('/').take(3).collect::<Vec<_>>().join("/");
        let navigated = self.ask("Page.navigate", json!({ "url": url })).await;
        assert!(navigated["errorText"].is_null(), "{url}: {}", navigated["errorText"]);
        loop {
            let event = self.event().await;
            let (of, which) = (&event["params"]["name"], &event["params"]["loaderId"]);
            if event["method"] == "Page.lifecycleEvent" && of == "load" && *which == navigated["loaderId"] {
                break;
            }
        }
        std::mem::take(&mut self.complaints)
    }

    /// Looks at the page otherwise.
    pub async fn look(&mut self, view: View) {
        let size = json!({ "width": view.width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": false });
        self.ask("Emulation.setDeviceMetricsOverride", size).await;
        let scheme = if view.dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.ask("Emulation.setEmulatedMedia", features).await;
    }

    /// What the browser complained of since the page was open.
    pub async fn complaints(&mut self) -> Vec<String> {
        // What was said before this answer has been read with it.
        self.evaluate("0").await;
        while let Some(event) = self.events.pop_front() {
            self.note(&event);
        }
        std::mem::take(&mut self.complaints)
    }

    /// Whether pages run their scripts from the next one on.
    pub async fn set_scripts(&mut self, allowed: bool) {
        self.ask("Emulation.setScriptExecutionDisabled", json!({ "value": !allowed })).await;
    }

    /// What a script says in the page, a promise when it is kept.
    pub async fn evaluate(&mut self, script: &str) -> Value {
        let asked = json!({ "expression": script, "returnByValue": true, "awaitPromise": true });
        let answer = self.ask("Runtime.evaluate", asked).await;
        assert!(answer["exceptionDetails"].is_null(), "{script}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// The same, from a page that may be about to be left: `None` while there is no page to ask.
    pub async fn peek(&mut self, script: &str) -> Option<Value> {
        let asked = json!({ "expression": script, "returnByValue": true });
        let answer = self.try_ask("Runtime.evaluate", asked).await.ok()?;
        answer["exceptionDetails"].is_null().then(|| answer["result"]["value"].clone())
    }

    /// What axe-core finds in the page that is serious or critical, one line a rule.
    pub async fn inaccessible(&mut self) -> Vec<String> {
        let axe = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(AXE))
            .unwrap_or_else(|error| panic!("{AXE}: {error}; `npm ci --prefix tests/browser` puts it there"));
        if self.evaluate("typeof window.axe").await != "object" {
            self.evaluate(&format!("{axe}; 0")).await;
        }
        let run = "axe.run(document, { resultTypes: ['violations'] }).then((found) => found.violations \
            .filter((rule) => ['serious', 'critical'].includes(rule.impact)) \
            .map((rule) => `${rule.id} (${rule.impact}): ${rule.help}: ${rule.nodes.length} × ${rule.nodes[0].target} ${rule.nodes[0].html.slice(0, 160)} ${rule.nodes[0].failureSummary}`))";
        let found = self.evaluate(run).await;
        found.as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
    }

    /// Presses and lets go a key: `Tab`, `Enter`, `ArrowLeft`.
    pub async fn press(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "ArrowLeft" => 37,
            "ArrowRight" => 39,
            _ => 0,
        };
        let mut event = json!({ "type": "rawKeyDown", "key": key, "code": key, "windowsVirtualKeyCode": code });
        if key == "Enter" {
            event["type"] = "keyDown".into();
            event["text"] = "\r".into();
        }
        self.ask("Input.dispatchKeyEvent", event.clone()).await;
        event["type"] = "keyUp".into();
        event["text"] = Value::Null;
        self.ask(
            "Input.dispatchKeyEvent",
            json!({ "type": "keyUp", "key": key, "code": key, "windowsVirtualKeyCode": code }),
        )
        .await;
    }

    /// Types a text into what has the focus.
    pub async fn write(&mut self, text: &str) {
        self.ask("Input.insertText", json!({ "text": text })).await;
    }

    /// Moves, presses or lets go the left button: `mouseMoved`, `mousePressed`, `mouseReleased`.
    pub async fn mouse(&mut self, what: &str, x: f64, y: f64, pressed: bool) {
        let event = json!({
            "type": what, "x": x, "y": y, "button": if what == "mouseMoved" && !pressed { "none" } else { "left" },
            "buttons": u8::from(pressed), "clickCount": 1,
        });
        self.ask("Input.dispatchMouseEvent", event).await;
    }

    /// The whole page as a PNG.
    pub async fn picture(&mut self) -> Vec<u8> {
        let asked = json!({ "format": "png", "captureBeyondViewport": true });
        let answer = self.ask("Page.captureScreenshot", asked).await;
        base64::engine::general_purpose::STANDARD.decode(answer["data"].as_str().unwrap()).unwrap()
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.try_ask(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    async fn try_ask(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        self.next += 1;
        let mut message = json!({ "id": self.next, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = Value::from(session.clone());
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.commands.write_all(&bytes).await.unwrap();
        loop {
            let message = self.read(method).await;
            if message["id"] == self.next {
                return if message["error"].is_null() {
                    Ok(message["result"].clone())
                } else {
                    Err(message["error"].clone())
                };
            }
            self.events.push_back(message);
        }
    }

    /// The next event; what is a complaint is noted.
    async fn event(&mut self) -> Value {
        let event = match self.events.pop_front() {
            Some(event) => event,
            None => self.read("an event").await,
        };
        self.note(&event);
        event
    }

    fn note(&mut self, event: &Value) {
        let params = &event["params"];
        let complaint = match event["method"].as_str() {
            Some("Log.entryAdded")
                if params["entry"]["level"] == "error" || params["entry"]["source"] == "security" =>
            {
                Some(params["entry"]["text"].to_string())
            }
            Some("Runtime.exceptionThrown") => Some(params["exceptionDetails"].to_string()),
            Some("Runtime.consoleAPICalled")
                if ["error", "warning", "assert"].iter().any(|kind| params["type"] == *kind) =>
            {
                Some(params["args"].to_string())
            }
            Some("Network.requestWillBeSent") => {
                let url = params["request"]["url"].as_str().unwrap_or_default();
                let own = url.strip_prefix(&self.origin).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
                (!own).then(|| format!("a request to {url}"))
            }
            _ => None,
        };
        self.complaints.extend(complaint);
    }

    async fn read(&mut self, what: &str) -> Value {
        let mut bytes = Vec::new();
        let read = Clock::system().timeout(PATIENCE, self.messages.read_until(0, &mut bytes)).await;
        read.unwrap_or_else(|| panic!("the browser says nothing while {what} is waited for")).unwrap();
        assert_eq!(bytes.pop(), Some(0), "the browser is gone");
        serde_json::from_slice(&bytes).unwrap()
    }
}
