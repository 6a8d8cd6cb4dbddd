//! What a budget would have done: asked of the API, the shell and the page, as it is and as drafted.

use http::Method;
use serde_json::{Value, json};
use tallyd::domain::time::Timestamp;

use super::Scene;

const FILE: &str = "[[budgets]]\nname = \"daily\"\nwindow = \"day\"\nlimit_usd = 10\nalert_at = [\"50%\", \"100%\"]\n";

/// The time gone through; the daemon's clock stands at its end.
const OVER: &str = "since=2026-11-18&until=2026-11-19T10:00:00Z";

async fn scene() -> Scene {
    let scene = Scene::on_sqlite(FILE).await;
    for (at, usd) in [
        ("2026-11-18T09:00:00Z", "6"),
        ("2026-11-18T10:00:00Z", "5"),
        ("2026-11-18T11:00:00Z", "2"),
        ("2026-11-19T08:00:00Z", "3"),
    ] {
        scene.spend_at("bot", usd, Timestamp::parse(at).unwrap()).await;
    }
    scene
}

/// Alerts, refused, not spent, spent.
fn course(answer: &Value) -> (usize, i64, &str, &str) {
    let text = |name: &str| answer[name].as_str().unwrap();
    let alerts = answer["alerts"].as_array().unwrap().len();
    (alerts, answer["refused"].as_i64().unwrap(), text("not_spent_usd"), text("spent_usd"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_and_the_shell_say_what_a_budget_would_have_done() {
    let scene = scene().await;
    let as_it_is = scene.get(&format!("budgets/daily/replay?{OVER}")).await;
    assert_eq!(course(&as_it_is), (2, 0, "0.00", "16.00"));
    assert_eq!(as_it_is["alerts"][1]["threshold"], "100%");
    assert_eq!(as_it_is["alerts"][1]["crossed_at"], "2026-11-18T10:00:00.000Z");
    assert_eq!(as_it_is["windows"].as_array().unwrap().len(), 2);
    assert_eq!(as_it_is["windows"][1]["spent_usd"], "3.00");

    let draft = json!({ "window": "day", "limit_usd": "10", "when_exceeded": "block", "alert_at": ["100%"] });
    let drafted = scene.post(&format!("budgets/new/replay?{OVER}"), draft.clone()).await;
    assert_eq!(course(&drafted), (0, 1, "5.00", "11.00"), "the second call does not fit, the third does");
    assert_eq!(drafted["first_refused_at"], "2026-11-18T10:00:00.000Z");
    assert_eq!(scene.get("budgets").await["rows"].as_array().unwrap().len(), 1, "nothing was made");

    let backwards = "budgets/daily/replay?since=2026-11-19&until=2026-11-18";
    assert_eq!(scene.refused(Method::GET, backwards, Value::Null).await.0, 400);
    assert_eq!(scene.refused(Method::GET, "budgets/new/replay", Value::Null).await.0, 404);
    assert_eq!(scene.refused(Method::POST, "budgets/new/replay", json!({ "window": "day" })).await.0, 400);

    let over = ["--since", "2026-11-18", "--until", "2026-11-19T10:00:00Z"];
    let run = async |arguments: &[&str]| scene.at.run(&[&["budget", "replay"], arguments, &over].concat()).await;
    let ended = run(&["daily", "--when-exceeded", "block", "--format", "json"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(course(&serde_json::from_str(&ended.out).unwrap()), (1, 1, "5.00", "11.00"));
    let ended = run(&["daily", "--when-exceeded", "block"]).await;
    assert!(ended.out.ends_with("1 alert, 1 call refused, $5.00 of $16.00 not spent\n"), "{ended:?}");
    let ended = run(&["new", "--limit", "2", "--window", "total"]).await;
    assert!(ended.out.ends_with("3 alerts, no call refused, $16.00 spent\n"), "{ended:?}");
    assert_eq!(run(&["new"]).await.code, Some(2));
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_it_for_a_budget_and_for_what_a_form_describes() {
    let scene = scene().await;
    let page = async |path: &str| scene.caller.get(path).await;
    let shown = page("/budgets/daily/replay?days=7").await;
    assert_eq!(shown.status, 200);
    let shown = shown.text();
    for part in ["Replay of daily", "it does not block", "$16<span class=\"dec\">.00", "100\u{a0}%"] {
        assert!(shown.contains(part), "{part} is missing from {shown}");
    }
    assert!(page("/budgets/daily").await.text().contains("/budgets/daily/replay"));
    let form = page("/budgets/-/new").await.text();
    assert!(form.contains("formaction=\"/budgets/-/replay\""), "{form}");

    let drafted =
        page("/budgets/-/replay?window=day&limit_usd=10&when_exceeded=block&alert_at=100%25&days=7").await.text();
    for part in ["Replay of draft, as drafted", "$5<span class=\"dec\">.00", "$11<span class=\"dec\">.00", "days=30"] {
        assert!(drafted.contains(part), "{part} is missing from {drafted}");
    }
    let wrong = page("/budgets/-/replay?window=day&limit_usd=much").await.text();
    assert!(wrong.contains("Nothing was replayed") && wrong.contains("limit_usd"), "{wrong}");
    assert_eq!(page("/budgets/absent/replay").await.status, 404);
    scene.running.stop().await;
}
