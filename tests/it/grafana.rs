//! The dashboards for Grafana ask what there is to be asked: every panel's query is run against a daemon's own data, and
//! every metric is one of `/metrics`.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};
use tallyd::clock::{Clock, Entropy};
use tallyd::sim::{SimConfig, Simulator};

use crate::store::engines::on_a_postgres_of_its_own;
use crate::support::caller::{Caller, read};
use crate::support::installation::{Installation, KEY, QUICK};
use crate::support::running::Running;
use crate::support::until;

/// Checks rules of Prometheus; unset, expressions are not parsed, said aloud.
const PROMTOOL: &str = "TEST_PROMTOOL";

const BUDGETS: &str = "[[budgets]]\nname = \"all\"\nwindow = \"month\"\nlimit_usd = \"0.01\"\nalert_at = [\"1%\"]\n\
    [[budgets]]\nname = \"none\"\nwindow = \"day\"\nlimit_usd = 0\nscope = { app = \"stopped\" }\nwhen_exceeded = \"block\"\n";

/// What a panel asks.
struct Query {
    panel: String,
    text: String,
    is_series: bool,
}

fn dashboard(name: &str) -> Value {
    let text = std::fs::read_to_string(format!("dashboards/grafana/{name}.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(dashboard["uid"], format!("tallyd-{name}"));
    dashboard
}

/// Every query of a dashboard, which stands under `field`.
fn queries(name: &str, field: &str) -> Vec<Query> {
    let dashboard = dashboard(name);
    let source = &dashboard["templating"]["list"][0];
    assert_eq!(source["name"], "datasource");
    let mut all = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert_eq!(panel["datasource"], json!({ "type": source["query"], "uid": "${datasource}" }));
        for target in panel["targets"].as_array().unwrap() {
            all.push(Query {
                panel: panel["title"].as_str().unwrap().to_owned(),
                text: target[field].as_str().unwrap().to_owned(),
                is_series: ["queryType", "format"]
                    .iter()
                    .any(|form| target[form].as_str().is_some_and(|form| form.replace('_', " ") == "time series")),
            });
        }
    }
    assert!(all.len() >= 10);
    all
}

/// Runs `work` on a daemon that has seen calls of each kind that panels tell of.
async fn on_a_daemon(url: &str, work: impl AsyncFnOnce(&Installation, &Caller)) {
    let clock = Clock::system();
    let simulator = Simulator::start(SimConfig::default(), clock.clone(), Entropy::seeded(5)).await.unwrap();
    let at = Installation::on(url, simulator.base_url(), &format!("{QUICK}{BUDGETS}"));
    let running = Running::start(&at, &clock).await;
    running.knows_prices().await;
    let caller = Caller::new(running.address());
    let key = format!("Bearer {KEY}");
    for (app, how, status) in [
        ("a", "completion_tokens=900", 200),
        ("b", "completion_tokens=90", 200),
        ("b", "status=429", 429),
        ("stopped", "", 402),
    ] {
        let body = json!({ "model": "openai/gpt-4o-mini", "messages": [] }).to_string();
        let headers = [("authorization", &*key), ("x-tally-app", app), ("x-sim", how)];
        let reply = read(caller.send(Method::POST, "/api/v1/chat/completions", &headers, body).await.unwrap()).await;
        assert_eq!(reply.status, status, "{}", reply.text());
    }
    until("settled rows and an alert", async || {
        let settled = at.number("SELECT COUNT(*) FROM usage WHERE state = 'settled'").await;
        let told = at.number("SELECT COUNT(*) FROM alert_history").await;
        let refused = at.number("SELECT COALESCE(SUM(refused), 0) FROM refusals").await;
        (settled == 2 && told == 1 && refused == 1).then_some(())
    })
    .await;
    work(&at, &caller).await;
    running.stop().await;
}

async fn answers(at: &Installation, name: &str, field: &str) {
    let now = Clock::system().now();
    for Query { panel, text, is_series } in queries(name, field) {
        let until = now.plus_millis(3_600_000).millis().to_string();
        let from = now.plus_millis(-86_400_000).millis().to_string();
        let asked = text.replace("${__from}", &from).replace("${__to}", &until);
        assert!(!asked.contains('$'), "{panel}: {asked}");
        let rows = at.sql(&asked).await;
        assert!(
            !rows.is_empty()
                && rows.iter().any(|row| row.iter().any(|cell| *cell != tallyd::domain::table::Cell::Null)),
            "{panel}"
        );
        assert_eq!(is_series, text.starts_with("SELECT") && text.contains(" AS time,"), "{panel}");
        if is_series {
            let seconds = crate::support::installation::number(&rows[0][0]);
            assert!((i128::from(now.millis() / 1000) - seconds).abs() < 3_600, "{panel}: {seconds}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_on_sqlite_is_answered() {
    on_a_daemon("sqlite:data/tallyd.db", async |at, _| answers(at, "sqlite", "queryText").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_on_postgres_is_answered() {
    on_a_postgres_of_its_own("grafana", async |url| {
        on_a_daemon(url, async |at, _| answers(at, "postgres", "rawSql").await).await;
    })
    .await;
}

/// The names that an expression asks for.
fn metrics(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("tallyd_")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_a_panel_is_told_and_every_expression_is_one() {
    on_a_daemon("sqlite:data/tallyd.db", async |_, caller| {
        let told = caller.get("/metrics").await.text();
        let names: BTreeSet<&str> = told
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split(['{', ' ']).next())
            .collect();
        let asked: BTreeSet<String> =
            queries("prometheus", "expr").iter().flat_map(|query| metrics(&query.text)).collect();
        for name in &asked {
            // Nothing is counted here that must not happen, and yet it is told.
            assert!(names.contains(&**name), "{name} is not told:\n{told}");
        }
        assert!(asked.len() > 20, "{asked:?}");
        for line in [
            "tallyd_budget_limit_usd{budget=\"all\"} 0.01",
            "tallyd_budgets 2",
            "tallyd_calls_refused_total{cause=\"budget_exceeded\"} 1",
        ] {
            assert!(told.lines().any(|told| told == line), "{line}:\n{told}");
        }
        // Every family is in the manual, and the manual names no other.
        let manual = std::fs::read_to_string("docs/operations.md").unwrap();
        let families: BTreeSet<&str> =
            told.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        let missing: Vec<&&str> = families.iter().filter(|name| !manual.contains(&format!("| `{name}"))).collect();
        assert!(missing.is_empty(), "docs/operations.md lacks {missing:?}");
        for row in manual.lines().filter_map(|line| line.strip_prefix("| `tallyd_")) {
            let name = format!("tallyd_{}", row.split(['`', '{']).next().unwrap());
            let family = name.trim_end_matches("_total");
            assert!(families.contains(&*name) || families.contains(family), "docs/operations.md invents {name}");
        }
    })
    .await;
    let Ok(promtool) = std::env::var(PROMTOOL) else {
        eprintln!("SKIPPED parsing of PromQL ({PROMTOOL} is not set)");
        return;
    };
    let rules: Vec<Value> = queries("prometheus", "expr")
        .iter()
        .map(|query| {
            let expr = query.text.replace("$__rate_interval", "5m").replace("$__range", "1d");
            json!({ "record": "tallyd:panel", "labels": { "panel": query.panel, "expr": expr }, "expr": expr })
        })
        .collect();
    // YAML is a superset of JSON.
    let rules = json!({ "groups": [{ "name": "panels", "rules": rules }] }).to_string();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yml");
    std::fs::write(&file, rules).unwrap();
    let output = tokio::process::Command::new(promtool).args(["check", "rules"]).arg(&file).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
