//! A budget for each value of a field: accounts made as values appear, told and blocked each by itself.

use serde_json::json;
use tallyd::clock::{Clock, Entropy};
use tallyd::domain::budget::{MAX_VALUES, OTHER};
use tallyd::domain::ids::CallId;
use tallyd::sim::{SimConfig, Simulator};

use crate::store::engines::on_a_postgres_of_its_own;
use crate::support::caller::{Caller, Reply};
use crate::support::installation::{Installation, KEY, QUICK, number, text};
use crate::support::running::Running;
use crate::support::until;

async fn chat(caller: &Caller, user: Option<&str>, tokens: u32) -> Reply {
    let body = json!({
        "model": "openai/gpt-4o-mini", "max_tokens": tokens, "messages": [{ "role": "user", "content": "?" }],
    });
    let key = format!("Bearer {KEY}");
    let how = format!("prompt_tokens=10;completion_tokens={tokens}");
    let mut headers = vec![("authorization", &*key), ("x-sim", &*how)];
    headers.extend(user.map(|user| ("x-tally-user", user)));
    caller.post("/api/v1/chat/completions", &headers, body.to_string()).await
}

/// The budget's values, dearest first: name, state, unknown.
async fn values(at: &Installation) -> Vec<(String, String)> {
    let query = "SELECT value, state FROM budget_values WHERE name = 'per-head' ORDER BY spent_usd DESC, value";
    let rows = at.sql(query).await;
    rows.iter().map(|row| (text(&row[0]).unwrap().to_owned(), text(&row[1]).unwrap().to_owned())).collect()
}

/// Waits until so many calls are settled, and nothing is shown as held back.
async fn settled(at: &Installation, calls: i128) {
    until("every record read", async || {
        let read = "SELECT COUNT(*) FROM usage WHERE state = 'settled'";
        let held = "SELECT COUNT(*) FROM budget_values WHERE reserved_usd > 0";
        (at.number(read).await == calls && at.number(held).await == 0).then_some(())
    })
    .await;
}

async fn each_user_has_the_limit_to_himself(url: &str) {
    let clock = Clock::system();
    let simulator = Simulator::start(SimConfig::default(), clock.clone(), Entropy::seeded(5)).await.unwrap();
    let budget = "[[budgets]]\nname = \"per-head\"\neach = \"user\"\nwindow = \"total\"\nlimit_usd = \"0.001\"\n\
                  alert_at = [\"50%\"]\nnotify = [\"a@example.com\"]\nwhen_exceeded = \"block\"\n";
    let at = Installation::on(url, simulator.base_url(), &format!("{QUICK}{budget}"));
    let running = Running::start(&at, &clock).await;
    let caller = Caller::new(running.address());
    running.knows_prices().await;
    // $0.0006 each: a second one does not fit.
    for (user, status) in [(Some("lena"), 200), (Some("lena"), 402), (Some("omar"), 200), (None, 200), (None, 200)] {
        let reply = chat(&caller, user, 1_000).await;
        assert_eq!(reply.status, status, "{user:?}: {}", reply.text());
        if status == 402 {
            let error = &reply.json()["error"];
            assert_eq!(error["metadata"]["value"], "lena");
            assert!(error["message"].as_str().unwrap().contains("\"per-head\" of \"lena\""), "{error}");
        }
    }
    assert_eq!(chat(&caller, Some("omar"), 100).await.status, 200, "a small one fits");
    assert_eq!(chat(&caller, Some("ana"), 100).await.status, 200);
    settled(&at, 6).await;
    let state = |value: &str, state: &str| (value.to_owned(), state.to_owned());
    let stand = [state("omar", "alerting"), state("lena", "alerting"), state("ana", "ok")];
    assert_eq!(values(&at).await, stand);
    let told = async || {
        let rows = at.sql("SELECT value FROM alert_history WHERE budget = 'per-head' ORDER BY value").await;
        rows.iter().map(|row| text(&row[0]).unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(told().await, ["lena", "omar"]);
    let status = at.sql("SELECT each_by, top_value, value_count, state FROM budget_status").await.remove(0);
    assert_eq!((text(&status[0]), text(&status[1]), number(&status[2])), (Some("user"), Some("omar"), 3));
    assert_eq!(text(&status[3]), Some("alerting"));
    until("the mail", async || {
        let page = caller.get("/alerts").await.text();
        (page.contains("per-head (user lena) at 50") && page.contains("per-head (user omar) at 50")).then_some(())
    })
    .await;
    let page = caller.get("/budgets/per-head").await.text();
    let place = |user| page.find(user).unwrap_or_else(|| panic!("{user} is missing from {page}"));
    assert!(place("strong\">omar<") < place("strong\">lena<") && place("strong\">lena<") < place("strong\">ana<"));
    running.stop().await;
    at.verify().await;

    // A restart tells nothing again, and each stands where he stood.
    let running = Running::start(&at, &clock).await;
    assert_eq!(values(&at).await, stand);
    let caller = Caller::new(running.address());
    assert_eq!(chat(&caller, Some("lena"), 1_000).await.status, 402);
    assert_eq!(chat(&caller, Some("ana"), 100).await.status, 200);
    settled(&at, 7).await;
    assert_eq!(told().await, ["lena", "omar"]);
    running.stop().await;
    at.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_value_has_the_limit_to_itself() {
    each_user_has_the_limit_to_himself("sqlite:data/tallyd.db").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_value_has_the_limit_to_itself_on_postgres() {
    on_a_postgres_of_its_own("values", async |url| each_user_has_the_limit_to_himself(url).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_beyond_the_bound_share_one_account() {
    let clock = Clock::system();
    let simulator = Simulator::start(SimConfig::default(), clock.clone(), Entropy::seeded(5)).await.unwrap();
    let at = Installation::new(simulator.base_url(), QUICK);
    let running = Running::start(&at, &clock).await;
    assert_eq!(chat(&Caller::new(running.address()), Some("u-0"), 10).await.status, 200);
    until("a settled row", async || {
        (at.number("SELECT COUNT(*) FROM usage WHERE state = 'settled'").await == 1).then_some(())
    })
    .await;
    running.stop().await;
    // The same row again, of as many users as fit and five more, who spent less.
    let mut database = rusqlite::Connection::open(at.data().join("tallyd.db")).unwrap();
    let write = database.transaction().unwrap();
    write
        .execute_batch("CREATE TEMP TABLE one AS SELECT * FROM calls; DELETE FROM calls; DELETE FROM spend_cells; DELETE FROM timing_parts")
        .unwrap();
    let beyond = 5;
    for n in 0..MAX_VALUES + beyond {
        let id = CallId::new(clock.now(), n as u128).to_string();
        let picos = if n < MAX_VALUES { 2_000_000 } else { 1_000_000 };
        let update = "UPDATE one SET call_id = ?1, generation_id = 'gen-' || ?1, end_user = 'u-' || ?2, settled_picos = ?3, \
                      inline_picos = ?3, charged_picos = ?3, cost_picos = ?3";
        write.execute(update, rusqlite::params![id, i64::try_from(n).unwrap(), picos]).unwrap();
        write.execute("INSERT INTO calls SELECT * FROM one", []).unwrap();
    }
    write.commit().unwrap();
    drop(database);
    let config = std::fs::read_to_string(at.folder().join("tallyd.toml")).unwrap();
    let budget = "[[budgets]]\nname = \"per-head\"\neach = \"user\"\nwindow = \"total\"\nlimit_usd = \"0.000004\"\n\
                  alert_at = [\"100%\"]\nwhen_exceeded = \"block\"\n";
    at.configure(&format!("{config}{budget}"));
    let running = Running::start(&at, &clock).await;
    let other =
        format!("SELECT CAST(ROUND(spent_usd * 1000000000000) AS BIGINT) FROM budget_values WHERE value = '{OTHER}'");
    assert_eq!(at.number(&other).await, 5_000_000);
    let count = i128::try_from(MAX_VALUES).unwrap() + 1;
    assert_eq!(at.number("SELECT COUNT(*) FROM budget_values").await, count);
    // A new value shares it, and it is spent.
    let caller = Caller::new(running.address());
    let reply = chat(&caller, Some("new"), 10).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]["metadata"]["value"]), (402, &json!(OTHER)));
    let told = at.sql("SELECT value FROM alert_history").await;
    assert_eq!(told.iter().map(|row| text(&row[0])).collect::<Vec<_>>(), [Some(OTHER)]);
    running.stop().await;
}

/// A call whose body nobody reads is held back of the account that values share, and somebody may be called so: neither is a
/// reason for others to share it.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_shares_an_account_while_there_is_room() {
    let clock = Clock::system();
    let simulator = Simulator::start(SimConfig::default(), clock.clone(), Entropy::seeded(5)).await.unwrap();
    let budget = "[[budgets]]\nname = \"per-head\"\neach = \"user\"\nwindow = \"total\"\nlimit_usd = \"0.001\"\n\
                  when_exceeded = \"block\"\n";
    let at = Installation::new(simulator.base_url(), &format!("{QUICK}{budget}"));
    let running = Running::start(&at, &clock).await;
    let caller = Caller::new(running.address());
    running.knows_prices().await;
    assert_eq!(chat(&caller, Some(OTHER), 1_000).await.status, 200);
    settled(&at, 1).await;
    assert_eq!(chat(&caller, Some(OTHER), 1_000).await.status, 402);
    for user in ["lena", "omar"] {
        let reply = chat(&caller, Some(user), 1_000).await;
        assert_eq!(reply.status, 200, "{user}: {}", reply.text());
    }
    settled(&at, 3).await;
    let values: Vec<String> = values(&at).await.into_iter().map(|(value, _)| value).collect();
    assert_eq!(values, [OTHER, "lena", "omar"]);
    running.stop().await;
    at.verify().await;
}
