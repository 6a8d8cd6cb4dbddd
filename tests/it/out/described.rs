//! The description of the API: what is served stands in it, what stands in it is served, and it is checked in.

use std::collections::BTreeSet;
use std::path::Path;

use http::Method;
use serde_json::Value;
use tallyd::web::api::document;

use crate::pages::fixture::Scene;
use crate::support::caller::read;

/// Where it is checked in.
const SNAPSHOT: &str = "docs/openapi.json";

/// Set, the description is written there instead of compared.
const RENEW: &str = "RENEW_OPENAPI";

#[test]
fn the_description_is_checked_in() {
    if std::env::var_os(RENEW).is_some() {
        std::fs::write(SNAPSHOT, document::text()).unwrap();
    }
    let kept = std::fs::read_to_string(SNAPSHOT).unwrap_or_default();
    assert!(
        kept == document::text(),
        "{SNAPSHOT} is another description than the program's; look at what changed, and renew it with {RENEW}=1 cargo test \
         --test it out::described"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_operation_is_served_and_none_besides() {
    let scene = Scene::empty("").await;
    let served = scene.caller.get("/tally/v1/openapi.json").await;
    assert_eq!(served.text(), document::text());
    let described = served.json();
    assert_eq!(described["openapi"], "3.1.0");
    for (path, item) in described["paths"].as_object().unwrap() {
        if path == "/tally/v1/events" {
            // It never ends; its page's test listens to it.
            continue;
        }
        let operations: BTreeSet<String> =
            item.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        let real = path.replace("{name}", "some-name").replace("{id}", "some-id");
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            let reply = read(scene.caller.send(method.clone(), &real, &[], "").await.unwrap()).await;
            let is_served =
                reply.status != 405 && !(reply.status == 404 && reply.text().contains("nothing of this path"));
            let is_told = operations.contains(method.as_str());
            assert_eq!(is_served, is_told, "{method} {path}: {} {}", reply.status, reply.text());
        }
    }
    scene.running.stop().await;
}

/// A route of the API comes of a handler's description (`routes!`), so that it stands in the document; none is made by hand.
#[test]
fn no_route_of_the_api_is_made_without_a_description() {
    let mut looked_at = 0;
    let mut folders = vec![Path::new("src/web").to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            let by_hand = source.split(".route(\"").skip(1).map(|rest| rest.split('"').next().unwrap());
            for route in by_hand {
                looked_at += 1;
                let is_api =
                    ["/tally", "/v1/", "/healthz", "/readyz", "/metrics"].iter().any(|start| route.starts_with(start));
                assert!(!is_api, "{}: {route} is routed without a description", path.display());
            }
        }
    }
    assert!(looked_at > 20, "the source is not where it was");
}

/// Rows of tables are told by hand, as their columns are no struct's: they must be the columns that are sent.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_tables_have_the_columns_that_are_described() {
    let scene = Scene::full().await;
    let forms = &document::value()["components"]["schemas"];
    for (path, form, besides) in [
        ("/tally/v1/spend?by=app,day", "SpendRow", &["app", "day"][..]),
        ("/tally/v1/failures?since=60d", "FailureRow", &[]),
    ] {
        let rows = scene.caller.get(path).await.json();
        let sent: BTreeSet<&str> = rows["rows"][0].as_object().unwrap().keys().map(String::as_str).collect();
        let told = forms[form]["properties"].as_object().unwrap().keys().map(String::as_str);
        assert_eq!(sent, told.chain(besides.iter().copied()).collect(), "{form}");
    }
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<String>>();
    let rows = scene.caller.get("/tally/v1/completions?limit=1").await.json();
    assert_eq!(names(&rows["rows"][0]), names(&forms["Completion"]["properties"]));
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_read_it_on_a_page_of_its_own() {
    let scene = Scene::empty("").await;
    let page = scene.caller.get("/api-docs").await.text();
    for (path, item) in document::value()["paths"].as_object().unwrap() {
        assert!(page.contains(path.as_str()), "{path} is not on the page");
        for operation in item.as_object().unwrap().values() {
            let summary = operation["summary"].as_str().unwrap_or_else(|| panic!("{path} has no summary"));
            assert!(page.contains(&summary.replace('\'', "&#39;")), "{summary} is not on the page");
        }
    }
    assert!(page.contains("with the columns of the view <code>usage</code>"), "code is shown as code");
    assert!(!page.contains('`'));
    assert!(scene.caller.get("/").await.text().contains("href=\"/api-docs\""));
    scene.running.stop().await;
}
