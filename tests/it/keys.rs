//! Tally keys from end to end: made, used, listed, revoked; and what is told with them and with keys by name.

use std::fmt::Write as _;
use std::process::Stdio;

use http::Method;
use serde_json::{Value, json};
use tallyd::clock::{Clock, Entropy};
use tallyd::domain::ids::KeyFingerprint;
use tallyd::sim::{SimConfig, Simulator};
use tokio::io::AsyncWriteExt as _;

use crate::store::engines::on_a_postgres_of_its_own;
use crate::support::caller::{Caller, Reply, read};
use crate::support::installation::{Ended, Installation, KEY, QUICK, text};
use crate::support::process::Process;
use crate::support::until;

const CHAT: &str = "/api/v1/chat/completions";
const GROWTH: &str = "sk-or-v1-configured-growth-0002";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("content-type", "application/json");

async fn simulator() -> Simulator {
    let config = SimConfig { lag_ms: 0..=50, ..SimConfig::default() };
    Simulator::start(config, Clock::system(), Entropy::seeded(4)).await.unwrap()
}

fn tables() -> String {
    format!("[openrouter.keys]\ngrowth = \"{GROWTH}\"\n{QUICK}")
}

async fn delete(caller: &Caller, path: &str) -> Reply {
    read(caller.send(Method::DELETE, path, &[], String::new()).await.unwrap()).await
}

async fn chat(caller: &Caller, key: Option<&str>, more: &[(&str, &str)]) -> Reply {
    let bearer = key.map(|key| format!("Bearer {key}"));
    let mut headers = more.to_vec();
    headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    let body = json!({ "model": "openai/gpt-4o-mini", "messages": [{ "role": "user", "content": "Say hello" }] });
    caller.post(CHAT, &headers, body.to_string()).await
}

fn id_of(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.headers["x-generation-id"].to_str().unwrap().to_owned()
}

/// The whole life of a key, on any database.
async fn a_life(at: &Installation, simulator: &Simulator) {
    let daemon = Process::start(at).await;
    let caller = Caller::new(daemon.address());
    assert!(caller.get("/keys").await.text().contains("Open mode."));
    assert!(caller.get("/status").await.text().contains("open mode"));
    id_of(&chat(&caller, None, &[]).await);

    let wanted = json!({ "app": "growth-bot", "tags": { "team": "growth" }, "key": "growth", "expires": "30d" });
    let made = caller.post("/tally/v1/keys", &[JSON], wanted.to_string()).await;
    assert_eq!((made.status.as_u16(), made.headers["cache-control"].to_str().unwrap()), (201, "no-store"));
    let made = made.json();
    let key = made["tally_key"].as_str().unwrap().to_owned();
    assert!(key.starts_with("tally-") && key.len() == 49, "256 bits in 43 letters and digits");
    assert_eq!(
        (&made["state"], &made["key"], &made["app"]),
        (&json!("active"), &json!("growth"), &json!("growth-bot"))
    );
    assert!(key.ends_with(made["tail"].as_str().unwrap()));
    // At once, without a restart.
    let refused = chat(&caller, None, &[]).await;
    assert_eq!(refused.status, 401);
    assert!(refused.json()["error"]["message"].as_str().unwrap().contains("tally key"));

    let id = id_of(&chat(&caller, Some(&key), &[("x-tally-app", "mine"), ("x-tally-user", "lena")]).await);
    let billed = simulator.truth().get(&id).unwrap();
    assert_eq!(billed.key, KeyFingerprint::of(GROWTH), "it went upstream with the key that it names");
    let row =
        format!("SELECT app, key_name, end_user, tags FROM usage WHERE generation_id = '{id}' AND state = 'settled'");
    let row = until("a settled row", async || at.sql(&row).await.pop()).await;
    let row: Vec<Option<&str>> = row.iter().map(text).collect();
    assert_eq!(row, [Some("growth-bot"), Some("growth"), Some("lena"), Some(r#"{"team":"growth"}"#)]);

    let listed = caller.get("/tally/v1/keys").await.json();
    let row = &listed["rows"][0];
    assert_eq!((&row["completions_30d"], &row["unknown_30d"], &listed["next"]), (&json!(1), &json!(0), &Value::Null));
    assert_ne!(row["cost_30d_usd"], "0.00");
    assert!(row["last_used_at"].is_string());
    let csv = caller.get("/tally/v1/keys.csv").await.text();
    assert!(csv.starts_with("id,tail,state,app") && csv.contains(",active,growth-bot,"), "{csv}");
    let page = caller.get("/keys").await.text();
    assert!(page.contains("growth-bot") && page.contains("team=growth") && !page.contains("Open mode."), "{page}");
    daemon.stop().await;

    // Another start: the key is known, its use was noted, open mode stays over.
    let daemon = Process::start(at).await;
    let caller = Caller::new(daemon.address());
    assert_eq!(chat(&caller, None, &[]).await.status, 401);
    let listed = caller.get("/tally/v1/keys").await.json();
    assert!(listed["rows"][0]["last_used_at"].is_string(), "{listed}");
    id_of(&chat(&caller, Some(&key), &[]).await);
    let name = made["id"].as_str().unwrap();
    let revoked = delete(&caller, &format!("/tally/v1/keys/{name}")).await.json();
    assert_eq!(revoked["state"], "revoked", "{revoked}");
    let again = delete(&caller, &format!("/tally/v1/keys/{name}")).await;
    assert_eq!(again.status, 200);
    assert_eq!(again.json()["revoked_at"], revoked["revoked_at"], "it is revoked once");
    assert_eq!(delete(&caller, "/tally/v1/keys/nope").await.status, 404);
    let refused = chat(&caller, Some(&key), &[]).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.json()["error"]["metadata"]["error_type"]),
        (401, &json!("tally_key_revoked"))
    );
    assert_eq!(chat(&caller, None, &[]).await.status, 401, "the last key is revoked, and open mode stays over");
    let counted = "SELECT COALESCE(SUM(refused), 0) FROM refusals WHERE cause = 'tally_key_revoked' AND app = 'growth-bot' AND key_name = 'growth'";
    until("the refusal", async || (at.number(counted).await == 1).then_some(())).await;
    assert!(caller.get("/keys").await.text().contains("revoked"));
    daemon.stop().await;
    at.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_lives_on_sqlite() {
    let simulator = simulator().await;
    a_life(&Installation::new(simulator.base_url(), &tables()), &simulator).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_lives_on_postgres_and_other_daemons_learn_of_it() {
    on_a_postgres_of_its_own("keys_life", async |url| {
        let simulator = simulator().await;
        let at = Installation::on(url, simulator.base_url(), &tables());
        a_life(&at, &simulator).await;
        // Nobody tells a daemon of what the shell does beside it.
        let daemon = Process::start(&at).await;
        let caller = Caller::new(daemon.address());
        let made = at.run(&["key", "create", "--listen", "127.0.0.1:9"]).await;
        assert_eq!(made.code, Some(0), "{made:?}");
        let key = made.out.trim();
        until("the key", async || (chat(&caller, Some(key), &[]).await.status == 200).then_some(())).await;
        let tail = &key[key.len() - 4..];
        assert_eq!(at.run(&["key", "revoke", tail, "--listen", "127.0.0.1:9"]).await.code, Some(0));
        until("the end of the key", async || (chat(&caller, Some(key), &[]).await.status == 401).then_some(())).await;
        daemon.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shell_makes_lists_and_revokes_with_a_daemon_and_without() {
    let simulator = simulator().await;
    let at = Installation::new(simulator.base_url(), &tables());
    let first =
        at.run(&["key", "create", "--app", "bot", "--tag", "team=a", "--tag", "env=b", "--key", "growth"]).await;
    assert_eq!(first.code, Some(0), "{first:?}");
    let key = first.out.trim().to_owned();
    assert!(key.starts_with("tally-") && !first.err.contains(&key), "{first:?}");
    let (daemon, listen);
    {
        let wrong = [
            (vec!["key", "create", "--tag", "team"], 2, "--tag name=value"),
            (vec!["key", "create", "--key", "grwth"], 1, "default, growth"),
            (vec!["key", "create", "--expires", "yesterday"], 1, "30d"),
            (vec!["key", "revoke", "zzzz"], 1, "key list"),
        ];
        for (arguments, code, said) in wrong {
            let ended = at.run(&arguments).await;
            assert_eq!((ended.code, ended.out.as_str()), (Some(code), ""), "{ended:?}");
            assert!(ended.err.contains(said), "{ended:?}");
        }
        daemon = Process::start(&at).await;
        listen = daemon.address().to_string();
    }
    let caller = Caller::new(daemon.address());
    id_of(&chat(&caller, Some(&key), &[]).await);
    let run = async |arguments: &[&str]| -> Ended {
        let ended = at.run(&[arguments, &["--listen", &listen]].concat()).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended
    };
    let second = run(&["key", "create", "--user", "lena", "--expires", "2099-01-01"]).await;
    assert_eq!(chat(&caller, Some(second.out.trim()), &[]).await.status, 200);
    let rows: Value = serde_json::from_str(&run(&["key", "list", "--format", "json"]).await.out).unwrap();
    assert_eq!((&rows[0]["user"], &rows[0]["expires_at"]), (&json!("lena"), &json!("2099-01-01T00:00:00.000Z")));
    assert_eq!(rows[1]["tags"], json!({ "team": "a", "env": "b" }));
    assert!(run(&["key", "list"]).await.out.contains("2 keys, 2 of them active"));
    assert!(run(&["key", "revoke", &key[key.len() - 4..]]).await.out.contains("is revoked"));
    assert_eq!(chat(&caller, Some(&key), &[]).await.status, 401);
    daemon.stop().await;
    let csv = at.run(&["key", "list", "--format", "csv"]).await;
    assert_eq!(csv.out.lines().count(), 3, "{csv:?}");
    assert!(csv.out.contains(",revoked,bot,"), "{csv:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_a_key_once_makes_one_a_form_and_asks_before_it_revokes() {
    let simulator = simulator().await;
    let at = Installation::new(simulator.base_url(), &tables());
    let daemon = Process::start(&at).await;
    let caller = Caller::new(daemon.address());
    let page = caller.get("/keys").await.text();
    let form = page.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert!(page.contains("<option value=\"growth\">"), "{page}");
    let wrong = caller.post("/keys", &[FORM], format!("form={form}&app=bot&key=growth&expires=soon")).await;
    assert_eq!(wrong.status, 400);
    let wrong = wrong.text();
    assert!(wrong.contains("No key was made.") && wrong.contains("value=\"bot\"") && wrong.contains("value=\"soon\""));
    let body = format!("form={form}&app=%3Cb%3Ebot&tags=team%3Da%2C+env%3Db&key=growth&expires=");
    for foreign in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")] {
        assert_eq!(caller.post("/keys", &[FORM, foreign], body.clone()).await.status, 403, "{foreign:?}");
    }
    let made = caller.post("/keys", &[FORM], body.clone()).await;
    assert_eq!((made.status.as_u16(), made.headers["cache-control"].to_str().unwrap()), (200, "no-store"));
    let made = made.text();
    let start = made.find("<code>tally-").unwrap() + "<code>".len();
    let key = made[start..start + 49].to_owned();
    assert_eq!(made.matches(&key).count(), 1);
    assert!(made.contains("<section data-once "), "the live page would swap it away");
    assert!(made.contains("&#60;b&#62;bot") && !made.contains("<b>bot"));
    id_of(&chat(&caller, Some(&key), &[]).await);
    // The same form once more, as a reload sends it.
    let again = caller.post("/keys", &[FORM], body).await;
    assert_eq!(again.status, 409);
    assert!(!again.text().contains(&key) && again.text().contains("already"));
    assert!(!caller.get("/keys").await.text().contains(&key));

    let id = caller.get("/tally/v1/keys").await.json()["rows"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/keys/{id}/revoke");
    assert!(caller.get(&path).await.text().contains(&format!("action=\"{path}\"")));
    assert_eq!(chat(&caller, Some(&key), &[]).await.status, 200, "looking revokes nothing");
    assert_eq!(caller.post(&path, &[FORM, ("origin", "null")], String::new()).await.status, 403);
    let revoked = caller.post(&path, &[FORM], String::new()).await;
    assert_eq!((revoked.status.as_u16(), revoked.headers["location"].to_str().unwrap()), (303, "/keys"));
    assert_eq!(chat(&caller, Some(&key), &[]).await.status, 401);
    assert_eq!(caller.get("/keys/nope/revoke").await.status, 404);
    daemon.stop().await;
    let log = std::fs::read_to_string(at.log()).unwrap();
    assert!(!log.contains(&key) && log.contains("a tally key was made"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tally_key_tells_ids_with_its_labels_and_names_choose_the_key() {
    let simulator = simulator().await;
    let at = Installation::new(simulator.base_url(), "");
    let token = "admin-token-of-0123456789abcdef0123456789";
    at.configure(&format!(
        "listen = \"127.0.0.1:0\"\ndatabase_url = \"sqlite:data/tallyd.db\"\nadmin_token = \"{token}\"\n\
         [openrouter]\nbase_url = \"{}\"\napi_key = \"{KEY}\"\n{}",
        simulator.base_url(),
        tables()
    ));
    let daemon = Process::start(&at).await;
    let caller = Caller::new(daemon.address());
    // Generations that were made elsewhere, with either key.
    let elsewhere = Caller::new(simulator.address());
    let mine = id_of(&chat(&elsewhere, Some(KEY), &[]).await);
    let growth = id_of(&chat(&elsewhere, Some(GROWTH), &[]).await);
    let told = id_of(&chat(&elsewhere, Some(GROWTH), &[]).await);
    let admin = format!("Bearer {token}");
    let admin = ("authorization", admin.as_str());
    let wanted = json!({ "app": "bot", "tags": { "team": "a" }, "key": "growth" }).to_string();
    assert_eq!(caller.post("/tally/v1/keys", &[JSON], wanted.clone()).await.status, 401);
    let made = caller.post("/tally/v1/keys", &[JSON, admin], wanted).await.json();
    let bearer = format!("Bearer {}", made["tally_key"].as_str().unwrap());
    let teller = ("authorization", bearer.as_str());

    let items = json!([
        { "id": mine, "app": "batch" },
        { "id": growth, "key": "growth", "tags": { "n": "1" } },
        { "id": "gen-1", "key": "grwth" },
        { "id": GROWTH },
        { "id": "gen-2", "key": GROWTH },
        "gen-3",
        { "id": mine }
    ]);
    let answer = caller.post("/tally/v1/record", &[admin], items.to_string()).await;
    let refused = answer.json()["refused"].clone();
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["recorded"], &answer.json()["known"]),
        (202, &json!(2), &json!(1))
    );
    let places: Vec<&Value> = refused.as_array().unwrap().iter().map(|item| &item["index"]).collect();
    assert_eq!(places, [2, 3, 4, 5]);
    assert!(refused[0]["reason"].as_str().unwrap().contains("\"grwth\""), "{refused}");
    assert!(!answer.text().contains(GROWTH), "{refused}");
    let lines = format!(
        "{{\"id\":\"{told}\",\"app\":\"mine\",\"user\":\"lena\"}}\n\n{{\"id\":\"gen-4\",\"key\":\"default\"}}\nnonsense\n"
    );
    let answer = caller.post("/tally/v1/record", &[teller], lines).await.json();
    assert_eq!(
        (&answer["recorded"], &answer["refused"][0]["index"], &answer["refused"][1]["index"]),
        (&json!(1), &json!(1), &json!(2))
    );
    assert!(answer["refused"][0]["reason"].as_str().unwrap().contains("alone"), "{answer}");
    for (headers, body, status) in [
        (vec![admin], "[]".to_owned(), 202),
        (vec![admin], String::new(), 400),
        (vec![admin], "gen-1".to_owned(), 400),
        (vec![admin], "\"gen-1\"".to_owned(), 400),
        (vec![admin], format!("[{}0]", "0,".repeat(10_000)), 413),
        (vec![admin], "{\"id\":\"gen-1\"}\n".repeat(10_001), 413),
        (vec![admin], " ".repeat((16 << 20) + 1), 413),
        (vec![("authorization", "Bearer tally-unknown")], "[]".to_owned(), 401),
        (vec![], "[]".to_owned(), 401),
        (vec![teller, ("origin", "https://evil.example")], "[]".to_owned(), 403),
    ] {
        let answer = caller.post("/tally/v1/record", &headers, body).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    // A tally key opens nothing else.
    let reply = caller.send(Method::GET, "/tally/v1/keys", &[teller], String::new()).await.unwrap();
    assert_eq!(reply.status(), 401);

    until("every record", async || {
        (at.number("SELECT COUNT(*) FROM usage WHERE state = 'settled'").await == 3).then_some(())
    })
    .await;
    let rows =
        at.sql("SELECT app, key_name, end_user, tags FROM usage WHERE key_name = 'growth' ORDER BY app IS NULL").await;
    let rows: Vec<Vec<Option<&str>>> = rows.iter().map(|row| row.iter().map(text).collect()).collect();
    assert_eq!(rows[0], [Some("bot"), Some("growth"), Some("lena"), Some(r#"{"team":"a"}"#)]);
    assert_eq!(rows[1], [None, Some("growth"), None, Some(r#"{"n":"1"}"#)]);
    let reply = caller.send(Method::GET, "/tally/v1/keys", &[admin], String::new()).await.unwrap();
    assert_eq!(read(reply).await.json()["rows"][0]["completions_30d"], 1);
    let id = made["id"].as_str().unwrap();
    let revoked = caller.send(Method::DELETE, &format!("/tally/v1/keys/{id}"), &[admin], String::new()).await.unwrap();
    assert_eq!(revoked.status(), 200);
    let answer = caller.post("/tally/v1/record", &[teller], "[]".to_owned()).await;
    assert_eq!(answer.status, 401);
    assert!(answer.text().contains("was revoked"));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_input_is_told_in_chunks_with_a_daemon_and_without() {
    let simulator = simulator().await;
    let at = Installation::new(simulator.base_url(), &tables());
    let mut lines = String::new();
    for n in 0..20_003 {
        writeln!(lines, "{{\"id\":\"gen-{n}\",\"key\":\"growth\"}}").unwrap();
        if n == 10_500 {
            lines.push_str("no JSON\n{\"id\":\"chatcmpl-1\"}\n");
        }
    }
    let lines = lines.as_bytes();
    let tell = async |more: &[&str]| {
        let arguments = [&["record", "-"][..], more].concat();
        let mut child = at.command(&arguments);
        child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let (written, output) = tokio::join!(
            async move {
                // One that gives up early says why on its standard error.
                let _ = input.write_all(lines).await;
                drop(input);
            },
            child.wait_with_output()
        );
        let ((), output) = (written, output.unwrap());
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(err.contains("line 10502: it is no JSON") && err.contains("line 10503: chatcmpl-1 ("), "{err}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(tell(&[]).await, "20003 recorded, 0 known already, 2 refused\n");
    let daemon = Process::start(&at).await;
    let listen = daemon.address().to_string();
    assert_eq!(tell(&["--listen", &listen]).await, "0 recorded, 20003 known already, 2 refused\n");
    assert_eq!(at.number("SELECT COUNT(*) FROM usage WHERE key_name = 'growth'").await, 20_003);
    daemon.kill().await;
}
