//! Unusual spend: found in the ledger's sums, written and mailed once.

use tallyd::alert::spikes::Lookout;
use tallyd::clock::Clock;
use tallyd::domain::call::Call;
use tallyd::domain::money::Money;
use tallyd::domain::spike::{Rule, Sensitivity, SpikeKind};
use tallyd::domain::time::Timestamp;
use tallyd::store::outbox::{self, MessageState};
use tallyd::store::spikes::{self, Spender};

use crate::store::rollups::save_with_sums;
use crate::store::samples::{NOON, key, settled};
use crate::store::{Database, on_both_engines};

on_both_engines! {
    an_hour_far_above_its_usual_is_mailed_once_a_day
    a_new_steady_spender_is_mailed_once
}

const HOUR_MS: i64 = 3_600_000;

/// Four weeks of calls before the test's noon, one an hour, of 20 cents each.
fn usual() -> Vec<Call> {
    (0..28 * 24).map(|back| call(back, "usual-app", i64::from(back) + 1, 20)).collect()
}

/// A call so many hours before noon.
fn call(n: u32, app: &str, hours_before: i64, cents: i64) -> Call {
    let mut call = settled(n);
    call.attribution.app = Some(app.to_owned());
    call.key = Some(key(&format!("{app}-key"), app));
    call.facts.reply_model = Some(format!("{app}/model"));
    call.facts.created_at = Some(NOON.plus_millis(-hours_before * HOUR_MS));
    call.facts.settled_cost = Some(Money::from_picos(cents * 10_000_000_000));
    call
}

fn lookout(database: &Database, clock: &Clock) -> Lookout {
    Lookout {
        store: database.store.clone(),
        rule: Rule { sensitivity: Sensitivity::Normal, least: Money::from_usd(1).unwrap() },
        notify: vec!["a@example.com".to_owned(), "b@example.com".to_owned()],
        zone: chrono_tz::Tz::Europe__Berlin,
        dashboard_url: "http://127.0.0.1:7117".to_owned(),
        domain: "example.com".to_owned(),
        channels: std::sync::Arc::default(),
        clock: clock.clone(),
    }
}

/// Looks anew, as after a restart, at an instant.
async fn look(database: &Database, at: Timestamp) -> usize {
    lookout(database, &Clock::manual(at)).look().await.unwrap()
}

async fn an_hour_far_above_its_usual_is_mailed_once_a_day(database: &Database) {
    save_with_sums(database, &usual()).await;
    assert_eq!(look(database, NOON.plus_millis(5 * 60_000)).await, 0);
    // From 12:00 to 13:00 an app of its own spends $12 in two calls of one model.
    save_with_sums(database, &[call(9_000, "runaway", 0, 700), call(9_001, "runaway", 0, 500)]).await;
    let one = NOON.plus_millis(HOUR_MS + 5 * 60_000);
    assert_eq!(look(database, NOON.plus_millis(50 * 60_000)).await, 0, "the hour is not over");
    // It is new, so nothing is usual for it; but for all calls together it is.
    assert_eq!(look(database, one).await, 1);
    let found = spikes::history(&database.store, 10).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].kind, found[0].spender, found[0].recipients), (SpikeKind::Spike, Spender::All, 2));
    assert_eq!((found[0].since, found[0].until), (NOON, NOON.plus_millis(HOUR_MS)));
    assert_eq!((found[0].cost.to_decimal(), found[0].usual.to_decimal()), ("12.00".to_owned(), "0.20".to_owned()));
    let mails = outbox::page(&database.store, None, 10).await.unwrap();
    let mut to: Vec<&str> = mails.iter().map(|mail| mail.recipient.as_str()).collect();
    to.sort_unstable();
    assert_eq!(to, ["a@example.com", "b@example.com"]);
    assert_eq!(mails[0].state, MessageState::Waiting);
    assert_eq!(
        mails[0].subject,
        "Unusual spend: all calls together, $12.00 on Tue 4 Aug, 14:00–15:00, usually $0.20 at this hour of the week"
    );
    assert!(mails[0].html_body.contains("▲ all calls together"), "{}", mails[0].html_body);
    assert!(mails[0].text_body.contains("http://127.0.0.1:7117/alerts"));
    // The same again, and a dearer hour of the same day: told already.
    assert_eq!(look(database, one).await, 0);
    save_with_sums(database, &[call(9_002, "runaway", -1, 9_000)]).await;
    assert_eq!(look(database, NOON.plus_millis(2 * HOUR_MS + 5 * 60_000)).await, 0);
    // Those that are known have their own usual, and the next day is another day.
    save_with_sums(database, &[call(9_003, "usual-app", -24, 3_000)]).await;
    assert_eq!(look(database, NOON.plus_millis(25 * HOUR_MS + 5 * 60_000)).await, 3);
    let mails = outbox::page(&database.store, None, 10).await.unwrap();
    assert_eq!(mails.len(), 4);
    let subject = "Unusual spend: app usual-app $30.00, key usual-app-key $30.00 and 1 more";
    assert!(mails.iter().filter(|mail| mail.subject == subject).count() == 2, "{mails:?}");
}

async fn a_new_steady_spender_is_mailed_once(database: &Database) {
    save_with_sums(database, &usual()).await;
    let steady: Vec<Call> = (0..20).map(|n| call(5_000 + n, "cron", i64::from(n) + 1, 10)).collect();
    save_with_sums(database, &steady).await;
    assert_eq!(look(database, NOON.plus_millis(60_000)).await, 3);
    let mut found = spikes::history(&database.store, 10).await.unwrap();
    found.sort_by_key(|spike| spike.spender);
    assert_eq!((found[0].kind, found[0].spender, found[0].name.as_str()), (SpikeKind::SlowBurn, Spender::App, "cron"));
    assert_eq!((found[0].since, found[0].cost.to_decimal()), (NOON.plus_millis(-20 * HOUR_MS), "2.00".to_owned()));
    let mails = outbox::page(&database.store, None, 10).await.unwrap();
    assert_eq!(mails.len(), 2);
    assert!(
        mails[0].text_body.contains(
            "\napp cron\n  $2.00 in the 24 hours to Tue 4 Aug 14:00\n  it spent nothing before Mon 3 Aug 18:00\n"
        ),
        "{}",
        mails[0].text_body
    );
    assert_eq!(look(database, NOON.plus_millis(61 * 60_000)).await, 0, "told");
}
