//! Explore: the same question has the same answer wherever it is asked, its URL is the question, and everything but drag and
//! read-out goes without script.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use serde_json::Value;
use tallyd::clock::Entropy;
use tallyd::domain::money::Total;
use tallyd::domain::time::{DAY_MS, Timestamp};
use tallyd::report::format;
use url::form_urlencoded::Serializer;

use super::fixture::{HOSTILE, Scene};
use crate::support::browser::{Browser, View};
use crate::support::caller::{Caller, Reply, read};
use crate::support::until;

/// Questions that are asked at random.
const QUESTIONS: u64 = 40;

/// What can be asked of sums and of `/tally/v1/spend` by the same name.
const BY: [&str; 8] = ["model", "provider", "app", "key", "user", "session", "endpoint", "tag.team"];

/// Steps whose labels there are instants of UTC.
const STEPS: [(&str, usize); 5] = [("minute", 16), ("5min", 16), ("15min", 16), ("hour", 16), ("day", 10)];

fn query(pairs: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// A path that is asked as a browser does: a question that is written otherwise is followed to where it stands.
async fn follow(caller: &Caller, path: &str) -> Reply {
    let reply = caller.get(path).await;
    if reply.status != StatusCode::SEE_OTHER {
        return reply;
    }
    caller.get(reply.headers["location"].to_str().unwrap()).await
}

/// A number of a JSON object, exact; null is none.
fn exact(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// Rows by the values of their first columns.
fn by_keys(rows: &Value, keys: &[&str], value: &str) -> BTreeMap<Vec<Option<String>>, Option<String>> {
    let row = |row: &Value| (keys.iter().map(|key| exact(&row[*key])).collect(), exact(&row[value]));
    rows.as_array().unwrap().iter().map(row).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn random_questions_have_the_same_answer_everywhere() {
    let scene = Scene::full().await;
    let entropy = Entropy::seeded(23);
    let number = |below: u64| entropy.next_u64() % below;
    for asked in 0..QUESTIONS {
        let one = BY[usize::try_from(number(8)).unwrap()];
        let other = BY[usize::try_from(number(8)).unwrap()];
        let by = if one == other || number(2) == 0 { vec![one] } else { vec![one, other] };
        let (step, digits) = STEPS[usize::try_from(number(5)).unwrap()];
        let span = i64::try_from(number(20) + 1).unwrap() * if step == "day" { DAY_MS } else { DAY_MS / 16 };
        let until = scene.now.plus_millis(-i64::try_from(number(20 * 86_400)).unwrap() * 1_000);
        // Half of them can be answered from sums that are kept, half from the rows alone.
        let until = if number(2) == 0 { until.bucket() } else { until };
        let (since, until) = (until.plus_millis(-span).to_iso(), until.to_iso());
        let joined = by.join(",");
        let what = format!("{asked}: {joined} {step} {since} {until}");

        let pairs = [("by", joined.as_str()), ("since", &since), ("until", &until)];
        let spend = scene.caller.get(&format!("/tally/v1/spend?{}", query(&pairs))).await.json();
        let measures = [("spend", "cost_usd"), ("completions", "completions"), ("failures", "failures")];
        let (measure, column) = measures[usize::try_from(number(3)).unwrap()];
        let mut question = pairs.to_vec();
        question.extend([("measure", measure), ("top", "50"), ("step", step)]);
        let path = query(&question);
        let answer = scene.caller.get(&format!("/tally/v1/explore?{path}")).await.json();

        // Every group that is not among the others, and all together.
        let expected = by_keys(&spend["rows"], &by, column);
        let names = answer["rows"].as_array().unwrap_or_else(|| panic!("{what}: {answer}"));
        let mut left = expected.clone();
        for row in names.iter().filter(|row| row["names"] == 1) {
            let keys: Vec<Option<String>> = by.iter().map(|key| exact(&row[*key])).collect();
            assert_eq!(left.remove(&keys), Some(exact(&row[column])), "{what}: {row}");
        }
        let others: i64 = names.iter().map(|row| row["names"].as_i64().unwrap()).filter(|names| *names > 1).sum();
        assert_eq!(i64::try_from(left.len()).unwrap(), others, "{what}");
        let total: i128 = expected.values().flatten().map(|text| picos(text)).sum();
        assert_eq!(exact(&answer["total"][column]).map_or(0, |text| picos(&text)), total, "{what}");

        // Step by step.
        let stepped = format!("{joined},{step}");
        let pairs = [("by", stepped.as_str()), ("since", &since), ("until", &until)];
        let spend = scene.caller.get(&format!("/tally/v1/spend?{}", query(&pairs))).await.json();
        let mut steps: BTreeMap<String, i128> = BTreeMap::new();
        for row in spend["rows"].as_array().unwrap() {
            let label = row[step].as_str().unwrap()[..digits].replace(' ', "T");
            *steps.entry(label).or_default() += exact(&row[column]).map_or(0, |text| picos(&text));
        }
        steps.retain(|_, figure| *figure != 0);
        let mut drawn: BTreeMap<String, i128> = BTreeMap::new();
        for row in answer["steps"].as_array().unwrap() {
            let label = row["step_at"].as_str().unwrap()[..digits].to_owned();
            *drawn.entry(label).or_default() += picos(&exact(&row[column]).unwrap());
        }
        assert_eq!(drawn, steps, "{what}");

        // The exports and the page say it too.
        let csv = scene.caller.get(&format!("/tally/v1/explore.csv?{path}")).await.text();
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        let at = reader.headers().unwrap().iter().position(|head| head == column).unwrap();
        let sum: i128 = reader.records().map(|row| picos(&row.unwrap()[at])).sum();
        assert_eq!(sum, total, "{what}");
        let page = follow(&scene.caller, &format!("/explore?{path}")).await;
        assert_eq!(page.status, StatusCode::OK);
        if !names.is_empty() && measure == "spend" {
            let foot = page.text().split("<tfoot>").nth(1).unwrap().to_owned();
            let written = format::usd(Total::from_picos(total));
            assert!(foot.contains(&format!(">{written}<")), "{what}: {written} is not in {foot}");
        }
        if asked % 10 == 0 {
            let told = ["report", "--by", &joined, "--since", &since, "--until", &until, "--format", "json"];
            let ended = scene.at.run(&told).await;
            let report: Value = serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{ended:?}"));
            assert_eq!(by_keys(&report, &by, column), expected, "{what}");
        }
    }
    scene.running.stop().await;
}

/// A decimal as an integer of its twelfth place, or a count as itself; both compare alike.
fn picos(text: &str) -> i128 {
    if text.is_empty() {
        return 0;
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let scale = if text.contains('.') { 12 } else { 0 };
    let digits = format!("{whole}{fraction:0<scale$}");
    digits.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_and_sql_agree_on_what_is_left() {
    let scene = Scene::full().await;
    let since = Timestamp::parse("2026-10-30T00:00:00Z").unwrap();
    let until = Timestamp::parse("2026-11-20T00:00:00Z").unwrap();
    for (filter, condition) in [
        (vec![("app", "support-bot")], "app = 'support-bot'".to_owned()),
        (vec![("none", "user"), ("provider", "OpenAI")], "end_user IS NULL AND provider = 'OpenAI'".to_owned()),
        (
            vec![("tag", "team=growth")],
            "call_id IN (SELECT call_id FROM usage_tags WHERE name = 'team' AND value = 'growth')".to_owned(),
        ),
        (vec![("state", "settled")], "state = 'settled'".to_owned()),
        (vec![("app", HOSTILE)], format!("app = '{}'", HOSTILE.replace('\'', "''"))),
    ] {
        let sum = async |column: &str| {
            scene
                .at
                .number(&format!(
                    "SELECT COALESCE(SUM({column}), 0) FROM usage WHERE state <> 'failed' AND created_ms >= {} \
                     AND created_ms < {} AND {condition}",
                    since.millis(),
                    until.millis()
                ))
                .await
        };
        for (measure, column, of_sql) in [
            ("spend", "cost_usd", "cost_picousd"),
            ("tokens_in", "native_tokens_prompt", "native_tokens_prompt"),
            ("tokens_out", "native_tokens_completion", "native_tokens_completion"),
        ] {
            let mut pairs =
                vec![("measure", measure), ("by", "none"), ("since", "2026-10-30"), ("until", "2026-11-20")];
            pairs.extend(filter.iter().copied());
            let answer = scene.caller.get(&format!("/tally/v1/explore?{}", query(&pairs))).await.json();
            let told = exact(&answer["total"][column]).map_or(0, |text| picos(&text));
            assert_eq!(told, sum(of_sql).await, "{pairs:?}: {answer}");
            assert!(told > 0 || measure != "spend", "{pairs:?} leaves nothing to compare");
        }
        // The rows behind a figure are those it sums.
        let mut pairs = vec![("by", "none"), ("since", "2026-10-30"), ("until", "2026-11-20")];
        pairs.extend(filter.iter().copied());
        let page = follow(&scene.caller, &format!("/explore?{}", query(&pairs))).await.text();
        let rows = page.split("href=\"").find(|link| link.starts_with("/completions?"));
        if let Some(rows) = rows {
            let rows = rows.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
            let list = scene.caller.get(&format!("{rows}&n=500")).await.text();
            let shown = i128::try_from(list.split("<tr id=\"c-").count() - 1).unwrap();
            let calls = scene
                .at
                .number(&format!(
                    "SELECT COUNT(*) FROM usage WHERE created_ms >= {} AND created_ms < {} AND {condition}",
                    since.millis(),
                    until.millis()
                ))
                .await;
            assert_eq!(shown, calls.min(500), "{rows}");
        }
    }
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn percentiles_lie_within_what_the_page_promises() {
    let scene = Scene::full().await;
    let rows = scene
        .at
        .sql("SELECT provider, first_byte_ms FROM usage WHERE first_byte_ms IS NOT NULL AND state <> 'failed' ORDER BY 2")
        .await;
    let mut values: BTreeMap<String, Vec<i128>> = BTreeMap::new();
    for row in &rows {
        let provider = crate::support::installation::text(&row[0]).unwrap_or_default().to_owned();
        values.entry(provider).or_default().push(crate::support::installation::number(&row[1]));
    }
    let question = "measure=first_byte&by=provider&since=2026-09-01&top=50";
    let answer = scene.caller.get(&format!("/tally/v1/explore?{question}")).await.json();
    assert!(values.len() > 3);
    for row in answer["rows"].as_array().unwrap() {
        let values = &values[row["provider"].as_str().unwrap_or_default()];
        assert_eq!(row["measured"], values.len(), "{row}");
        for percent in [50, 95, 99] {
            let exact = values[(values.len() * percent).div_ceil(100).max(1) - 1];
            let told = i128::from(row[format!("first_byte_ms_p{percent}")].as_i64().unwrap());
            assert!((told - exact).abs() * 100 <= exact * 5, "p{percent} is {exact}, told {told}");
        }
    }
    let page = scene.caller.get("/explore?measure=first_byte&by=none&range=12m").await.text();
    assert!(page.contains("percentiles are within 5 % of the exact ones"), "{page}");
    assert_eq!(page.matches("<path class=\"line").count(), 3 + 1, "three percentiles and a course");
    scene.running.stop().await;
}

async fn post(scene: &Scene, path: &str, fields: &[(&str, &str)]) -> Reply {
    let form = [("content-type", "application/x-www-form-urlencoded")];
    read(scene.caller.send(Method::POST, path, &form, query(fields)).await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_and_links_do_everything_without_script() {
    let scene = Scene::full().await;
    // The form sends every field; the URL says only what is not usual.
    let sent = "measure=completions&by=app&by=tag.team&step=hour&since=&until=&zone=Europe%2FBerlin&range=7d";
    let reply = scene.caller.get(&format!("/explore?{sent}")).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER);
    let canonical = "/explore?measure=completions&by=app%2Ctag.team&range=7d&zone=Europe%2FBerlin&step=hour";
    assert_eq!(reply.headers["location"], canonical);
    let page = scene.caller.get(canonical).await.text();
    for shown in ["Completions by app and tag team", "Europe/Berlin", "completions an hour", "support-bot · "] {
        assert!(page.contains(shown), "{shown} is not in {page}");
    }
    // A row narrows down, and the chip takes it away again.
    let links: Vec<String> = page
        .split("href=\"")
        .map(|link| link.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&"))
        .collect();
    let narrowed = links.iter().find(|link| link.contains("&app=") && link.contains("tag=team%3D")).unwrap();
    let page = scene.caller.get(narrowed).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text().contains("Remove the filter app") && page.text().contains("Remove the filter tag"));
    let added = scene.caller.get("/explore?by=app&filter=none&is=x").await;
    assert_eq!(added.headers["location"], "/explore?by=app", "what is no field is no filter");
    let added = scene.caller.get("/explore?by=app&filter=user&is=u%26v").await;
    assert_eq!(added.headers["location"], "/explore?by=app&user=u%26v");
    for (asked, head) in
        [("sort=name", "ascending"), ("sort=completions", "descending"), ("order=reversed", "ascending")]
    {
        let page = scene.caller.get(&format!("/explore?{asked}")).await.text();
        assert!(page.contains(&format!("aria-sort=\"{head}\"")), "{asked}");
    }
    let page = scene.caller.get("/explore?user=nobody").await.text();
    assert!(page.contains("No call in this time matches these filters") && page.contains("all there is"));
    for (asked, told) in [
        ("measure=cost", "write one of spend"),
        ("since=never", "is not a time"),
        ("since=1900-01-01", "1970 to 9999"),
        ("range=12m&step=minute", "2000 steps"),
        ("tag=team", "team=search"),
        ("zone=Berlin", "Europe/Berlin"),
    ] {
        let page = scene.caller.get(&format!("/explore?{asked}")).await;
        assert_eq!(page.status, StatusCode::OK, "{asked}");
        assert!(page.text().contains("role=\"alert\"") && page.text().contains(told), "{asked}: {}", page.text());
        for path in ["/tally/v1/explore", "/tally/v1/explore.csv"] {
            let reply = scene.caller.get(&format!("{path}?{asked}")).await;
            assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{path} {asked}");
            assert!(reply.json()["error"]["message"].as_str().unwrap().contains(told), "{}", reply.text());
        }
    }
    let unknown = scene.caller.get("/tally/v1/explore?groupby=model").await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST);
    assert_eq!(scene.caller.get("/tally/v1/explore.csv?table=rows").await.status, StatusCode::BAD_REQUEST);
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn views_are_kept_under_names() {
    let scene = Scene::full().await;
    let shown = "measure=first_byte&by=provider";
    let saved =
        post(&scene, "/explore/views", &[("name", " slow ones "), ("query", "by=provider&measure=first_byte&x=1")])
            .await;
    assert_eq!(
        (saved.status, &saved.headers["location"]),
        (StatusCode::SEE_OTHER, &"/explore?measure=first_byte&by=provider".parse().unwrap())
    );
    let page = scene.caller.get(&format!("/explore?{shown}")).await.text();
    assert!(
        page.contains("aria-current=\"true\">slow ones</a>") && page.contains("Time to first byte by provider, 30 d"),
        "{page}"
    );
    // The same name again is another view in its place.
    post(&scene, "/explore/views", &[("name", "slow ones"), ("query", "")]).await;
    assert!(scene.caller.get("/explore").await.text().contains("aria-current=\"true\">slow ones</a>"));
    post(&scene, "/explore/views", &[("name", HOSTILE), ("query", "by=app")]).await;
    let page = scene.caller.get("/explore").await.text();
    assert!(!page.contains(HOSTILE) && page.contains("&#60;script&#62;"));
    let taken = post(&scene, "/explore/views/rename", &[("name", "slow ones"), ("to", HOSTILE), ("query", "")]).await;
    assert_eq!(taken.status, StatusCode::BAD_REQUEST);
    assert!(taken.text().contains("is the name of another view"));
    let renamed =
        post(&scene, "/explore/views/rename", &[("name", "slow ones"), ("to", "fast ones"), ("query", shown)]).await;
    assert_eq!(renamed.status, StatusCode::SEE_OTHER);
    post(&scene, "/explore/views/remove", &[("name", HOSTILE), ("query", shown)]).await;
    let page = scene.caller.get("/explore").await.text();
    assert!(page.contains(">fast ones</a>") && !page.contains("slow ones") && !page.contains("value=\"&#60;script"));
    for (name, told) in
        [("", "needs a name"), ("  ", "needs a name"), ("a\nb", "no line breaks"), (&*"n".repeat(81), "at most 80")]
    {
        let refused = post(&scene, "/explore/views", &[("name", name), ("query", shown)]).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{name:?}");
        assert!(
            refused.text().contains(told) && refused.text().contains("Time to first byte by provider"),
            "{}",
            refused.text()
        );
    }
    for number in 0..100 {
        post(&scene, "/explore/views", &[("name", &format!("view {number:03}")), ("query", shown)]).await;
    }
    let full = post(&scene, "/explore/views", &[("name", "one more"), ("query", shown)]).await;
    assert!(full.status == StatusCode::BAD_REQUEST && full.text().contains("There are 100 views already"));
    let foreign = [("content-type", "application/x-www-form-urlencoded"), ("origin", "https://evil.example")];
    for path in ["/explore/views", "/explore/views/rename", "/explore/views/remove"] {
        let refused = scene.caller.send(Method::POST, path, &foreign, query(&[("name", "fast ones")])).await.unwrap();
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{path}");
    }
    assert!(scene.caller.get("/explore").await.text().contains(">fast ones</a>"));
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_call_there_is_nothing_to_explore() {
    let scene = Scene::empty("").await;
    for path in ["/explore", "/explore?measure=latency&by=none", "/explore?by=tag.team&range=1h"] {
        let page = scene.caller.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(page.text().contains("No call was recorded yet"), "{path}: {}", page.text());
    }
    let answer = scene.caller.get("/tally/v1/explore").await.json();
    assert_eq!((&answer["rows"], &answer["steps"]), (&Value::Array(Vec::new()), &Value::Array(Vec::new())));
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_browser_charts_are_read_out_and_looked_at_closer() {
    let Some(mut browser) = Browser::start().await else { return };
    let scene = Scene::full().await;
    let origin = format!("http://{}", scene.running.address());
    let view = View { width: 1440, dark: false };
    assert!(browser.open(&format!("{origin}/explore?by=app"), view).await.is_empty());
    let key = |key: &str, shift: bool| {
        format!(
            "(() => {{ const chart = document.querySelector('svg.stack'); chart.focus(); chart.dispatchEvent(new KeyboardEvent('keydown', \
             {{ key: '{key}', shiftKey: {shift}, bubbles: true, cancelable: true }})); \
             return document.querySelector('.readout').textContent; }})()"
        )
    };
    let last = browser.evaluate(&key("ArrowRight", false)).await;
    assert!(last.as_str().unwrap().starts_with("Thu 19 Nov: $"), "{last}");
    let before = browser.evaluate(&key("ArrowLeft", false)).await;
    assert!(before.as_str().unwrap().starts_with("Wed 18 Nov: $"), "{before}");
    let first = browser.evaluate(&key("Home", false)).await;
    assert!(first.as_str().unwrap().starts_with("Wed 21 Oct"), "{first}");
    browser.evaluate(&key("ArrowRight", true)).await;
    browser.evaluate(&key("ArrowRight", true)).await;
    assert_eq!(browser.evaluate("document.querySelectorAll('g.picked').length").await, 3);
    browser.evaluate(&key("Enter", false)).await;
    let place = until("the closer look", async || {
        let place = browser.evaluate("location.search").await;
        place.as_str().filter(|place| place.contains("since")).map(str::to_owned)
    })
    .await;
    assert_eq!(place, "?by=app&since=2026-10-21T00%3A00%3A00Z&until=2026-10-24T00%3A00%3A00Z");
    scene.running.stop().await;
}
