//! SIGHUP and `tallyd reload`: a changed file is applied whole or refused whole, while calls go on.

use http::Method;
use serde_json::{Value, json};

use super::{NOWHERE, ask};
use crate::support::caller::Caller;
use crate::support::installation::{Installation, text};
use crate::support::process::Process;
use crate::support::until;

fn file(tables: &str) -> String {
    format!(
        "listen = \"127.0.0.1:0\"\ndatabase_url = \"sqlite:data/tallyd.db\"\njournal_dir = \"data/journal\"\n\
         [openrouter]\nbase_url = \"{NOWHERE}\"\n{tables}"
    )
}

fn budget(name: &str, limit: &str) -> String {
    format!("[[budgets]]\nname = \"{name}\"\nwindow = \"month\"\nlimit_usd = \"{limit}\"\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_applied_whole_or_refused_whole() {
    let at = Installation::new(NOWHERE, "");
    at.configure(&file(&[budget("a", "1"), budget("b", "2")].concat()));
    let daemon = Process::start(&at).await;
    let caller = Caller::new(daemon.address());
    let listen = daemon.address().to_string();
    let reload = async || at.run(&["reload", "--listen", &listen]).await;
    // The shell reads the file, which is wrong at times.
    let limits = async || {
        let all = ask(&caller, Method::GET, "budgets", &json!(null)).await.json();
        let in_force = all["rows"].as_array().unwrap().iter().filter(|row| row["shadowed"] == false);
        let word = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
        in_force
            .map(|row| format!("{} {} {}", word(row, "name"), word(row, "origin"), word(row, "limit_usd")))
            .collect::<Vec<_>>()
    };
    let own = json!({ "window": "month", "limit_usd": "9" });
    assert_eq!(ask(&caller, Method::PUT, "budgets/own", &own).await.status, 201);

    let same = reload().await;
    assert!(same.code == Some(0) && same.out.contains("the budgets are as they were"), "{same:?}");
    // One mistake anywhere, and nothing of it holds.
    at.configure(&file(&[budget("a", "5"), budget("b", "$2"), "[settle]\nconcurrency = 0\n".to_owned()].concat()));
    let reply = ask(&caller, Method::POST, "reload", &json!(null)).await;
    assert_eq!(reply.status, 422);
    let message = reply.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("everything stays as it was"), "{message}");
    assert!(
        message.contains("limit_usd: \"$2\" is not a limit") && message.contains("settle.concurrency"),
        "{message}"
    );
    assert_eq!(limits().await, ["a file 1.00", "b file 2.00", "own own 9.00"]);

    // Changed, gone, new, one that shadows our own, and settings that hold at the next start alone.
    let tables = [budget("a", "5"), budget("own", "3"), budget("c", "4"), "[settle]\nconcurrency = 3\n".to_owned()];
    at.configure(&file(&tables.concat()));
    let applied = reload().await;
    assert_eq!(applied.code, Some(0), "{applied:?}");
    for line in [
        "budgets made: c",
        "budgets changed: a, own",
        "budgets removed: b",
        "start tallyd again for: settle.concurrency",
    ] {
        assert!(applied.out.contains(line), "{applied:?}");
    }
    assert_eq!(limits().await, ["a file 5.00", "c file 4.00", "own file 3.00"]);
    let all = ask(&caller, Method::GET, "budgets", &json!(null)).await.json();
    let shadowed: Vec<_> = all["rows"].as_array().unwrap().iter().filter(|row| row["shadowed"] == true).collect();
    assert_eq!((shadowed.len(), &shadowed[0]["name"], &shadowed[0]["limit_usd"]), (1, &json!("own"), &json!("9.00")));
    assert!(caller.get("/budgets").await.text().contains("Shadowed"));

    // It comes back when the file lets go of its name; a budget that left keeps its history.
    at.configure(&file(&budget("a", "5")));
    #[expect(clippy::cast_possible_wrap, reason = "a process's number is small")]
    let pid = rustix::process::Pid::from_raw(daemon.pid() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    until("the reload", async || (limits().await == ["a file 5.00", "own own 9.00"]).then_some(())).await;
    let trail = at.sql("SELECT action || ' ' || who FROM budget_changes WHERE budget = 'b' ORDER BY change_id").await;
    let trail: Vec<_> = trail.iter().map(|row| text(&row[0]).unwrap()).collect();
    assert_eq!(trail, ["made start", "removed reload"]);
    assert_eq!(caller.get("/budgets/b").await.status, 404);
    assert!(caller.get("/budgets/b/history").await.text().contains("its limit was $2.00 a month"));
    // A file that is refused on a signal leaves the daemon as it is.
    at.configure("nonsense");
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    until("the log", async || {
        std::fs::read_to_string(at.log()).unwrap().contains("the configuration was not read anew").then_some(())
    })
    .await;
    assert_eq!(limits().await, ["a file 5.00", "own own 9.00"]);
    // The commands read the file too, and say what is wrong.
    assert_eq!(reload().await.code, Some(1));
    at.configure(&file(&budget("a", "5")));
    daemon.stop().await;
    at.verify().await;
}
