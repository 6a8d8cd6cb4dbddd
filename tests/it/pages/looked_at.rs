//! Pages as a browser shows them: at three widths, light and dark, by the keyboard alone and without scripts. Pictures of all
//! are kept in the target's tmp folder, to be looked at.

use std::path::PathBuf;

use super::fixture::Scene;
use super::{PATHS, mail_of, session_of};
use crate::support::browser::{Browser, View};
use crate::support::until;

/// A page by its name in the pictures' folder.
fn picture_of(path: &str, view: View) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pages");
    std::fs::create_dir_all(&folder).unwrap();
    let name: String = path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(80).collect();
    folder.join(format!("{name}-{}-{}.png", view.width, if view.dark { "dark" } else { "light" }))
}

/// Every page, those that only this past has among them.
async fn paths(scene: &Scene) -> Vec<String> {
    let mut paths: Vec<String> = PATHS.map(str::to_owned).into();
    paths.push(mail_of(scene).await);
    paths.push(session_of(scene).await);
    paths
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_browser_no_page_scrolls_sideways_or_breaks_its_own_policy_and_all_are_accessible() {
    let Some(mut browser) = Browser::start().await else { return };
    let scene = Scene::full().await;
    let mut found = Vec::new();
    for path in paths(&scene).await {
        for width in [375, 768, 1440] {
            for dark in [false, true] {
                let view = View { width, dark };
                let url = format!("http://{}{path}", scene.running.address());
                let mut note = |what: String| found.push(format!("{path} {view:?}: {what}"));
                browser.open(&url, view).await.into_iter().for_each(&mut note);
                // A vertical scrollbar may take its part of the width.
                let over = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
                let over = browser.evaluate(over).await;
                if over != 0 {
                    note(format!("scrolls sideways by {over} px"));
                }
                let back = browser.evaluate("getComputedStyle(document.body).backgroundColor").await;
                if back != if dark { "rgb(19, 21, 24)" } else { "rgb(252, 252, 251)" } {
                    note(format!("its ground is {back}"));
                }
                std::fs::write(picture_of(&path, view), browser.picture().await).unwrap();
                browser.inaccessible().await.into_iter().for_each(&mut note);
                browser.complaints().await.into_iter().for_each(&mut note);
            }
        }
    }
    assert!(found.is_empty(), "{} faults:\n{}", found.len(), found.join("\n"));
    scene.running.stop().await;
}

/// What these tests look for is seen where it is.
#[tokio::test(flavor = "multi_thread")]
async fn in_a_browser_what_is_wrong_with_a_page_is_seen() {
    let Some(mut browser) = Browser::start().await else { return };
    let scene = Scene::full().await;
    let url = format!("http://{}/explore", scene.running.address());
    assert!(browser.open(&url, View { width: 1440, dark: false }).await.is_empty());
    assert!(browser.inaccessible().await.is_empty());
    browser.evaluate("document.querySelectorAll('main label').forEach((label) => label.remove())").await;
    browser.evaluate("document.querySelector('h1').setAttribute('style', 'color: #eee')").await;
    let found = browser.inaccessible().await.join(" ");
    assert!(found.contains("select-name"), "{found}");
    let said = browser.complaints().await.join(" ");
    assert!(said.contains("inline style"), "{said}");
    browser.evaluate("fetch('http://127.0.0.2:9/').catch(() => 0)").await;
    browser.evaluate("console.error('told')").await;
    let said = browser.complaints().await.join(" ");
    assert!(said.contains("told") && said.contains("Security Policy"), "{said}");
    scene.running.stop().await;
}

/// Notes in the page what gets the focus, and looks at it when the key is let go.
const WATCH: &str = "(() => { window.seen = new Set(); window.unseen = []; \
    document.addEventListener('focusin', (event) => window.seen.add(event.target)); \
    document.addEventListener('keyup', () => { const at = document.activeElement; const style = getComputedStyle(at); \
        if (at !== document.body && (style.outlineStyle === 'none' || parseFloat(style.outlineWidth) < 1)) window.unseen.push(at.outerHTML.slice(0, 120)); }); })()";

/// What can be used, and is shown.
const USABLE: &str = "[...document.querySelectorAll(`a[href], button, select, textarea, summary, input:not([type=hidden]), [tabindex]:not([tabindex^='-'])`)] \
    .filter((element) => element.checkVisibility({ visibilityProperty: true }) && !element.disabled)";

#[tokio::test(flavor = "multi_thread")]
async fn in_a_browser_the_keyboard_alone_reaches_everything() {
    let Some(mut browser) = Browser::start().await else { return };
    let scene = Scene::full().await;
    let mut found = Vec::new();
    for path in paths(&scene).await {
        for width in [375, 1440] {
            let view = View { width, dark: false };
            browser.open(&format!("http://{}{path}", scene.running.address()), view).await;
            browser.evaluate(WATCH).await;
            // What comes while the test goes on is not looked for.
            let many = browser.evaluate(&format!("(window.usable = {USABLE}).length")).await.as_u64().unwrap();
            // Fields of dates have several stops.
            for _ in 0..many + 30 {
                browser.press("Tab").await;
            }
            let missed = browser
                .evaluate("window.usable.filter((element) => element.isConnected && !window.seen.has(element)).map((element) => element.outerHTML.slice(0, 120))")
                .await;
            let unseen = browser.evaluate("[...new Set(window.unseen)]").await;
            for (what, list) in [("never has the focus", &missed), ("does not show its focus", &unseen)] {
                for element in list.as_array().unwrap() {
                    found.push(format!("{path} {width}: {what}: {element}"));
                }
            }
            let unnamed = "[...document.querySelectorAll('main select, main textarea, main input:not([type=hidden])')] \
                .filter((field) => !field.labels.length && !field.getAttribute('aria-label')).map((field) => field.outerHTML)";
            if browser.evaluate(&format!("{unnamed}.length")).await != 0 {
                found.push(format!("{path} {width}: fields without a name: {}", browser.evaluate(unnamed).await));
            }
        }
    }
    assert!(found.is_empty(), "{} faults:\n{}", found.len(), found.join("\n"));
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_browser_without_scripts_every_page_reads_and_filters() {
    let Some(mut browser) = Browser::start().await else { return };
    let scene = Scene::full().await;
    let origin = format!("http://{}", scene.running.address());
    let view = View { width: 1440, dark: false };
    browser.set_scripts(false).await;
    for path in paths(&scene).await {
        let complaints = browser.open(&format!("{origin}{path}"), view).await;
        assert!(complaints.is_empty(), "{path}: {complaints:?}");
        let words = browser.evaluate("document.querySelector('main').innerText.length").await;
        assert!(words.as_u64().unwrap() > 100, "{path} reads as {words} characters");
        let dead =
            "[...document.querySelectorAll('button[type=button]')].filter((button) => button.checkVisibility()).length";
        assert_eq!(browser.evaluate(dead).await, 0, "{path} shows buttons that do nothing");
    }
    // A filter, by the keyboard: its form is sent as any form is.
    for (page, field, shown) in [
        ("/completions", "app", "app=support-bot"),
        ("/explore?by=model", "app", "app=support-bot"),
        ("/sessions", "app", "app=support-bot"),
    ] {
        browser.open(&format!("{origin}{page}"), view).await;
        browser.evaluate(&format!("document.getElementById('filter').value = '{field}'")).await;
        browser.evaluate("document.getElementById('is').focus()").await;
        browser.write("support-bot").await;
        browser.press("Enter").await;
        until("the page with its filter", async || {
            let place = browser.peek("document.readyState + ' ' + location.href").await?;
            place.as_str().filter(|place| place.starts_with("complete ") && place.contains(shown)).map(str::to_owned)
        })
        .await;
        let chip = browser.evaluate("document.querySelector('.chip').innerText").await;
        assert!(chip.as_str().unwrap().contains("support-bot"), "{page}: {chip}");
    }
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_browser_charts_are_looked_at_closer_with_the_pointer() {
    let Some(mut browser) = Browser::start().await else { return };
    let scene = Scene::full().await;
    let origin = format!("http://{}", scene.running.address());
    let view = View { width: 1440, dark: false };
    assert!(browser.open(&format!("{origin}/explore"), view).await.is_empty());
    // Over the middle third of the chart.
    let place = "(() => { const chart = document.querySelector('svg.stack'); chart.scrollIntoView({ block: 'center' }); \
        const box = chart.getBoundingClientRect(); return [box.left, box.width, box.top + 50]; })()";
    let place = browser.evaluate(place).await;
    let number = |index: usize| place[index].as_f64().unwrap();
    let (left, width, y) = (number(0), number(1), number(2));
    let x = |share: f64| left + width * share;
    browser.mouse("mouseMoved", x(0.34), y, false).await;
    browser.mouse("mousePressed", x(0.34), y, true).await;
    for share in [0.4, 0.5, 0.66] {
        browser.mouse("mouseMoved", x(share), y, true).await;
    }
    assert_eq!(browser.evaluate("document.querySelectorAll('g.picked').length").await, 10);
    let read = browser.evaluate("document.querySelector('.readout').textContent").await;
    assert!(read.as_str().unwrap().contains('$'), "{read}");
    browser.mouse("mouseReleased", x(0.66), y, false).await;
    arrived(&mut browser, "?since=2026-10-31T00%3A00%3A00Z&until=2026-11-10T00%3A00%3A00Z").await;

    // A choice is asked at once.
    let choose = "(() => { const list = document.getElementById('measure'); list.value = 'latency'; \
        list.dispatchEvent(new Event('change', { bubbles: true })); })()";
    browser.evaluate(choose).await;
    arrived(&mut browser, "?measure=latency&since=2026-10-31T00%3A00%3A00Z&until=2026-11-10T00%3A00%3A00Z").await;
    scene.running.stop().await;
}

/// Waits until the page of this query is there, whole.
async fn arrived(browser: &mut Browser, query: &str) {
    let asked = "document.readyState + ' ' + location.search";
    let wanted = format!("complete {query}");
    until(query, async || browser.peek(asked).await.filter(|place| place.as_str() == Some(&wanted))).await;
}
