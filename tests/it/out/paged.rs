//! `/tally/v1/completions`: pages lead through every row once, under the page's filters; mistakes are told in one form.

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use serde_json::Value;

use super::unusual;
use crate::pages::fixture::Scene;
use crate::support::caller::{Reply, read};
use crate::support::installation::text;

/// All rows that the filters leave, page by page.
async fn walked(scene: &Scene, filters: &str, limit: u32) -> Vec<Value> {
    let (mut rows, mut before) = (Vec::new(), String::new());
    loop {
        let reply = scene.caller.get(&format!("/tally/v1/completions?limit={limit}{before}{filters}")).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        let mut page = reply.json();
        let Value::Array(more) = page["rows"].take() else { panic!("no rows") };
        assert!(more.len() <= usize::try_from(limit).unwrap());
        rows.extend(more);
        match page["next"].as_str() {
            Some(next) => before = format!("&before={next}"),
            None => return rows,
        }
    }
}

fn ids(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["call_id"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_lead_through_every_row_once_and_files_hold_the_same() {
    let scene = Scene::full().await;
    scene.submit(unusual(&scene)).await;
    for (filters, condition) in [
        ("", "1 = 1"),
        ("&app=support-bot", "app = 'support-bot'"),
        ("&none=user&state=settled", "end_user IS NULL AND state = 'settled'"),
        ("&tag=team%3Da,%0A%22b%22", "call_id IN (SELECT call_id FROM usage_tags WHERE value LIKE 'a,%')"),
        (
            "&since=2026-11-10&until=2026-11-12T12:00:00Z",
            "created_at >= '2026-11-10' AND created_at < '2026-11-12T12:00:00.000Z'",
        ),
        ("&model=nobody/nothing", "1 = 0"),
    ] {
        let query = format!("SELECT call_id FROM usage WHERE {condition} ORDER BY created_ms DESC, call_id DESC");
        let expected = scene.at.sql(&query).await;
        let expected: Vec<&str> = expected.iter().map(|row| text(&row[0]).unwrap()).collect();
        let rows = walked(&scene, filters, 137).await;
        assert_eq!(ids(&rows), expected, "{filters}");
        let file = scene.caller.get(&format!("/tally/v1/completions.ndjson?{}", filters.trim_start_matches('&'))).await;
        let lines: Vec<Value> = file.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines, rows, "{filters}");
    }
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_completion_is_told_whole_by_either_id() {
    let scene = Scene::full().await;
    scene.submit(unusual(&scene)).await;
    let by_generation = scene.caller.get("/tally/v1/completions/gen-1795090001-unusual").await.json();
    let call = by_generation["call_id"].as_str().unwrap();
    let by_call = scene.caller.get(&format!("/tally/v1/completions/{call}")).await.json();
    assert_eq!(by_call, by_generation);
    let picked = |name: &str| by_call[name].as_str().unwrap().to_owned();
    assert_eq!((picked("cost_usd"), picked("cost_picousd")), ("0.098766666668".to_owned(), "98766666668".to_owned()));
    assert_eq!(
        (picked("charged_usd"), picked("upstream_cost_usd")),
        ("0.000001234567".to_owned(), "0.098765432101".to_owned())
    );
    assert_eq!((picked("state"), picked("endpoint")), ("pending".to_owned(), "chat/completions".to_owned()));
    assert_eq!(by_call["routing_effects"][0]["effect"], "kept", "{by_call}");
    assert_eq!(by_call["settling"]["readings"], 0);
    assert!(picked("created_at").ends_with('Z') && by_call["created_ms"].is_i64());
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_answered_is_told_in_the_apis_form() {
    let scene = Scene::empty("").await;
    let told = |reply: &Reply, status: u16, part: &str| {
        let body = reply.json();
        assert_eq!((reply.status.as_u16(), &body["error"]["code"]), (status, &status.into()), "{body}");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains(part), "{message}");
    };
    for (path, status, part) in [
        ("/tally/v1/completions?colour=red", 400, "no filter"),
        ("/tally/v1/completions?limit=0", 400, "1 to 1000"),
        ("/tally/v1/completions?limit=ten", 400, "1 to 1000"),
        ("/tally/v1/completions?before=x", 400, "`next`"),
        ("/tally/v1/completions?state=open", 400, "settled, pending"),
        ("/tally/v1/completions?none=state", 400, "rows can lack"),
        ("/tally/v1/completions?app=", 400, "none=app"),
        ("/tally/v1/completions.csv?since=yesterday", 400, "is not a time"),
        ("/tally/v1/completions.csv?limit=5", 400, "no filter"),
        ("/tally/v1/completions/gen-nobody-knows", 404, "no completion"),
        ("/tally/v1/completions/%FF", 400, ""),
        ("/tally/v1/keys?before=x", 400, ""),
        ("/tally/v1/spend?nonsense=1", 400, "nonsense"),
        ("/tally/v1/alerts?limit=-1", 400, ""),
        ("/tally/v1/nothing", 404, "openapi.json"),
    ] {
        told(&scene.caller.get(path).await, status, part);
    }
    let reply = scene.caller.send(Method::DELETE, "/tally/v1/spend", &[], "").await.unwrap();
    let allowed: BTreeSet<&str> = reply.headers()["allow"].to_str().unwrap().split(',').collect();
    assert_eq!(allowed, ["GET", "HEAD"].into());
    told(&read(reply).await, 405, "Allow");
    scene.running.stop().await;
}
