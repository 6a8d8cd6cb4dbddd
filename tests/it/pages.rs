//! The dashboard as a browser meets it: what pages answer, under which policy, with which figures.

mod explore;
pub mod fixture;
mod live;
mod looked_at;
mod sessions;

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use tallyd::domain::money::Total;
use tallyd::domain::spike::SpikeKind;
use tallyd::domain::time::Timestamp;
use tallyd::report::{format, outlook};
use tallyd::store::forecasts;
use tallyd::store::spikes::{self, Spender, Spike};

use self::fixture::{HOSTILE, Scene};
use crate::support::caller::read;
use crate::support::until;

const POLICY: &str =
    "default-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; form-action 'self'";

const PATHS: [&str; 35] = [
    "/",
    "/?range=24h",
    "/?range=7d&open=1",
    "/?range=12m",
    "/explore",
    "/explore?measure=completions&by=app%2Cprovider&range=7d&step=hour&top=20",
    "/explore?measure=latency",
    "/explore?measure=first_byte&by=none&range=90d",
    "/explore?measure=tokens_out&by=tag.team&range=24h&chart=lines",
    "/explore?measure=failures&by=route%2Cuser&range=12m",
    "/explore?step=second",
    "/completions",
    "/completions?state=failed&n=100",
    "/completions/gen-1795098726-hostile",
    "/sessions",
    "/sessions?app=code-review",
    "/providers",
    "/budgets",
    "/budgets/-/new",
    "/budgets/-/changes",
    "/budgets/support-bot/replay",
    "/budgets/code-review/replay?days=30",
    "/budgets/support-bot",
    "/budgets/rolling",
    "/alerts",
    "/reports",
    "/reports/weekly",
    "/keys",
    "/failures",
    "/failures?range=30d",
    "/sql",
    "/sql?q=SELECT+day%2C+app%2C+SUM%28cost_usd%29+AS+usd%2C+SUM%28completions%29+AS+completions+FROM+spend_by_day+GROUP+BY+day%2C+app&chart=bars",
    "/sql?q=SELECT+day%2C+SUM%28cost_usd%29+AS+usd+FROM+spend_by_day+WHERE+day+%3E%3D+%3Asince+GROUP+BY+day&p.since=2026-10-20",
    "/status",
    "/api-docs",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_page_answers_under_a_policy_that_allows_nothing_inline_and_escapes_every_label() {
    let scene = Scene::full().await;
    for path in PATHS {
        let page = scene.caller.get(path).await;
        let text = page.text();
        assert_eq!(page.status, StatusCode::OK, "{path}: {text}");
        assert_eq!(page.headers["content-security-policy"], POLICY, "{path}");
        assert_eq!(page.headers["x-content-type-options"], "nosniff");
        assert_eq!(page.headers["cache-control"], "no-store");
        // A team may be called "data": only what a browser would load counts.
        let loaded = ["src=\"data:", "href=\"data:", "url(data:"];
        for inline in ["<style", " style=", "<script>", " onload=", "javascript:", HOSTILE].into_iter().chain(loaded) {
            assert!(!text.contains(inline), "{path} holds {inline}");
        }
        assert!(text.contains("<main id=\"main\">") && text.ends_with("</html>"), "{path} is cut off");
    }
    let hostile = scene.caller.get("/completions/gen-1795098726-hostile").await.text();
    assert!(hostile.contains("&#60;script&#62;alert(1)"), "the label is shown, as text");
    assert!(hostile.contains("$0.000437"));
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_those_of_sql() {
    let scene = Scene::full().await;
    let since = Timestamp::parse("2026-10-21T00:00:00Z").unwrap().millis();
    let month = Timestamp::parse("2026-11-01T00:00:00Z").unwrap().millis();
    let sum = async |condition: &str| {
        let sum = scene.at.number(&format!("SELECT COALESCE(SUM(cost_picousd), 0) FROM usage WHERE {condition}")).await;
        Total::from_picos(sum)
    };
    let page = scene.caller.get("/?range=30d").await.text();
    let total = sum(&format!("created_ms >= {since}")).await;
    assert!(total > Total::from_parts(1, 0), "the past holds ${total} only");
    let row = page.split("<tfoot>").nth(1).unwrap();
    assert!(row.contains(&format!(">{}<", format::usd(total))), "{} is not in {row}", format::usd(total));
    let dearest = sum(&format!("created_ms >= {since} AND model = 'anthropic/claude-sonnet-4'")).await;
    assert!(page.contains(&format::usd(dearest)));
    let this_month = sum(&format!("created_ms >= {month}")).await;
    let (whole, cents) = format::usd_parts(this_month);
    assert!(page.contains(&format!("{whole}<span class=\"dec\">{cents}</span>")));
    let budgets = scene.caller.get("/budgets").await.text();
    assert!(budgets.contains(&format!("<span class=\"strong\">{}</span>", format::usd(this_month))));
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forecasts_and_unusual_spend_are_shown_as_they_are_kept() {
    let scene = Scene::full().await;
    let store = scene.running.store();
    let kept = until("forecasts", async || {
        let kept = forecasts::list(store).await.unwrap();
        ["everything", "support-bot", "code-review"].iter().all(|name| kept.contains_key(*name)).then_some(kept)
    })
    .await;
    let told = kept["support-bot"].outlook.unwrap();
    let list = scene.caller.get("/budgets").await.text();
    assert!(list.contains("Forecast for the window") && list.contains("moves in 15-minute steps"));
    assert!(list.contains(&format::usd_rough(told.projected)), "{told:?}");
    let page = scene.caller.get("/budgets/support-bot").await.text();
    assert!(page.contains("Forecast for November"));
    let band = format!("{} in four of five cases, {}", outlook::band(&told), outlook::basis(&told));
    assert!(page.contains(&band), "{band} is not in {page}");
    assert!(page.contains("<path class=\"band\""));
    let rolling = scene.caller.get("/budgets/rolling").await.text();
    assert!(
        rolling.contains("A window without an end to come has no forecast.") && !rolling.contains("class=\"band\"")
    );
    let overview = scene.caller.get("/").await.text();
    assert!(overview.contains("November, forecast") && overview.contains("in four of five cases, from the hours"));

    assert!(scene.caller.get("/alerts").await.text().contains("No hour was far above what is usual for it"));
    let spike = Spike {
        spike_id: "s".to_owned(),
        day: scene.now,
        kind: SpikeKind::Spike,
        spender: Spender::App,
        name: HOSTILE.to_owned(),
        since: scene.now.bucket(),
        until: scene.now.bucket().plus_millis(3_600_000),
        found_at: scene.now,
        cost: Total::from_parts(12, 0),
        usual: Total::from_parts(1, 0),
        recipients: 0,
    };
    let mut tx = store.write().await.unwrap();
    assert!(spikes::insert(&mut tx, &spike).await.unwrap());
    assert!(!spikes::insert(&mut tx, &spike).await.unwrap(), "once a day for each cause");
    tx.commit().await.unwrap();
    let alerts = scene.caller.get("/alerts").await.text();
    assert!(alerts.contains("usually $1.00 at this hour of the week") && alerts.contains("not mailed"));
    assert!(alerts.contains("&#60;script&#62;") && !alerts.contains(HOSTILE));
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_hold_and_pages_lead_through_every_row_once() {
    let scene = Scene::full().await;
    let wanted = scene.at.number("SELECT COUNT(*) FROM usage WHERE app = 'support-bot' AND state = 'settled'").await;
    let mut path = "/completions?app=support-bot&state=settled&n=100".to_owned();
    let mut seen = BTreeSet::new();
    let mut rows = 0;
    loop {
        let page = scene.caller.get(&path).await.text();
        for row in page.split("<tr id=\"c-").skip(1) {
            rows += 1;
            assert!(seen.insert(row[..26].to_owned()), "a row stands twice");
        }
        let Some(older) =
            page.split("href=\"").find(|link| link.split('>').next().is_some_and(|tag| tag.contains("rel=\"next\"")))
        else {
            break;
        };
        path = older.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
    }
    assert_eq!(rows, wanted);
    assert!(rows > 100, "there was more than one page");
    let none = scene.caller.get("/completions?app=nobody").await.text();
    assert!(none.contains("No completion matches these filters"));
    let wrong = scene.caller.get("/completions?state=open").await.text();
    assert!(wrong.contains("settled, pending, unsettled or failed"));
    let added =
        scene.caller.send(Method::GET, "/completions?app=a&filter=tag&is=team%3Dx", &[], String::new()).await.unwrap();
    assert_eq!(added.status(), StatusCode::SEE_OTHER);
    assert_eq!(added.headers()["location"], "/completions?app=a&tag=team%3Dx");
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_are_shown_and_their_html_can_do_nothing() {
    let scene = Scene::full().await;
    let link = mail_of(&scene).await;
    let mail = scene.caller.get(&link).await;
    assert_eq!((mail.status, mail.headers["content-security-policy"].to_str().unwrap()), (StatusCode::OK, POLICY));
    assert!(mail.text().contains("@example.com"));
    let html = scene.caller.get(&format!("{link}/html")).await;
    let policy = html.headers["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("sandbox"), "{policy}");
    assert!(html.text().contains("<body"));
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_call_the_page_says_how_to_make_one_and_turns_when_it_came() {
    let scene = Scene::empty("").await;
    let page = scene.caller.get("/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text().contains(&format!("http://{}/api/v1", scene.running.address())));
    for path in ["/explore", "/completions", "/budgets", "/alerts", "/status"] {
        assert_eq!(scene.caller.get(path).await.status, StatusCode::OK, "{path}");
    }
    for (path, words) in
        [("/nowhere", "no page"), ("/completions/gen-1-x", "no completion"), ("/budgets/none", "no budget")]
    {
        let page = scene.caller.get(path).await;
        assert_eq!(
            (page.status, page.headers["content-security-policy"].to_str().unwrap()),
            (StatusCode::NOT_FOUND, POLICY)
        );
        assert!(page.text().contains(words), "{path}");
    }
    let mut news = scene.caller.send(Method::GET, "/tally/v1/events", &[], String::new()).await.unwrap();
    assert_eq!(news.headers()["content-type"], "text/event-stream");
    scene.submit(scene.odd_ones()).await;
    let mut heard = String::new();
    while !heard.ends_with("\n\n") || !heard.contains("changed") {
        let frame = news.body_mut().frame().await.unwrap().unwrap();
        heard.push_str(&String::from_utf8_lossy(frame.data_ref().unwrap()));
    }
    drop(news);
    assert!(heard.contains("event: changed\ndata: "), "browsers drop an event without data: {heard:?}");
    assert!(scene.caller.get("/").await.text().contains("<h1>Overview</h1>"));
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn assets_are_kept_for_ever_under_the_name_of_their_content() {
    let scene = Scene::empty("").await;
    let page = scene.caller.get("/").await.text();
    let assets: Vec<&str> = page.split(['"']).filter(|part| part.starts_with("/assets/")).collect();
    assert_eq!(assets.len(), 3, "{assets:?}");
    for path in assets {
        let asset = scene.caller.get(path).await;
        assert_eq!(asset.status, StatusCode::OK, "{path}");
        assert!(asset.headers["cache-control"].to_str().unwrap().contains("immutable"));
        let tag = asset.headers["etag"].to_str().unwrap().to_owned();
        let again = scene.caller.send(Method::GET, path, &[("if-none-match", &tag)], String::new()).await.unwrap();
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    }
    for wrong in ["/assets/look.0000000000000000.css", "/assets/look.css", "/assets/..%2Flook.css"] {
        assert_eq!(scene.caller.get(wrong).await.status, StatusCode::NOT_FOUND, "{wrong}");
    }
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_admin_token_pages_ask_to_sign_in() {
    let token = "a-token-that-nobody-guesses";
    let scene = Scene::empty("").await;
    let address = {
        let text = std::fs::read_to_string(scene.at.folder().join("tallyd.toml")).unwrap();
        scene.running.stop().await;
        scene.at.configure(&format!("admin_token = \"{token}\"\n{text}"));
        let clock = tallyd::clock::Clock::manual(scene.now);
        crate::support::running::Running::start(&scene.at, &clock).await
    };
    let caller = crate::support::caller::Caller::new(address.address());
    let turned = caller.send(Method::GET, "/budgets?x=1", &[], String::new()).await.unwrap();
    assert_eq!(turned.status(), StatusCode::SEE_OTHER);
    let sign_in = turned.headers()["location"].to_str().unwrap().to_owned();
    let page = caller.get(&sign_in).await;
    assert_eq!((page.status, page.headers["content-security-policy"].to_str().unwrap()), (StatusCode::OK, POLICY));
    assert!(page.text().contains("type=\"password\"") && page.text().contains("/budgets?x=1"));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let wrong = read(caller.send(Method::POST, "/login", &form, "token=no&next=%2F".to_owned()).await.unwrap()).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(!wrong.headers.contains_key("set-cookie"));
    let body = format!("token={token}&next=%2Fbudgets");
    let right = caller.send(Method::POST, "/login", &form, body).await.unwrap();
    assert_eq!((right.status(), &right.headers()["location"]), (StatusCode::SEE_OTHER, &"/budgets".parse().unwrap()));
    let cookie = right.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && !cookie.contains(token));
    let session = cookie.split(';').next().unwrap();
    let seen = caller.send(Method::GET, "/budgets", &[("cookie", session)], String::new()).await.unwrap();
    assert_eq!(seen.status(), StatusCode::OK);
    address.stop().await;
}

/// A mail that waits in the outbox, by its page.
async fn mail_of(scene: &Scene) -> String {
    until("a mail in the outbox", async || {
        let page = scene.caller.get("/alerts").await.text();
        let link = page.split("href=\"").find(|link| link.starts_with("/alerts/mails/"))?;
        Some(link.split('"').next().unwrap().to_owned())
    })
    .await
}

/// A session of several calls, by its page.
async fn session_of(scene: &Scene) -> String {
    let most = "SELECT session FROM usage WHERE session LIKE 'chat-%' GROUP BY session ORDER BY COUNT(*) DESC, session LIMIT 1";
    let session = scene.at.sql(most).await;
    format!("/sessions/{}", crate::support::installation::text(&session[0][0]).unwrap())
}
