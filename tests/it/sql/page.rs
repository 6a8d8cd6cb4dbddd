//! The page SQL: what it shows of an answer, what it saves, and when it runs nothing.

use http::{Method, StatusCode};
use serde_json::json;
use tallyd::report::manual::manual;

use super::{Console, NOWHERE, asked_of_both_engines};
use crate::support::browser::{Browser, View};
use crate::support::installation::Installation;
use crate::support::until;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

asked_of_both_engines! {
    "";
    the_page_shows_an_answer_its_chart_and_its_files
    queries_are_saved_with_their_parameters
    examples_run_as_they_stand
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

async fn the_page_shows_an_answer_its_chart_and_its_files(console: &Console) {
    console.fill().await;
    let page = console.caller.get("/sql").await;
    assert_eq!(page.status, StatusCode::OK);
    let text = page.text();
    for view in &manual().views {
        assert!(text.contains(&format!("{} <span>· {}</span>", view.name, view.columns.len())), "{}", view.name);
    }
    assert!(
        text.contains("whether your own provider key paid")
            && text.contains("name=\"q\"")
            && !text.contains(">Result<")
    );
    let query = "SELECT '<b>' AS name, 2.5 AS usd UNION ALL SELECT 'x', 7.5 UNION ALL SELECT NULL, NULL";
    let text = console.caller.get(&format!("/sql?q={}", encoded(query))).await.text();
    assert!(text.contains("3 rows in ") && text.contains(", complete"), "{text}");
    assert!(
        text.contains("<td>&#60;b&#62;</td><td class=\"n\">2.5</td>")
            && text.contains("<span class=\"dim\">NULL</span>")
    );
    assert!(text.contains("usd by name") && text.contains("<svg class=\"bars\""));
    assert!(text.contains(&format!("/tally/v1/sql.csv?q={}", encoded(query))), "{text}");
    let days = "SELECT '2026-11-01' AS day, 1 AS a, 2.5 AS usd UNION ALL SELECT '2026-11-03', 4, 1.5 ORDER BY 1";
    let text = console.caller.get(&format!("/sql?q={}", encoded(days))).await.text();
    assert!(text.contains("<path class=\"line\"") && text.contains("usd by day"), "{text}");
    let text = console.caller.get(&format!("/sql?q={}&y=a&chart=bars", encoded(days))).await.text();
    assert!(
        text.contains("a by day") && text.contains("<svg class=\"bars\"") && !text.contains("<path class=\"line\"")
    );
    let wrong = console.caller.get("/sql?q=SELECT+nonsense+FROM+usage").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert!(wrong.text().contains("nonsense") && wrong.text().contains("(line 1, column 8)"));
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) SELECT i FROM n";
    let text = console.caller.get(&format!("/sql?q={}", encoded(many))).await.text();
    assert!(text.contains("The first 500 are shown here; CSV and JSON have all 2000."));

    // A link on another site's page shows the query and runs nothing; a bookmark runs.
    let path = "/sql?q=SELECT+41+%2B+1+AS+answer";
    let followed = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    let page =
        crate::support::caller::read(console.caller.send(Method::GET, path, &followed, String::new()).await.unwrap());
    let text = page.await.text();
    assert!(text.contains("Nothing was run yet") && text.contains("SELECT 41 + 1 AS answer") && !text.contains(">42<"));
    let own = [("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    let page = crate::support::caller::read(console.caller.send(Method::GET, path, &own, String::new()).await.unwrap());
    assert!(page.await.text().contains(">42<"));
}

async fn queries_are_saved_with_their_parameters(console: &Console) {
    console.fill().await;
    let query = "SELECT COUNT(*) AS n, 'wanted' AS word FROM usage WHERE app = :app";
    let asked = console.caller.get(&format!("/sql?q={}", encoded(query))).await;
    assert_eq!(asked.status, StatusCode::BAD_REQUEST);
    assert!(asked.text().contains("name=\"p.app\"") && asked.text().contains("give a value for :app"));
    let name = "Calls of an app & <more>";
    let post = async |path: &str, body: String| console.caller.send(Method::POST, path, &[FORM], body).await.unwrap();
    let saved = post("/sql/save", format!("q={}&p.app=growth-bot&name={}", encoded(query), encoded(name))).await;
    assert_eq!(saved.status(), StatusCode::SEE_OTHER);
    let path = saved.headers()["location"].to_str().unwrap().to_owned();
    let text = console.caller.get(&path).await.text();
    assert!(text.contains("<td class=\"n\">5</td><td>wanted</td>") && text.contains("value=\"growth-bot\""), "{text}");
    assert!(text.contains("Calls of an app &#38; &#60;more&#62;"));
    let other = console.caller.get(&format!("{path}&p.app=nobody")).await.text();
    assert!(other.contains("<td class=\"n\">0</td><td>wanted</td>"));
    // The same name takes the new text.
    let again = post("/sql/save", format!("q=SELECT+7+AS+seven&name={}", encoded(name))).await;
    assert_eq!(again.status(), StatusCode::SEE_OTHER);
    assert!(console.caller.get(&path).await.text().contains("SELECT 7 AS seven"));
    for (body, words) in [
        ("q=SELECT+1&name=+".to_owned(), "Give it a name."),
        ("q=+&name=x".to_owned(), "There is nothing in the editor."),
        (format!("q=SELECT+1&name={}", "x".repeat(81)), "at most 80 characters"),
    ] {
        let wrong = crate::support::caller::read(post("/sql/save", body).await).await;
        assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
        assert!(wrong.text().contains(words));
    }
    let foreign = [FORM, ("origin", "https://evil.example")];
    let stolen =
        console.caller.send(Method::POST, "/sql/save", &foreign, "q=SELECT+1&name=x".to_owned()).await.unwrap();
    assert_eq!(stolen.status(), StatusCode::FORBIDDEN);
    let gone = post("/sql/remove", format!("name={}", encoded(name))).await;
    assert_eq!(gone.status(), StatusCode::SEE_OTHER);
    assert_eq!(console.caller.get(&path).await.status, StatusCode::NOT_FOUND);
    // What belongs to saving does not stand in links.
    let turned = console.caller.send(Method::GET, "/sql?q=SELECT+1&name=", &[], String::new()).await.unwrap();
    assert_eq!(turned.headers()["location"], "/sql?q=SELECT+1");
}

async fn examples_run_as_they_stand(console: &Console) {
    console.fill().await;
    let text = console.caller.get("/sql").await.text();
    let examples = text.split("id=\"examples\"").nth(1).unwrap();
    let links: Vec<String> = examples
        .split("<li><a href=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().replace("&#38;", "&"))
        .collect();
    assert_eq!(links.len(), 20);
    for link in links {
        let page = console.caller.get(&link).await;
        assert_eq!(page.status, StatusCode::OK, "{link}: {}", page.text());
        assert!(page.text().contains(">Result<"), "{link}");
    }
    assert_eq!(console.rows("SELECT COUNT(*) AS n FROM usage", json!({})).await, json!([{ "n": 5 }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_browser_the_editor_runs_with_the_keyboard_and_the_page_stays_as_it_was_asked() {
    let Some(mut browser) = Browser::start().await else { return };
    let console = Console::start(Installation::new(NOWHERE, ""), true).await;
    console.fill().await;
    let url = format!("http://{}/sql", console.running.address());
    let complaints = browser.open(&url, View { width: 1440, dark: false }).await;
    assert!(complaints.is_empty(), "{complaints:?}");
    browser
        .evaluate(
            "const q = document.getElementById('q'); q.focus(); q.value = \"SELECT 40 + 2 AS answer\"; \
             q.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', ctrlKey: true, bubbles: true }))",
        )
        .await;
    until("the answer", async || {
        let shown = browser.evaluate("document.querySelector('.sqlres td')?.textContent").await;
        (shown == "42").then_some(())
    })
    .await;
    let place = browser.evaluate("location.pathname + location.search").await;
    assert_eq!(place, "/sql?q=SELECT+40+%2B+2+AS+answer");
    // It does not follow the ledger, so it asks nothing again.
    assert_eq!(browser.evaluate("document.getElementById('live').hidden").await, true);
    console.running.stop().await;
}
