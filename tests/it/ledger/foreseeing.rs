//! Where a budget is heading: made out at each step, told once it is sure, and once a window.

use tallyd::clock::Clock;
use tallyd::domain::time::{BUCKET_MS, Timestamp};

use super::simulator;
use crate::support::caller::Caller;
use crate::support::installation::{Installation, QUICK, text};
use crate::support::pacer::Pacer;
use crate::support::running::Running;
use crate::support::until;

/// Thursday, 19 November 2026, 10:00 UTC.
const START: Timestamp = Timestamp(1_795_082_400_000);

/// Counters of a steady spend of $2 an hour over six weeks, as if rows had brought it.
fn spend(at: &Installation, budget: &str) {
    let database = rusqlite::Connection::open(at.data().join("tallyd.db")).unwrap();
    for hour in 1..=6 * 168_i64 {
        let bucket = START.millis() - hour * 3_600_000;
        database
            .execute(
                "INSERT INTO budget_buckets (budget, value, bucket_ms, cost_picos, inline_picos, unknown_count) \
                 VALUES (?1, '', ?2, 2000000000000, 0, 0)",
                rusqlite::params![budget, bucket],
            )
            .unwrap();
    }
}

/// Ends a daemon at the pace of real time, of which its grace is measured, and goes on at the faster one.
async fn stop(running: Running, pacer: &Pacer) {
    pacer.set_speed(1);
    running.stop().await;
    pacer.set_speed(20);
}

/// Waits until the forecast is of this step or a later one.
async fn made(at: &Installation, step: Timestamp) {
    until("a forecast", async || {
        let rows = at.sql("SELECT as_of FROM budget_forecast WHERE budget = 'month'").await;
        let as_of = rows.first().and_then(|row| text(&row[0])).and_then(Timestamp::parse);
        as_of.filter(|as_of| *as_of >= step)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forecast_is_told_at_its_second_step_and_never_again_in_its_window() {
    let clock = Clock::manual(START);
    let pacer = Pacer::start(&clock);
    pacer.set_speed(20);
    let simulator = simulator(&clock).await;
    let tables = format!(
        "connect_timeout = \"1m\"\n{QUICK}timeout = \"5m\"\n[journal]\nsync_timeout = \"5m\"\n\
         [[budgets]]\nname = \"month\"\nwindow = \"month\"\nlimit_usd = 1000\n\
         alert_at = [\"100%\", \"forecast 100%\", \"forecast 200%\"]\nnotify = [\"team@example.com\"]\n\
         [[budgets]]\nname = \"rolling\"\nwindow = \"rolling 24h\"\nlimit_usd = 1000\n"
    );
    let at = Installation::new(simulator.base_url(), &tables);
    stop(Running::start(&at, &clock).await, &pacer).await;
    spend(&at, "month");
    let told = async || at.number("SELECT COUNT(*) FROM alert_history").await;

    let running = Running::start(&at, &clock).await;
    let first = clock.now().bucket();
    made(&at, first).await;
    assert_eq!(told().await, 0, "one step is not enough");
    stop(running, &pacer).await;
    // Known over a restart, and told within it.
    clock.set_wall(first.plus_millis(BUCKET_MS));
    let running = Running::start(&at, &clock).await;
    until("the alert", async || (told().await > 0).then_some(())).await;
    stop(running, &pacer).await;
    for step in 2..5 {
        clock.set_wall(first.plus_millis(step * BUCKET_MS));
        let running = Running::start(&at, &clock).await;
        made(&at, first.plus_millis(step * BUCKET_MS)).await;
        stop(running, &pacer).await;
    }
    let alerts = at.sql("SELECT budget, threshold, kind FROM alert_history").await;
    let alerts: Vec<Vec<_>> = alerts.iter().map(|row| row.iter().filter_map(text).collect()).collect();
    assert_eq!(alerts, [["month", "forecast 100%", "forecast"]]);

    // $884 are spent, 278 hours of $2 are to come, less what the clock has gone on by.
    let forecast = "SELECT basis, CAST(projected_usd AS TEXT), CAST(low_usd AS TEXT), reaches_likely, reason \
                    FROM budget_forecast";
    let rows = at.sql(forecast).await;
    assert_eq!(rows.len(), 1, "a rolling window has none: {rows:?}");
    assert_eq!(text(&rows[0][0]), Some("profile"));
    assert_eq!(text(&rows[0][4]), None);
    let projected: f64 = text(&rows[0][1]).unwrap().parse().unwrap();
    assert!((1_380.0..1_441.0).contains(&projected), "{projected}");
    let likely = text(&rows[0][3]).and_then(Timestamp::parse).unwrap();
    assert!((54..=64).contains(&((likely.millis() - START.millis()) / 3_600_000)), "{likely}");

    let database = rusqlite::Connection::open(at.data().join("tallyd.db")).unwrap();
    let mails = || -> Vec<String> {
        let mut statement = database.prepare("SELECT text_body FROM messages").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let running = Running::start(&at, &clock).await;
    let mails = until("the mail", async || Some(mails()).filter(|mails| !mails.is_empty())).await;
    assert_eq!(mails.len(), 1);
    assert!(mails[0].contains("month: Forecast to reach 100 %, as of Thu 19 Nov"), "{}", mails[0]);
    assert!(mails[0].contains("would be reached on Sat 21 Nov"), "{}", mails[0]);
    stop(running, &pacer).await;
    drop(pacer);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_makes_the_forecast_anew_within_its_step() {
    let clock = Clock::manual(START);
    let pacer = Pacer::start(&clock);
    let simulator = simulator(&clock).await;
    let tables = format!(
        "connect_timeout = \"1m\"\n{QUICK}timeout = \"5m\"\n[journal]\nsync_timeout = \"5m\"\n\
         [[budgets]]\nname = \"month\"\nwindow = \"month\"\nlimit_usd = 1000\n"
    );
    let at = Installation::new(simulator.base_url(), &tables);
    let running = Running::start(&at, &clock).await;
    pacer.set_speed(20);
    made(&at, START.bucket()).await;
    pacer.set_speed(1);
    let reason = async || {
        let rows = at.sql("SELECT reason FROM budget_forecast").await;
        text(&rows[0][0]).map(str::to_owned)
    };
    assert_eq!(reason().await.as_deref(), Some("nothing_spent"));
    let export = (1..=30_i64).fold(String::new(), |mut lines, day| {
        let at = START.plus_millis(-day * 86_400_000).to_iso();
        let record = format!(r#"{{"data":{{"id":"gen-{day}","created_at":"{at}","total_cost":2.0,"usage":2.0}}}}"#);
        lines.push_str(&record);
        lines.push('\n');
        lines
    });
    let reply = Caller::new(running.address()).post("/tally/v1/import", &[], export).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(at.number("SELECT COUNT(*) FROM usage").await, 30, "{}", reply.text());
    pacer.set_speed(20);
    until("a new forecast", async || reason().await.is_none().then_some(())).await;
    stop(running, &pacer).await;
    drop(pacer);
}
