//! Sessions and providers: what their pages say is what SQL says.

use std::collections::BTreeSet;

use http::StatusCode;
use tallyd::domain::money::Total;
use tallyd::report::format;

use super::fixture::Scene;
use super::session_of;
use crate::support::installation::{number, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_session_costs_what_its_calls_cost_and_each_leads_to_the_next() {
    let scene = Scene::full().await;
    let path = session_of(&scene).await;
    let session = path.strip_prefix("/sessions/").unwrap().to_owned();
    let rows = scene
        .at
        .sql(&format!(
            "SELECT generation_id, cost_picousd FROM usage WHERE session = '{session}' AND state <> 'failed' ORDER BY created_ms"
        ))
        .await;
    assert!(rows.len() > 3, "{session} has {} calls", rows.len());
    let cost: i128 = rows.iter().map(|row| number(&row[1])).sum();
    let page = scene.caller.get(&path).await.text();
    let (whole, cents) = format::usd_parts(Total::from_picos(cost));
    assert!(page.contains(&format!("{whole}<span class=\"dec\">{cents}</span>")), "{cost}: {page}");
    assert_eq!(page.matches("<tr id=\"c-").count(), rows.len());
    assert_eq!(page.matches("<g><title>").count(), rows.len(), "a block for each");
    let list = pages(&scene, "/sessions").await.concat();
    let row = list.split("<tr ").find(|row| row.contains(&format!("href=\"{path}\""))).unwrap();
    assert!(row.contains(&format!(">{}<", format::usd(Total::from_picos(cost)))), "{row}");

    // From the first call to the last by the links between them.
    let mut at = format!("/completions/{}", text(&rows[0][0]).unwrap());
    for (place, row) in rows.iter().enumerate() {
        assert_eq!(at, format!("/completions/{}", text(&row[0]).unwrap()), "call {place}");
        let page = scene.caller.get(&at).await.text();
        assert!(page.contains(&format!("href=\"{path}\"")), "{page}");
        assert_eq!(page.contains("rel=\"prev\""), place > 0);
        let next = page
            .split("<a class=\"button\" href=\"")
            .find(|link| link.split('>').next().is_some_and(|tag| tag.contains("rel=\"next\"")));
        match next {
            Some(link) => at = link.split('"').next().unwrap().to_owned(),
            None => assert_eq!(place + 1, rows.len()),
        }
    }
    assert_eq!(scene.caller.get("/sessions/nobody").await.status, StatusCode::NOT_FOUND);
    scene.running.stop().await;
}

/// A list's pages, from its first by the links to older ones.
async fn pages(scene: &Scene, first: &str) -> Vec<String> {
    let mut pages = vec![scene.caller.get(first).await.text()];
    loop {
        let mut links = pages[pages.len() - 1].split("href=\"");
        let older = links.find(|link| link.split('>').next().is_some_and(|tag| tag.contains("rel=\"next\"")));
        let Some(older) = older else { return pages };
        let path = older.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
        pages.push(scene.caller.get(&path).await.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_session_is_on_the_pages_of_the_list_once() {
    let scene = Scene::full().await;
    let wanted = scene.at.number("SELECT COUNT(DISTINCT session) FROM usage WHERE app = 'support-bot'").await;
    let list = pages(&scene, "/sessions?app=support-bot").await.concat();
    let names: Vec<&str> = list.split("<tr id=\"s-").skip(1).map(|row| row.split('"').next().unwrap()).collect();
    let seen: BTreeSet<&str> = names.iter().copied().collect();
    let rows = i128::try_from(names.len()).unwrap();
    assert_eq!((rows, i128::try_from(seen.len()).unwrap()), (wanted, wanted));
    assert!(rows > 40, "there was more than one page");
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn providers_of_a_model_are_told_with_the_figures_of_sql() {
    let scene = Scene::full().await;
    let rows = scene
        .at
        .sql(
            "SELECT model, provider, SUM(cost_picousd) FROM usage WHERE created_ms >= 1792540800000 \
             AND state <> 'failed' AND provider IS NOT NULL GROUP BY model, provider ORDER BY 3 DESC",
        )
        .await;
    let page = scene.caller.get("/providers?range=30d").await.text();
    let mut compared = 0;
    for row in &rows {
        let (model, provider) = (text(&row[0]).unwrap(), text(&row[1]).unwrap());
        let several = rows.iter().filter(|other| text(&other[0]) == Some(model)).count() > 1;
        if !several {
            continue;
        }
        let table = page.split("<section").find(|section| section.contains(&format!(">{model}</h2>"))).unwrap();
        let line = table.split("<tr>").find(|line| line.contains(&format!(">{provider}</a>"))).unwrap();
        assert!(
            line.contains(&format!(">{}<", format::usd(Total::from_picos(number(&row[2]))))),
            "{model} {provider}: {line}"
        );
        compared += 1;
    }
    assert!(compared > 3, "{compared} providers compared");
    scene.running.stop().await;
}
