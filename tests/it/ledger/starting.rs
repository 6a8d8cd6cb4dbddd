//! What a start finds: new budgets to be filled, thresholds to be armed again.

use tallyd::clock::Clock;
use tallyd::domain::ids::CallId;
use tallyd::domain::time::Timestamp;

use super::{chat, rows, simulator};
use crate::support::caller::Caller;
use crate::support::installation::{Installation, QUICK};
use crate::support::pacer::Pacer;
use crate::support::running::Running;
use crate::support::until;

const START: Timestamp = Timestamp(1_795_082_400_000);

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_threshold_is_armed_again_while_the_daemon_is_off() {
    let clock = Clock::manual(START);
    let pacer = Pacer::start(&clock);
    let simulator = simulator(&clock).await;
    let tables = format!(
        "connect_timeout = \"1m\"\n{QUICK}timeout = \"5m\"\n[journal]\nsync_timeout = \"5m\"\n\
         [[budgets]]\nname = \"rolling\"\nwindow = \"rolling 24h\"\nlimit_usd = \"0.000001\"\nalert_at = [\"100%\"]\n"
    );
    let at = Installation::new(simulator.base_url(), &tables);
    let alerts = async |count: i128| {
        until(&format!("{count} alerts"), async || {
            (at.number("SELECT COUNT(*) FROM alert_history").await >= count).then_some(())
        })
        .await;
        assert_eq!(at.number("SELECT COUNT(*) FROM alert_history").await, count);
    };
    for life in 1..=2 {
        let running = Running::start(&at, &clock).await;
        let caller = Caller::new(running.address());
        chat(&caller, "a", "prompt_tokens=1000;completion_tokens=50").await;
        rows(&at, life).await;
        alerts(life).await;
        running.stop().await;
        clock.set_wall(clock.now().plus_millis(48 * 3_600_000));
    }
    // Two days later again, and a start within the step that told: it is not told once more.
    let running = Running::start(&at, &clock).await;
    let caller = Caller::new(running.address());
    chat(&caller, "a", "prompt_tokens=1000;completion_tokens=50").await;
    alerts(3).await;
    running.stop().await;
    let running = Running::start(&at, &clock).await;
    alerts(3).await;
    running.stop().await;
    at.verify().await;
    drop(pacer);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_budgets_are_filled_in_pieces_and_anew_after_a_cut() {
    let clock = Clock::system();
    let simulator = simulator(&clock).await;
    let at = Installation::new(simulator.base_url(), QUICK);
    let running = Running::start(&at, &clock).await;
    let caller = Caller::new(running.address());
    chat(&caller, "a", "").await;
    until("a settled row", async || {
        (at.number("SELECT COUNT(*) FROM usage WHERE state = 'settled'").await == 1).then_some(())
    })
    .await;
    running.stop().await;

    // Some pages of the same row again, the last of which can not be read.
    let mut database = rusqlite::Connection::open(at.data().join("tallyd.db")).unwrap();
    let write = database.transaction().unwrap();
    write.execute_batch("CREATE TEMP TABLE one AS SELECT * FROM calls").unwrap();
    for n in 0..12_000 {
        let id = CallId::new(clock.now().plus_millis(1_000_000), n).to_string();
        write.execute("UPDATE one SET call_id = ?1, generation_id = 'gen-' || ?1", [&id]).unwrap();
        write.execute("INSERT INTO calls SELECT * FROM one", []).unwrap();
    }
    write.execute_batch("UPDATE calls SET state = 'odd' WHERE call_id = (SELECT MAX(call_id) FROM calls)").unwrap();
    write.commit().unwrap();
    let config = std::fs::read_to_string(at.folder().join("tallyd.toml")).unwrap();
    let budget = |name: &str, scope: &str| {
        format!("[[budgets]]\nname = \"{name}\"\nwindow = \"total\"\nlimit_usd = 1\nscope = {scope}\n")
    };
    at.configure(&format!(
        "{config}{}{}{}",
        budget("everything", "{}"),
        budget("of-a", "{ app = \"a\" }"),
        budget("of-b", "{ app = \"b\" }")
    ));
    let ended = at.run(&["serve"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let filled = "SELECT COUNT(DISTINCT budget) FROM budget_buckets";
    let filled: i64 = database.query_row(filled, [], |row| row.get(0)).unwrap();
    assert_eq!(filled, 2, "the pages before the odd row stand, for both budgets that have rows");

    database.execute_batch("UPDATE calls SET state = 'settled' WHERE state = 'odd'").unwrap();
    drop(database);
    let running = Running::start(&at, &clock).await;
    let spent = async |name: &str| {
        let budget = format!("SELECT spent_usd FROM budgets WHERE name = '{name}'");
        let database = rusqlite::Connection::open(at.data().join("tallyd.db")).unwrap();
        let whole: i64 = database.query_row(&budget, [], |row| row.get(0)).unwrap();
        let part = budget.replace("spent_usd", "spent_picos");
        let part: i64 = database.query_row(&part, [], |row| row.get(0)).unwrap();
        i128::from(whole) * 1_000_000_000_000 + i128::from(part)
    };
    let truth = at.number("SELECT SUM(cost_picousd) FROM usage").await;
    assert!(truth > 0);
    assert_eq!((spent("everything").await, spent("of-a").await, spent("of-b").await), (truth, truth, 0));
    running.stop().await;
}
