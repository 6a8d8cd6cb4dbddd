//! What is told when a limit becomes another: by a change, a pause, an override, a top-up, or what rolled over.

use http::Method;
use serde_json::json;
use tallyd::domain::time::{DAY_MS, Timestamp};

use super::{NOWHERE, START, Scene};
use crate::store::engines::on_a_postgres_of_its_own;
use crate::support::installation::Installation;
use crate::support::until;

const DAY_OF_GROWTH: &str = "growth";

fn growth(limit: &str) -> serde_json::Value {
    json!({ "window": "month", "limit_usd": limit, "scope": { "app": "growth" } })
}

async fn limits_change(scene: &Scene) {
    scene.spend("growth", "1").await;
    let made = scene.put(DAY_OF_GROWTH, growth("10")).await;
    assert_eq!((&made["spent_usd"], &made["state"]), (&json!("1.00"), &json!("ok")), "rows of before are counted");
    scene.spend("growth", "5").await;
    assert_eq!(scene.told().await, ["growth 50% of 10.00 crossed"]);

    // What a new limit finds passed is told together; the old one again tells nothing twice.
    let lowered = scene.put(DAY_OF_GROWTH, growth("7")).await;
    assert_eq!(lowered["state"], "alerting");
    let found = ["growth 50% of 7.00 found", "growth 80% of 7.00 found"];
    let told = scene.told().await;
    assert_eq!(told[1..], found);
    let together = "SELECT COUNT(DISTINCT crossed_at) FROM alert_history WHERE kind = 'found'";
    assert_eq!(scene.at.number(together).await, 1);
    scene.put(DAY_OF_GROWTH, growth("10")).await;
    assert_eq!(scene.told().await.len(), 3);
    scene.spend("growth", "2").await;
    assert_eq!(scene.told().await[3], "growth 80% of 10.00 crossed");
    // Another address is no other limit.
    let mut written = growth("10");
    written["notify"] = json!(["growth@example.com"]);
    scene.put(DAY_OF_GROWTH, written).await;
    assert_eq!(scene.told().await.len(), 4);
    assert_eq!(
        scene.trail(DAY_OF_GROWTH).await,
        ["made api local", "changed api local", "changed api local", "changed api local"]
    );
    let changes = scene.get("budget-changes?budget=growth&limit=3").await;
    let limits =
        |n: usize| (changes["rows"][n]["limit_before_usd"].clone(), changes["rows"][n]["limit_after_usd"].clone());
    assert_eq!(limits(1), (json!("7.00"), json!("10.00")));
    assert_eq!(changes["rows"][0]["definition_after"]["notify"], json!(["growth@example.com"]));
    let rest = scene.get(&format!("budget-changes?before={}", changes["next"].as_str().unwrap())).await;
    assert_eq!((&rest["rows"][0]["action"], &rest["next"]), (&json!("made"), &json!(null)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_limit_arms_anew_and_what_it_finds_passed_is_told_once_on_sqlite() {
    let scene = Scene::on_sqlite("").await;
    limits_change(&scene).await;
    scene.running.stop().await;
    scene.at.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_limit_arms_anew_and_what_it_finds_passed_is_told_once_on_postgres() {
    on_a_postgres_of_its_own("definitions_limits", async |url| {
        let scene = Scene::new(Installation::on(url, NOWHERE, "")).await;
        limits_change(&scene).await;
        scene.running.stop().await;
        scene.at.verify().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_budget_counts_and_tells_when_it_is_resumed() {
    let scene = Scene::on_sqlite("").await;
    scene.put(DAY_OF_GROWTH, growth("10")).await;
    let paused = scene.post("budgets/growth/pause", json!(null)).await;
    assert_eq!((&paused["state"], paused["paused_at"].is_string()), (&json!("paused"), true));
    scene.spend("growth", "11").await;
    let row = scene.get("budgets/growth").await;
    assert_eq!((&row["state"], &row["spent_usd"]), (&json!("paused"), &json!("11.00")), "it counts on");
    assert!(scene.told().await.is_empty());
    scene.post("budgets/growth/pause", json!(null)).await;
    assert_eq!(scene.post("budgets/growth/resume", json!(null)).await["state"], "exceeded");
    assert_eq!(
        scene.told().await,
        ["growth 100% of 10.00 found", "growth 50% of 10.00 found", "growth 80% of 10.00 found"]
    );
    assert_eq!(scene.trail("growth").await, ["made api local", "paused api local", "resumed api local"]);
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_is_the_limit_until_it_ends_by_itself() {
    let scene = Scene::on_sqlite("").await;
    scene.put(DAY_OF_GROWTH, growth("10")).await;
    scene.spend("growth", "9").await;
    assert_eq!(scene.told().await.len(), 2);
    let wanted = json!({ "limit_usd": "40.00", "until": "2d", "reason": "launch\nweek" });
    let row = scene.post("budgets/growth/override", wanted).await;
    assert_eq!((&row["window_limit_usd"], &row["state"]), (&json!("40.00"), &json!("ok")));
    assert_eq!((&row["limit_usd"], &row["override"]["reason"]), (&json!("10.00"), &json!("launch week")));
    let (status, message) = scene.refused(Method::POST, "budgets/growth/topup", json!({ "amount_usd": "5" })).await;
    assert_eq!(status, 409);
    assert!(message.contains("end it first"), "{message}");
    scene.spend("growth", "12").await;
    assert_eq!(scene.told().await[2..], ["growth 50% of 40.00 crossed"]);

    scene.clock.set_wall(START.plus_millis(2 * DAY_MS + 60_000));
    let row = scene.until_state("growth", "exceeded").await;
    assert_eq!((&row["window_limit_usd"], &row["override"]), (&json!("10.00"), &json!(null)));
    until("what the old limit finds", async || (scene.told().await.len() == 4).then_some(())).await;
    assert_eq!(scene.told().await[3], "growth 100% of 10.00 found", "50% and 80% were told before");
    assert_eq!(scene.trail("growth").await, ["made api local", "overridden api local", "override_ended clock its end"]);
    let ended = scene.get("budget-changes?limit=1").await["rows"][0].clone();
    assert!(ended["changed_at"].as_str().unwrap().starts_with("2026-11-21T10:00"), "{ended}");

    // Ended by hand, and refused where there is none to end.
    scene.post("budgets/growth/override", json!({ "limit_usd": "50", "until": "1h", "reason": "x" })).await;
    let row = scene.ask(Method::DELETE, "budgets/growth/override", json!(null)).await;
    assert_eq!(row["window_limit_usd"], "10.00");
    assert_eq!(scene.refused(Method::DELETE, "budgets/growth/override", json!(null)).await.0, 409);
    for (wanted, told) in [
        (json!({ "limit_usd": "50", "until": "2026-11-01", "reason": "x" }), "is over"),
        (json!({ "limit_usd": "50", "until": "soon", "reason": "x" }), "until when"),
        (json!({ "limit_usd": "50", "until": "1h", "reason": " " }), "reason"),
        (json!({ "limit_usd": "$50", "until": "1h", "reason": "x" }), "is not a limit"),
    ] {
        let (status, message) = scene.refused(Method::POST, "budgets/growth/override", wanted).await;
        assert!(status == 400 && message.contains(told), "{message}");
    }
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_that_ended_while_the_daemon_was_off_is_over_at_its_start() {
    let mut scene = Scene::on_sqlite("").await;
    scene.put(DAY_OF_GROWTH, growth("10")).await;
    scene.spend("growth", "9").await;
    scene.post("budgets/growth/override", json!({ "limit_usd": "5", "until": "1h", "reason": "brake" })).await;
    assert_eq!(scene.told().await.len(), 5, "50% and 80% of 10, and all of 5");
    scene.running.stop().await;
    scene.clock.set_wall(START.plus_millis(DAY_MS));
    scene.running = crate::support::running::Running::start(&scene.at, &scene.clock).await;
    scene.caller = crate::support::caller::Caller::new(scene.running.address());
    assert_eq!(scene.get("budgets/growth").await["window_limit_usd"], "10.00");
    assert_eq!(scene.told().await.len(), 5);
    assert_eq!(scene.trail("growth").await[2], "override_ended clock its end");
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_top_up_adds_to_its_window_alone_and_of_total_for_good() {
    let scene = Scene::on_sqlite("").await;
    scene.put("growth", growth("10")).await;
    scene.put("prepaid", json!({ "window": "total", "limit_usd": "0", "when_exceeded": "block" })).await;
    let row = scene.post("budgets/growth/topup", json!({ "amount_usd": "2.50", "id": "a", "note": "PO 7" })).await;
    assert_eq!((&row["window_limit_usd"], &row["topped_up_usd"]), (&json!("12.50"), &json!("2.50")));
    let (status, message) =
        scene.refused(Method::POST, "budgets/growth/topup", json!({ "amount_usd": "2.50", "id": "a" })).await;
    assert!(status == 409 && message.contains("made already"), "one ID is one top-up: {message}");
    let row = scene.post("budgets/growth/topup", json!({ "amount_usd": "-0.50" })).await;
    assert_eq!(row["window_limit_usd"], "12.00");
    for (amount, told) in [("-2.01", "only 2.00 dollars were added"), ("0", "amount to add"), ("8999999", "the most")] {
        let (status, message) =
            scene.refused(Method::POST, "budgets/growth/topup", json!({ "amount_usd": amount })).await;
        assert!(status == 400 && message.contains(told), "{amount}: {message}");
    }
    assert_eq!(scene.get("budgets/prepaid").await["state"], "exceeded");
    assert_eq!(scene.post("budgets/prepaid/topup", json!({ "amount_usd": "20" })).await["state"], "ok");
    let limits = "SELECT COUNT(*) FROM budget_limits WHERE name = 'growth' AND own_limit_usd = 10 AND topped_up_usd = 2 AND limit_usd = 12";
    assert_eq!(scene.at.number(limits).await, 1);

    // December: the top-up was November's. What is prepaid stays.
    scene.clock.set_wall(Timestamp::parse("2026-12-02T00:00:00Z").unwrap());
    until("December", async || (scene.get("budgets/growth").await["window_limit_usd"] == "10.00").then_some(())).await;
    assert_eq!(scene.get("budgets/prepaid").await["window_limit_usd"], "20.00");
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_window_leaves_rolls_over_into_the_next_one_and_no_further() {
    let scene = Scene::on_sqlite("").await;
    let mut rolling = growth("10");
    rolling["rollover"] = json!(true);
    // October's spend was before it was made: nothing of it rolls over.
    let made = scene.put("growth", rolling.clone()).await;
    assert_eq!((&made["window_limit_usd"], &made["rolled_over_usd"]), (&json!("10.00"), &json!("0.00")));
    scene.spend("growth", "4").await;
    scene.post("budgets/growth/topup", json!({ "amount_usd": "1" })).await;
    let turned = async |to: &str, rolled: &str| {
        scene.clock.set_wall(Timestamp::parse(to).unwrap());
        until(to, async || {
            let row = scene.get("budgets/growth").await;
            (row["window_start"].as_str().unwrap()[..7] == to[..7] && row["rolled_over_usd"] == rolled).then_some(())
        })
        .await;
    };
    // 10 + 1 - 4.
    turned("2026-12-03T00:00:00Z", "7.00").await;
    // A cost of November that comes late moves no limit that people were told of.
    scene.spend_at("growth", "3", Timestamp::parse("2026-11-20T00:00:00Z").unwrap()).await;
    assert_eq!(scene.get("budgets/growth").await["window_limit_usd"], "17.00");
    // A new limit keeps what rolled over.
    rolling["limit_usd"] = json!("20");
    assert_eq!(scene.put("growth", rolling).await["window_limit_usd"], "27.00");
    scene.spend("growth", "15").await;
    // Of December's own 20 five are left; the 7 lapse.
    turned("2027-01-02T00:00:00Z", "5.00").await;
    assert_eq!(scene.get("budgets/growth").await["window_limit_usd"], "25.00");
    turned("2027-02-02T00:00:00Z", "20.00").await;
    scene.running.stop().await;
}
