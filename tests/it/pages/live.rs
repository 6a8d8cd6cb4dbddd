//! Pages that are open follow the ledger: new rows come at the top of a list, nothing else moves, and a reader can hold them.

use serde_json::Value;

use super::fixture::Scene;
use crate::support::browser::{Browser, View};
use crate::support::until;

/// Notes how far what is seen moves by itself.
const SHIFTS: &str = "(() => { window.shifts = []; new PerformanceObserver((list) => { for (const entry of list.getEntries()) { \
    if (!entry.hadRecentInput) window.shifts.push(`${entry.value.toFixed(4)} ${entry.sources.map((source) => source.node?.className || source.node?.nodeName).join(', ')}`); \
    } }).observe({ type: 'layout-shift' }); window.head = document.querySelector('h1'); })()";

/// Where things stand: the whole height, and the tops of what frames the list.
const STANDS: &str = "[document.documentElement.scrollHeight, ...[...document.querySelectorAll('h1, h2, .figure, thead, .pager')] \
    .map((element) => Math.round(element.getBoundingClientRect().top))].join(' ')";

const ROWS: &str = "[...document.querySelectorAll('main tr[id]')].map((row) => row.id).join(' ')";

async fn live(browser: &mut Browser) {
    until("the page to be live", async || {
        (browser.evaluate("document.getElementById('live')?.textContent").await == "live").then_some(())
    })
    .await;
}

async fn changed(browser: &mut Browser, script: &str, before: &Value) -> Value {
    until("the page to change", async || Some(browser.evaluate(script).await).filter(|now| now != before)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_browser_new_rows_come_at_the_top_and_nothing_else_moves() {
    let Some(mut browser) = Browser::start().await else { return };
    let scene = Scene::full().await;
    let url = format!("http://{}/completions", scene.running.address());
    let view = View { width: 1440, dark: false };
    assert!(browser.open(&url, view).await.is_empty());
    live(&mut browser).await;
    browser.evaluate(SHIFTS).await;
    let (stood, rows) = (browser.evaluate(STANDS).await, browser.evaluate(ROWS).await);
    scene.submit(scene.fresh(1, 3)).await;
    let now = changed(&mut browser, ROWS, &rows).await;
    let (now, rows) = (now.as_str().unwrap().to_owned(), rows.as_str().unwrap().to_owned());
    let kept: Vec<&str> = now.split(' ').skip(3).collect();
    assert_eq!((now.split(' ').count(), kept.join(" ")), (50, rows.split(' ').take(47).collect::<Vec<_>>().join(" ")));
    assert_eq!(browser.evaluate("document.querySelectorAll('tr.fresh').length").await, 3, "new rows fade in once");
    assert_eq!(browser.evaluate(STANDS).await, stood, "what stands around the rows does not move");
    assert_eq!(browser.evaluate("window.head.isConnected").await, true, "what did not change is the same element");

    // Paused, they wait, and are counted.
    browser.evaluate("document.querySelector('[data-pause]').click()").await;
    scene.submit(scene.fresh(2, 2)).await;
    let news = "document.querySelector('[data-news]').textContent";
    until("what waits", async || (browser.evaluate(news).await == "2 new").then_some(())).await;
    assert_eq!(browser.evaluate(ROWS).await, now.as_str());
    assert_eq!(browser.evaluate("document.querySelector('[data-pause]').getAttribute('aria-pressed')").await, "true");
    assert_eq!(browser.evaluate(STANDS).await, stood);
    browser.evaluate("document.querySelector('[data-pause]').click()").await;
    let later = changed(&mut browser, ROWS, &Value::from(now.as_str())).await;
    assert_eq!(later.as_str().unwrap().split(' ').nth(2), now.split(' ').next());
    assert_eq!(browser.evaluate(news).await, "");

    // Who has scrolled into the list keeps what is read.
    browser.evaluate("scrollTo(0, 600)").await;
    scene.submit(scene.fresh(3, 1)).await;
    until("what waits", async || (browser.evaluate(news).await == "1 new").then_some(())).await;
    assert_eq!(browser.evaluate(ROWS).await, later);
    browser.evaluate("scrollTo(0, 0)").await;
    changed(&mut browser, ROWS, &later).await;
    assert!(browser.complaints().await.is_empty());

    // A page of older rows does not grow.
    let older = browser.evaluate("document.querySelector('a[rel=next]').href").await;
    browser.open(older.as_str().unwrap(), view).await;
    assert_eq!(browser.evaluate("document.querySelectorAll('[data-tail], [data-pause]').length").await, 0);
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_browser_the_overview_follows_without_a_shift() {
    let Some(mut browser) = Browser::start().await else { return };
    let scene = Scene::full().await;
    let url = format!("http://{}/", scene.running.address());
    assert!(browser.open(&url, View { width: 1440, dark: false }).await.is_empty());
    live(&mut browser).await;
    browser.evaluate(SHIFTS).await;
    browser.evaluate("document.querySelector('details.calm').open = true").await;
    let figure = "document.querySelector('.figure .fig').textContent";
    let (before, stood) = (browser.evaluate(figure).await, browser.evaluate(STANDS).await);
    scene.submit(scene.fresh(1, 12)).await;
    changed(&mut browser, figure, &before).await;
    // A figure that grows moves its own first digit, and nothing else: a tenth is what users are said to notice.
    let shifted = browser.evaluate("window.shifts.reduce((sum, shift) => sum + parseFloat(shift), 0)").await;
    assert!(shifted.as_f64().unwrap() < 0.005, "{}", browser.evaluate("window.shifts").await);
    assert_eq!(browser.evaluate("window.head.isConnected").await, true);
    assert_eq!(
        browser.evaluate("document.querySelector('details.calm').open").await,
        true,
        "what was opened stays open"
    );
    let tops =
        |stands: &Value| stands.as_str().unwrap().split(' ').skip(1).take(8).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(tops(&browser.evaluate(STANDS).await), tops(&stood));
    scene.running.stop().await;
}
