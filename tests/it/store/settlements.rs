use tallyd::domain::attribution::KeyRef;
use tallyd::domain::call::Call;
use tallyd::domain::ids::{CallId, KeyFingerprint};
use tallyd::domain::money::Money;
use tallyd::domain::settling::KEY_NOT_HELD;
use tallyd::domain::time::Timestamp;
use tallyd::store::calls;
use tallyd::store::settlements::{self, Backlog, Due, Parked, Passed};

use super::calls::save;
use super::samples::{NOON, call_id, generation, key, told};
use super::{Database, on_both_engines};

on_both_engines! {
    unknown_costs_come_first_and_of_each_the_most_recently_due
    a_lease_holds_until_it_ends_or_the_row_is_written_or_it_is_given_back
    rows_of_keys_that_pause_and_rows_searched_before_are_passed_over
    rows_whose_key_is_not_held_are_parked_and_woken_by_it
    rows_that_name_no_key_of_ours_are_woken_by_the_default_one
    the_backlog_tells_due_waiting_and_parked
}

fn due(n: u32, after_ms: i64) -> Call {
    let mut call = told(n, NOON);
    call.settling.due = Some(NOON.plus_millis(after_ms));
    call
}

fn inline(n: u32, after_ms: i64) -> Call {
    let mut call = due(n, after_ms);
    call.facts.inline_cost = Some(Money::from_picos(5));
    call
}

fn with_key(mut call: Call, secret: &str) -> Call {
    call.key = Some(key("default", secret));
    call
}

fn sha256(secret: &str) -> String {
    KeyFingerprint::of(secret).sha256
}

async fn lease(database: &Database, at_ms: i64, limit: u32) -> Vec<Due> {
    lease_but(database, at_ms, &Passed::default(), limit).await
}

async fn lease_but(database: &Database, at_ms: i64, passed: &Passed, limit: u32) -> Vec<Due> {
    let now = NOON.plus_millis(at_ms);
    let mut tx = database.store.write().await.unwrap();
    let leased = settlements::lease(&mut tx, "a", now, now.plus_millis(1_000), passed, limit).await.unwrap();
    tx.commit().await.unwrap();
    leased
}

fn ids(leased: &[Due]) -> Vec<CallId> {
    leased.iter().map(|due| due.call_id).collect()
}

async fn next_due(database: &Database, at_ms: i64) -> Option<i64> {
    let next = settlements::next_due(&database.store, NOON.plus_millis(at_ms)).await.unwrap();
    next.map(|at: Timestamp| at.millis() - NOON.millis())
}

async fn unknown_costs_come_first_and_of_each_the_most_recently_due(database: &Database) {
    assert_eq!(next_due(database, 0).await, None);
    save(database, &[inline(1, 10), due(2, 20), inline(3, 30), due(4, 40), due(5, 9_000)]).await;
    assert_eq!(next_due(database, 0).await, Some(10));
    let leased = lease(database, 100, 3).await;
    assert_eq!(ids(&leased), [4, 2, 3].map(call_id));
    assert_eq!(
        leased[0],
        Due {
            call_id: call_id(4),
            generation_id: generation(4),
            key_sha256: None,
            key_name: None,
            cost_known: false,
            due: NOON.plus_millis(40),
        }
    );
    assert!(leased[2].cost_known);
    assert_eq!(ids(&lease(database, 100, 3).await), [call_id(1)]);
    assert!(lease(database, 100, 0).await.is_empty());
}

async fn a_lease_holds_until_it_ends_or_the_row_is_written_or_it_is_given_back(database: &Database) {
    save(database, &[due(1, 0), due(2, 1), due(3, 2)]).await;
    assert_eq!(lease(database, 10, 9).await.len(), 3);
    assert!(lease(database, 500, 9).await.is_empty());
    assert_eq!(next_due(database, 500).await, Some(1_010), "the first lease that ends");
    assert_eq!(lease(database, 1_010, 9).await.len(), 3, "leases have ended");

    save(database, &[due(2, 1)]).await;
    assert_eq!(ids(&lease(database, 1_020, 9).await), [call_id(2)]);

    let mut tx = database.store.write().await.unwrap();
    settlements::give_back(&mut tx, &[call_id(3)]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(ids(&lease(database, 1_030, 9).await), [call_id(3)]);

    let mut tx = database.store.write().await.unwrap();
    assert_eq!(settlements::release(&mut tx, Some("b")).await.unwrap(), 0);
    assert_eq!(settlements::release(&mut tx, Some("a")).await.unwrap(), 3);
    assert_eq!(settlements::release(&mut tx, None).await.unwrap(), 0);
    tx.commit().await.unwrap();
    assert_eq!(lease(database, 1_040, 9).await.len(), 3);
}

async fn rows_of_keys_that_pause_and_rows_searched_before_are_passed_over(database: &Database) {
    let mut named = due(4, 4);
    named.key = Some(KeyRef { name: "team-b".to_owned(), fingerprint: None });
    let rows =
        [with_key(due(1, 1), "one"), with_key(inline(2, 2), "two"), due(3, 3), named, with_key(due(5, 5), "two")];
    save(database, &rows).await;
    let passing = |keys: &[&str], until_ms: Option<i64>| Passed {
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        due_until: until_ms.map(|ms| NOON.plus_millis(ms)),
    };
    let two = sha256("two");
    let leased = lease_but(database, 10, &passing(&[&two, ""], Some(0)), 9).await;
    // OpenRouter's name for a key is none of ours: such rows are read with the default key.
    assert_eq!(ids(&leased), [call_id(1)]);
    assert_eq!(ids(&lease_but(database, 10, &passing(&["team-b"], Some(3)), 9).await), [5, 4].map(call_id));
    assert_eq!(ids(&lease(database, 10, 9).await), [3, 2].map(call_id));
}

async fn rows_whose_key_is_not_held_are_parked_and_woken_by_it(database: &Database) {
    save(
        database,
        &[with_key(due(1, 0), "one"), with_key(inline(2, 0), "two"), due(3, 1), with_key(due(4, 50), "two")],
    )
    .await;
    // The empty text stands for rows that name no key.
    let held = [sha256("one"), String::new()];
    let mut tx = database.store.write().await.unwrap();
    assert_eq!(settlements::park(&mut tx, NOON.plus_millis(10), &held, 100).await.unwrap(), 1);
    tx.commit().await.unwrap();
    assert_eq!(ids(&lease(database, 10, 9).await), [3, 1].map(call_id));
    let mut tx = database.store.write().await.unwrap();
    let parked = calls::load(&mut tx, &[call_id(2)], &[]).await.unwrap().remove(0);
    assert_eq!((parked.settling.due, parked.settling.reason.as_deref()), (None, Some(KEY_NOT_HELD)));
    assert_eq!(settlements::unpark(&mut tx, Parked::Fingerprint(&sha256("one")), NOON).await.unwrap(), 0);
    assert_eq!(settlements::unpark(&mut tx, Parked::Fingerprint(&sha256("two")), NOON).await.unwrap(), 1);
    let woken = calls::load(&mut tx, &[call_id(2)], &[]).await.unwrap().remove(0);
    assert_eq!((woken.settling.due, woken.settling.reason), (Some(NOON), None));
    tx.commit().await.unwrap();
    assert_eq!(ids(&lease(database, 20, 9).await), [call_id(2)]);
}

async fn rows_that_name_no_key_of_ours_are_woken_by_the_default_one(database: &Database) {
    let mut named = due(1, 0);
    named.key = Some(KeyRef { name: "team-b".to_owned(), fingerprint: None });
    let mut rows = [named, due(2, 0)];
    for row in &mut rows {
        row.settling.key_not_held();
    }
    save(database, &rows).await;
    assert!(lease(database, 10, 9).await.is_empty());
    let parked = settlements::parked_before(&database.store, NOON.plus_millis(1), 10).await.unwrap();
    assert_eq!(parked, [1, 2].map(call_id));
    assert!(settlements::parked_before(&database.store, NOON, 10).await.unwrap().is_empty());
    let mut tx = database.store.write().await.unwrap();
    assert_eq!(settlements::unpark(&mut tx, Parked::Fingerprint(&sha256("team-b")), NOON).await.unwrap(), 0);
    assert_eq!(settlements::unpark(&mut tx, Parked::NoKey, NOON).await.unwrap(), 2);
    tx.commit().await.unwrap();
    assert_eq!(lease(database, 10, 9).await.len(), 2);
}

async fn the_backlog_tells_due_waiting_and_parked(database: &Database) {
    assert_eq!(settlements::backlog(&database.store, NOON).await.unwrap(), Backlog::default());
    let mut parked = due(5, 0);
    parked.settling.key_not_held();
    let mut under_way = due(6, 0);
    under_way.settling.due = None;
    under_way.under_way_in = Some("j".to_owned());
    save(database, &[due(1, 10), inline(2, 5), due(3, 100), inline(4, 200), parked, under_way]).await;
    let backlog = settlements::backlog(&database.store, NOON.plus_millis(50)).await.unwrap();
    let expected = Backlog { due: 2, waiting: 2, parked: 1, oldest_due: Some(NOON.plus_millis(5)) };
    assert_eq!(backlog, expected);
}
