//! Canaries in keys, prompts, completions, errors and headers: none may be in anything that the process ever wrote or
//! showed.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use http::Method;
use http_body_util::BodyExt as _;
use serde_json::json;
use tallyd::clock::{Clock, Entropy};
use tallyd::sim::{SimConfig, Simulator};

use crate::support::caller::Caller;
use crate::support::installation::{Installation, text};
use crate::support::process::Process;
use crate::support::smtp;
use crate::support::until;

/// What a leaked canary shows as: itself, its base64 by where in a text it stands, its hexadecimal digits.
const TRACES: [&str; 6] = ["CANARY", "canary", "Q0FOQVJZ", "DQU5BUl", "NBTkFSW", "43414e415259"];

const CONFIGURED_KEY: &str = "sk-or-v1-CANARY-configured-key-0000000000001111";
const BROUGHT_KEY: &str = "sk-or-v1-CANARY-brought-key-00000000000000002222";
const ADMIN_TOKEN: &str = "CANARY-admin-token-0123456789abcdef0123456789";
const PROMPT: &str = "CANARY-prompt of somebody who trusts us";
const COMPLETION: &str = "CANARY-completion";

/// How replies vary; each is asked for streamed and not, at every endpoint that speaks text.
const BEHAVIOURS: [&str; 30] = [
    "",
    "coding=gzip",
    "coding=br",
    "coding=zstd",
    "coding=deflate",
    "forced_coding=x-unknown",
    "split=3",
    "usage=none",
    "no_id=1",
    "no_id=1;no_body_id=1",
    "cookie=CANARY-cookie",
    "cut=1",
    "cut=1;cut_how=reset",
    "cut=1;coding=gzip",
    "error_after=1",
    "embedded=choice",
    "embedded=top",
    "odd_record=1",
    "garbage_reads=1",
    "bad_reads=1",
    "reset=1",
    "status=400",
    "status=402",
    "status=403",
    "status=403;form=other",
    "status=429;form=raw",
    "status=429;form=other",
    "status=502;form=raw",
    "status=502;error_billed=1;form=raw",
    "status=500;form=html",
];

const ENDPOINTS: [&str; 4] = ["chat/completions", "completions", "responses", "messages"];

/// Pages and questions of the JSON API; their answers are searched whether or not there is such a page.
const PAGES: [&str; 20] = [
    "/",
    "/explore",
    "/completions",
    "/sessions",
    "/failures",
    "/budgets",
    "/budgets/all",
    "/alerts",
    "/reports",
    "/sql",
    "/keys",
    "/status",
    "/readyz",
    "/metrics",
    "/tally/v1/spend?by=model,key,user",
    "/tally/v1/spend.csv?by=app",
    "/tally/v1/completions",
    "/tally/v1/keys",
    "/tally/v1/keys.csv",
    "/tally/v1/openapi.json",
];

/// The text of the tally keys that were made: random, so that they are their own canaries.
static TALLY_KEYS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn search(what: &str, bytes: &[u8]) {
    for key in &*TALLY_KEYS.lock().unwrap() {
        // Its middle alone, as a text that was cut would have it; the last four characters may be shown.
        let part = &key.as_bytes()[12..24];
        assert!(!bytes.windows(part.len()).any(|window| window == part), "a tally key is in {what}");
    }
    for trace in TRACES {
        if let Some(at) = bytes.windows(trace.len()).position(|window| window == trace.as_bytes()) {
            let around = &bytes[at.saturating_sub(200)..(at + 100).min(bytes.len())];
            panic!("a canary sings in {what}, at byte {at}: {}", String::from_utf8_lossy(around));
        }
    }
}

/// Every file and folder below `folder`, itself included.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(below(&path)) } else { found.push(path) }
    }
    found
}

/// Searches every file that the process wrote, and sees that nobody else may read them.
fn search_files(at: &Installation, when: &str) {
    search(&format!("the log, {when}"), &std::fs::read(at.log()).unwrap());
    let mut names = Vec::new();
    for path in below(&at.data()) {
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
        if path.is_file() {
            search(&format!("{}, {when}", path.display()), &std::fs::read(&path).unwrap());
            names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    assert!(names.iter().any(|name| name == "tallyd.db"), "{names:?}");
    assert!(names.len() > 2, "no journal: {names:?}");
}

fn body(endpoint: &str, streamed: bool) -> String {
    let mut body = json!({ "model": "openai/gpt-4o-mini", "stream": streamed, "user": "someone" });
    match endpoint {
        "responses" => body["input"] = PROMPT.into(),
        "completions" => body["prompt"] = PROMPT.into(),
        _ => {
            body["system"] = PROMPT.into();
            body["messages"] = json!([{ "role": "user", "content": PROMPT }]);
            body["tools"] = json!([{ "type": "function", "function": { "name": PROMPT } }]);
        }
    }
    body.to_string()
}

/// Every kind of call, by every kind of caller.
async fn call_in_every_way(caller: &Caller) {
    let keys = [Some(CONFIGURED_KEY), Some(BROUGHT_KEY), Some("CANARY-of-nobody"), None];
    let mut turn = 0;
    for endpoint in ENDPOINTS {
        for behaviour in BEHAVIOURS {
            for streamed in [false, true] {
                turn += 1;
                let key = keys[turn % keys.len()].map(|key| format!("Bearer {key}"));
                let behaviour = format!("text={COMPLETION};{behaviour}");
                let mut headers = vec![
                    ("x-sim", &*behaviour),
                    ("accept-encoding", "gzip, br, zstd, deflate"),
                    ("cookie", "session=CANARY-cookie"),
                    ("x-tally-tags", "team=red,CANARY-no-pair,bad=%CANARY"),
                    ("x-tally-unheard-of", "CANARY-header"),
                    ("x-custom", "CANARY-header"),
                    ("referer", "https://user:CANARY-password@app.example/CANARY-path?q=CANARY-query"),
                ];
                headers.extend(key.as_deref().map(|key| ("authorization", key)));
                let path = format!("/api/v1/{endpoint}?debug=CANARY-query");
                let reply = caller.send(Method::POST, &path, &headers, body(endpoint, streamed)).await;
                let mut reply = reply.unwrap_or_else(|error| panic!("{path} {behaviour}, call {turn}: {error:?}"));
                // Every fifth client leaves after the first piece.
                while let Some(Ok(_)) = reply.body_mut().frame().await {
                    if turn % 5 == 0 {
                        break;
                    }
                }
            }
        }
    }
    let bearer = format!("Bearer {BROUGHT_KEY}");
    let with_key = [("authorization", &*bearer)];
    caller.post("/api/v1/chat/completions", &with_key, format!("{{\"messages\":[{{\"content\":\"{PROMPT}\"")).await;
    caller.post("/api/v1/embeddings", &with_key, json!({ "input": PROMPT }).to_string()).await;
    caller.post("/api/v1/unheard/of", &with_key, PROMPT.to_owned()).await;
    let large =
        json!({ "model": "openai/gpt-4o-mini", "messages": [{ "role": "user", "content": PROMPT.repeat(10_000) }] });
    caller.post("/api/v1/chat/completions", &with_key, large.to_string()).await;
    caller.get("/api/v1/generation?id=CANARY-id").await;
    caller.get("/CANARY-page?secret=CANARY").await;
    let blocked = [("authorization", &*bearer), ("x-tally-app", "blocked")];
    let reply = caller.post("/api/v1/chat/completions", &blocked, body("chat/completions", false)).await;
    assert_eq!(reply.status, 402, "{}", reply.text());
    // A key in the place of an ID is a mistake that people make.
    let token = format!("Bearer {ADMIN_TOKEN}");
    let told = json!([{ "id": BROUGHT_KEY }, { "id": "gen-1", "key": BROUGHT_KEY }, { "id": PROMPT }]);
    for token in [&*token, "Bearer CANARY-wrong-token"] {
        caller.post("/tally/v1/record", &[("authorization", token)], told.to_string()).await;
        caller.post("/tally/v1/record", &[("authorization", token)], PROMPT.to_owned()).await;
    }
    caller
        .post("/login", &[("content-type", "application/x-www-form-urlencoded")], "token=CANARY-wrong".to_owned())
        .await;
}

/// Makes tally keys by each way in, calls with them, tells with them, and revokes one.
async fn use_tally_keys(at: &Installation, caller: &Caller, address: &str) {
    let admin = format!("Bearer {ADMIN_TOKEN}");
    let json = [("authorization", &*admin), ("content-type", "application/json")];
    let form = [("authorization", &*admin), ("content-type", "application/x-www-form-urlencoded")];
    let answer = caller.post("/tally/v1/keys", &json, json!({ "app": "api" }).to_string()).await;
    let by_api = answer.json()["tally_key"].as_str().unwrap().to_owned();
    let page = caller.send(Method::GET, "/keys", &form[..1], String::new()).await.unwrap();
    let page = crate::support::caller::read(page).await.text();
    let id = page.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let made = caller.post("/keys", &form, format!("form={id}&app=page")).await.text();
    let start = made.find("<code>tally-").unwrap() + "<code>".len();
    let by_page = made[start..start + 49].to_owned();
    let by_shell = at.run(&["key", "create", "--app", "shell", "--listen", address]).await.out.trim().to_owned();
    let keys = [by_api, by_page, by_shell];
    TALLY_KEYS.lock().unwrap().extend(keys.clone());
    for key in &keys {
        let bearer = format!("Bearer {key}");
        for headers in [[("authorization", &*bearer)], [("x-api-key", key.as_str())]] {
            for endpoint in ENDPOINTS {
                let reply = caller.post(&format!("/api/v1/{endpoint}"), &headers, body(endpoint, true)).await;
                assert_eq!(reply.status, 200, "{}", reply.text());
            }
        }
        // In places where it does not belong.
        let told = json!([{ "id": key }, { "id": "gen-1", "key": key }, key, { "id": "gen-2", "tags": key }]);
        caller.post("/tally/v1/record", &[("authorization", &bearer)], told.to_string()).await;
        for body in [json!({ "key": key }), json!({ "expires": key }), json!({ "unknown": key }), json!(key)] {
            assert_eq!(caller.post("/tally/v1/keys", &json, body.to_string()).await.status, 400);
        }
        let gone = caller.send(Method::DELETE, &format!("/tally/v1/keys/{key}"), &form[..1], String::new()).await;
        assert_eq!(gone.unwrap().status(), 404);
        caller.get(&format!("/keys/{key}/revoke")).await;
        caller.get(&format!("/api/v1/generation?id={key}")).await;
    }
    let ended = at.run(&["key", "revoke", &keys[0][45..], "--listen", address]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let bearer = format!("Bearer {}", keys[0]);
    let reply = caller.post("/api/v1/messages", &[("authorization", &*bearer)], body("messages", false)).await;
    assert_eq!(reply.status, 401);
}

async fn search_pages(at: &Installation, caller: &Caller) {
    let token = format!("Bearer {ADMIN_TOKEN}");
    let mut pages: Vec<String> = PAGES.iter().map(|page| (*page).to_owned()).collect();
    for row in at.sql("SELECT call_id FROM usage ORDER BY error_type DESC LIMIT 300").await {
        pages.push(format!("/completions/{}", text(&row[0]).unwrap()));
    }
    for page in pages {
        let reply = caller.send(Method::GET, &page, &[("authorization", &token)], String::new()).await.unwrap();
        let reply = crate::support::caller::read(reply).await;
        search(&page, &reply.body);
        search(&page, format!("{:?}", reply.headers).as_bytes());
    }
    let commands: [&[&str]; 7] = [
        &["sql", "SELECT * FROM usage", "--format", "json"],
        &["sql", "SELECT * FROM refusals", "--format", "json"],
        &["sql", "SELECT * FROM alert_history"],
        &["report", "--by", "model,provider,app,key,user"],
        &["key", "list"],
        &["check"],
        &["verify"],
    ];
    for command in commands {
        let ended = at.run(command).await;
        search(&format!("{command:?}"), format!("{}{}", ended.out, ended.err).as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_canary_sings() {
    let config = SimConfig { lag_ms: 0..=100, ..SimConfig::default() };
    let simulator = Simulator::start(config, Clock::system(), Entropy::seeded(4)).await.unwrap();
    let mails = smtp::Server::plain().await;
    let at = Installation::new(simulator.base_url(), "");
    at.configure(&format!(
        "listen = \"127.0.0.1:0\"\ndatabase_url = \"sqlite:data/tallyd.db\"\nadmin_token = \"{ADMIN_TOKEN}\"\n\
         [openrouter]\nbase_url = \"{}\"\napi_key = \"{CONFIGURED_KEY}\"\n\
         [gateway]\nrequest_buffer = \"64KiB\"\n\
         [settle]\nconcurrency = 64\nrate_per_second = 1000\n\
         [smtp]\nurl = \"smtp://127.0.0.1:{}\"\n\
         [log]\nlevel = \"trace\"\n\
         [[budgets]]\nname = \"all\"\nwindow = \"total\"\nlimit_usd = \"0.0001\"\nnotify = [\"lead@example.com\"]\n\
         [[budgets]]\nname = \"none\"\nwindow = \"month\"\nlimit_usd = 0\nscope = {{ app = \"blocked\" }}\nwhen_exceeded = \"block\"\n",
        simulator.base_url(),
        mails.port()
    ));
    let daemon = Process::start(&at).await;
    let caller = Caller::new(daemon.address());
    call_in_every_way(&caller).await;
    use_tally_keys(&at, &caller, &daemon.address().to_string()).await;
    search_files(&at, "under way");

    // No record ever comes of what was refused with an ID.
    let unread = "SELECT COUNT(*) FROM usage WHERE state = 'pending' AND http_status < 400";
    until("every record", async || (at.number(unread).await == 0).then_some(())).await;
    until("a mail", async || (!mails.received().is_empty()).then_some(())).await;
    for mail in mails.received() {
        search("a mail", mail.data.as_bytes());
    }
    search_pages(&at, &caller).await;
    search_files(&at, "when all is read");
    daemon.kill().await;
    search_files(&at, "after a kill");
    let daemon = Process::start(&at).await;
    daemon.stop().await;
    search_files(&at, "after the end");
    let rows = at.number("SELECT COUNT(*) FROM usage").await;
    let calls = ENDPOINTS.len() * BEHAVIOURS.len() * 2;
    assert!(rows > i128::try_from(calls).unwrap(), "{rows} rows of {calls} calls");
}
