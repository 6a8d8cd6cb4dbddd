//! The JSON API and the shell: made, listed, changed, removed; with a daemon and without; what the file owns.

use http::Method;
use serde_json::{Value, json};

use super::{NOWHERE, Scene, ask};
use crate::store::engines::on_a_postgres_of_its_own;
use crate::support::caller::Caller;
use crate::support::installation::{Ended, Installation, text};
use crate::support::process::Process;
use crate::support::until;

const FILE: &str = "[[budgets]]\nname = \"filed\"\nwindow = \"day\"\nlimit_usd = 5\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_api_makes_lists_changes_and_removes() {
    let scene = Scene::on_sqlite(FILE).await;
    let wanted =
        json!({ "window": "week", "week_starts": "sunday", "limit_usd": "3.50", "scope": { "tag": { "team": "a" } } });
    let made = ask(&scene.caller, Method::PUT, "budgets/a", &wanted).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    assert_eq!(
        (&made["origin"], &made["limit_usd"], &made["shadowed"]),
        (&json!("own"), &json!("3.50"), &json!(false))
    );
    assert!(made["window_start"].as_str().unwrap().starts_with("2026-11-15"), "{made}");
    assert_eq!(ask(&scene.caller, Method::PUT, "budgets/a", &wanted).await.status, 200);
    assert_eq!(scene.trail("a").await, ["made api local"], "the same again is no change");
    scene.put("c", json!({ "window": "total", "limit_usd": 1 })).await;

    let page = scene.get("budgets?limit=2").await;
    let names = |page: &Value| {
        let rows = page["rows"].as_array().unwrap();
        rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((names(&page), &page["next"]), (vec!["a".to_owned(), "c".to_owned()], &json!("c")));
    let page = scene.get("budgets?after=c").await;
    assert_eq!((names(&page), &page["next"]), (vec!["filed".to_owned()], &json!(null)));
    let csv = scene.caller.get("/tally/v1/budgets.csv").await.text();
    assert!(csv.starts_with("name,origin,state,scope,window") && csv.contains("\r\nfiled,file,ok,"), "{csv}");
    let csv = scene.caller.get("/tally/v1/budget-changes.csv?budget=filed").await.text();
    assert!(csv.starts_with("change_id,changed_at,budget,action") && csv.contains(",filed,made,file,start,"), "{csv}");
    assert!(scene.caller.get("/tally/v1/alerts.csv").await.text().starts_with("alert_id,budget,window_start"));

    for (method, path, body, status, told) in [
        (Method::PUT, "budgets/filed", json!({ "window": "day", "limit_usd": 6 }), 409, "tallyd reload"),
        (Method::DELETE, "budgets/filed", json!(null), 409, "read-only"),
        (Method::DELETE, "budgets/none", json!(null), 404, "tallyd budget list"),
        (Method::GET, "budgets/none", json!(null), 404, "no budget"),
        (Method::POST, "budgets/none/pause", json!(null), 404, "no budget"),
        (Method::GET, "budgets/No", json!(null), 400, "is not a budget name"),
        (Method::PUT, "budgets/a", json!({ "name": "b", "window": "day", "limit_usd": 6 }), 400, "another budget"),
        (Method::PUT, "budgets/a", json!({ "window": "day", "limit_usd": 6.5 }), 400, "\"6.50\""),
        (Method::PUT, "budgets/a", json!({ "window": "day", "limit_usd": 6, "billing_day": 2 }), 400, "billing_day"),
        (Method::PUT, "budgets/a", json!({ "window": "day", "limit": 6 }), 400, "unknown field"),
        (
            Method::PUT,
            "budgets/a",
            json!({ "window": "day", "limit_usd": 6, "notify": ["webhook:pager"] }),
            400,
            "there is no [webhooks.pager]",
        ),
        (Method::PUT, "budgets/a", json!([1]), 400, "the body is a budget"),
        (Method::GET, "budgets?limit=0", json!(null), 400, "limit is a number"),
        (Method::GET, "alerts?before=x", json!(null), 400, "`next`"),
        (Method::POST, "reload", json!(null), 409, "without a configuration"),
    ] {
        let (got, message) = scene.refused(method, path, body).await;
        assert!(got == status && message.contains(told), "{path}: {got} {message}");
    }
    // What holds for a while may be changed of the file's too.
    assert_eq!(scene.post("budgets/filed/pause", json!(null)).await["state"], "paused");

    let removed = scene.ask(Method::DELETE, "budgets/a", json!(null)).await;
    assert_eq!(removed["limit_usd"], "3.50");
    assert_eq!(scene.refused(Method::GET, "budgets/a", json!(null)).await.0, 404);
    assert_eq!(scene.trail("a").await, ["made api local", "removed api local"]);
    // Made again, it counts and stands anew; its history goes on.
    scene.put("a", wanted).await;
    assert_eq!(scene.trail("a").await.len(), 3);
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shell_does_the_same_with_a_daemon_and_holding_the_lock() {
    let at = Installation::new(NOWHERE, FILE);
    let run = async |arguments: &[&str], listen: Option<&str>| -> Ended {
        let mut all = arguments.to_vec();
        all.extend(listen.iter().flat_map(|address| ["--listen", address]));
        at.run(&all).await
    };
    let done = async |arguments: &[&str], listen: Option<&str>| -> String {
        let ended = run(arguments, listen).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.out
    };
    // Nothing made the database before.
    let set = ["budget", "set", "x", "--limit", "7", "--app", "bot", "--tag", "team=a", "--alert-at", "80%,$6.50"];
    assert!(done(&set, None).await.contains("the budget x is made: 0.00 of 7.00 dollars, ok"));
    let wrong = [
        (vec!["budget", "set", "y"], 2, "--limit"),
        (vec!["budget", "set", "filed", "--limit", "7"], 1, "read-only"),
        (vec!["budget", "set", "x", "--limit", "7", "--tag", "team"], 2, "--tag name=value"),
        (vec!["budget", "set", "x", "--limit", "$7"], 1, "is not a limit"),
        (vec!["budget", "set", "x", "--limit", "7", "--window", "fortnight"], 1, "is not a window"),
        (vec!["budget", "remove", "y"], 1, "no budget"),
        (vec!["budget", "topup", "filed", "0"], 1, "amount to add"),
        (vec!["budget", "override", "filed", "--limit", "7"], 2, "--until"),
        (vec!["reload"], 1, "no daemon runs"),
    ];
    for (arguments, code, said) in wrong {
        let ended = run(&arguments, None).await;
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        assert!(ended.err.contains(said), "{ended:?}");
    }

    let daemon = Process::start(&at).await;
    let listen = daemon.address().to_string();
    let listen = Some(listen.as_str());
    // What is not given stays.
    done(&["budget", "set", "x", "--limit", "8", "--billing-day", "15", "--rollover", "true"], listen).await;
    let rows: Value = serde_json::from_str(&done(&["budget", "list", "--format", "json"], listen).await).unwrap();
    let x = &rows[1];
    assert_eq!((&x["name"], &x["limit_usd"], &x["billing_day"]), (&json!("x"), &json!("8.00"), &json!(15)));
    assert_eq!(
        (&x["scope"], &x["alert_at"]),
        (&json!({ "app": "bot", "tag": { "team": "a" } }), &json!(["80%", "$6.50"]))
    );
    // Another window leaves what only the old one knew.
    done(&["budget", "set", "x", "--window", "day", "--everything", "--notify", "a@example.com"], listen).await;
    done(&["budget", "topup", "x", "2.5", "--note", "more"], listen).await;
    done(&["budget", "topup", "x", "-0.5"], listen).await;
    let paused = done(&["budget", "pause", "filed"], listen).await;
    assert!(paused.contains("the budget filed is paused") && paused.trim().ends_with("paused"), "{paused}");
    let told =
        done(&["budget", "override", "x", "--limit", "50", "--until", "2d", "--reason", "why not"], listen).await;
    assert!(told.contains("0.00 of 50.00 dollars until ") && told.contains("(why not)"), "{told}");
    assert!(done(&["budget", "override", "x", "--end"], listen).await.contains("of 10.00 dollars"));
    let table = done(&["budget", "list"], listen).await;
    assert!(table.contains("2 budgets, 1 of them of tallyd.toml") && table.contains("10.00"), "{table}");
    daemon.stop().await;

    done(&["budget", "resume", "filed"], None).await;
    done(&["budget", "remove", "x"], None).await;
    let csv = done(&["budget", "list", "--format", "csv"], None).await;
    assert_eq!(csv.lines().count(), 2, "{csv}");
    let doors = at.sql("SELECT DISTINCT door || ' ' || who FROM budget_changes ORDER BY 1").await;
    let doors: Vec<_> = doors.iter().map(|row| text(&row[0]).unwrap()).collect();
    assert_eq!(doors, ["command local", "file start"]);
    at.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_daemon_on_the_same_database_follows() {
    on_a_postgres_of_its_own("definitions_follow", async |url| {
        let (one, other) = (Installation::on(url, NOWHERE, ""), Installation::on(url, NOWHERE, ""));
        let (first, second) = (Process::start(&one).await, Process::start(&other).await);
        let (first_door, second_door) = (Caller::new(first.address()), Caller::new(second.address()));
        let wanted = json!({ "window": "total", "limit_usd": "0", "when_exceeded": "block" });
        assert_eq!(ask(&first_door, Method::PUT, "budgets/nothing", &wanted).await.status, 201);
        let chat = json!({ "model": "openai/gpt-4o-mini", "max_tokens": 5, "messages": [] });
        // The other one learns that calls are to be refused, and later that they are not.
        let status = async || {
            second_door.post("/api/v1/chat/completions", &[super::JSON], chat.to_string()).await.status.as_u16()
        };
        until("the refusal", async || (status().await == 402).then_some(())).await;
        assert_eq!(ask(&first_door, Method::POST, "budgets/nothing/pause", &json!(null)).await.status, 200);
        until("the end of it", async || (status().await != 402).then_some(())).await;
        first.stop().await;
        second.stop().await;
    })
    .await;
}
