use std::collections::BTreeSet;

use tallyd::domain::call::{Call, CallState};
use tallyd::domain::time::Timestamp;
use tallyd::store::calls::{self, CompletionFilter, Cursor};
use tallyd::store::{StoreError, progress, refusals};

use super::samples::{NOON, call_id, complete, generation, settled, told, varied};
use super::{Database, on_both_engines};

on_both_engines! {
    a_call_with_every_field_survives
    a_call_with_hardly_a_field_survives
    what_the_engines_can_not_hold_is_replaced
    a_row_is_found_by_either_id_and_changed_in_place
    two_rows_of_one_generation_are_a_race
    deleting_takes_the_record_along
    calls_under_way_are_found_by_their_journal
    pages_are_newest_first_and_filtered_by_every_field
    a_scan_gives_every_shown_row_once_oldest_first
    a_dropped_transaction_leaves_nothing
    a_journals_progress_is_kept
    refusals_are_counted_and_the_last_ones_kept
}

pub(crate) async fn save(database: &Database, calls: &[Call]) {
    let mut tx = database.store.write().await.unwrap();
    calls::upsert(&mut tx, &calls.iter().collect::<Vec<_>>()).await.unwrap();
    tx.commit().await.unwrap();
}

/// What a filter is to let through.
type Matches = fn(&Call) -> bool;

async fn load(database: &Database, n: u32) -> Option<Call> {
    let mut tx = database.store.write().await.unwrap();
    let mut found = calls::load(&mut tx, &[call_id(n)], &[]).await.unwrap();
    tx.rollback().await.unwrap();
    assert!(found.len() <= 1);
    found.pop()
}

async fn a_call_with_every_field_survives(database: &Database) {
    let call = complete(1);
    save(database, std::slice::from_ref(&call)).await;
    assert_eq!(load(database, 1).await, Some(call));
}

async fn a_call_with_hardly_a_field_survives(database: &Database) {
    let mut call = told(1, NOON);
    call.generation_id = None;
    call.state = CallState::Unsettled;
    save(database, std::slice::from_ref(&call)).await;
    assert_eq!(load(database, 1).await, Some(call));
}

async fn what_the_engines_can_not_hold_is_replaced(database: &Database) {
    let mut call = told(1, NOON);
    call.facts.provider = Some("a\0b \\u0000".to_owned());
    save(database, std::slice::from_ref(&call)).await;
    assert_eq!(load(database, 1).await.unwrap().facts.provider.as_deref(), Some("a\u{fffd}b \\u0000"));
}

async fn a_row_is_found_by_either_id_and_changed_in_place(database: &Database) {
    save(database, &[settled(1), settled(2), settled(3)]).await;
    let mut tx = database.store.write().await.unwrap();
    let found = calls::load(&mut tx, &[call_id(3), call_id(9)], &[generation(1), generation(3)]).await.unwrap();
    assert_eq!(found, [settled(1), settled(3)]);
    assert!(calls::load(&mut tx, &[], &[]).await.unwrap().is_empty());
    let mut changed = settled(1);
    changed.facts = complete(1).facts;
    calls::upsert(&mut tx, &[&changed]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(load(database, 1).await, Some(changed.clone()));
    assert_eq!(calls::find(&database.store, "gen-00000001").await.unwrap(), Some((changed, None)));
    assert_eq!(calls::find(&database.store, &call_id(2).to_string()).await.unwrap(), Some((settled(2), None)));
    assert_eq!(calls::find(&database.store, "gen-none").await.unwrap(), None);
}

async fn two_rows_of_one_generation_are_a_race(database: &Database) {
    save(database, &[settled(1)]).await;
    let mut twin = settled(2);
    twin.generation_id = Some(generation(1));
    let mut tx = database.store.write().await.unwrap();
    let error = calls::upsert(&mut tx, &[&twin]).await.unwrap_err();
    assert!(matches!(error, StoreError::Race(_)), "{error}");
    assert!(error.is_race() && !error.blames_data());
}

async fn deleting_takes_the_record_along(database: &Database) {
    save(database, &[settled(1), settled(2)]).await;
    let mut tx = database.store.write().await.unwrap();
    let records = [(call_id(1), r#"{"upstream_id":"x"}"#), (call_id(2), "{}")];
    calls::save_records(&mut tx, &records).await.unwrap();
    calls::save_records(&mut tx, &[(call_id(1), r#"{"num":1}"#)]).await.unwrap();
    calls::delete(&mut tx, &[call_id(2)]).await.unwrap();
    tx.commit().await.unwrap();
    let (_, record) = calls::find(&database.store, "gen-00000001").await.unwrap().unwrap();
    assert_eq!(record.as_deref(), Some(r#"{"num":1}"#));
    assert_eq!(load(database, 2).await, None);
    save(database, &[settled(2)]).await;
    let (_, record) = calls::find(&database.store, "gen-00000002").await.unwrap().unwrap();
    assert_eq!(record, None);
}

async fn calls_under_way_are_found_by_their_journal(database: &Database) {
    let under_way = |n, journal: &str| {
        let mut call = told(n, NOON);
        call.under_way_in = Some(journal.to_owned());
        call
    };
    save(database, &[under_way(1, "a"), under_way(2, "b"), under_way(3, "a"), under_way(4, "a"), told(5, NOON)]).await;
    let mut tx = database.store.write().await.unwrap();
    let first = calls::under_way(&mut tx, "a", None, 2).await.unwrap();
    assert_eq!(first, [under_way(1, "a"), under_way(3, "a")]);
    let rest = calls::under_way(&mut tx, "a", Some(call_id(3)), 2).await.unwrap();
    assert_eq!(rest, [under_way(4, "a")]);
    assert!(calls::under_way(&mut tx, "c", None, 2).await.unwrap().is_empty());
}

async fn pages_are_newest_first_and_filtered_by_every_field(database: &Database) {
    let mut rows: Vec<Call> = (0..25).map(varied).collect();
    // Two at one instant are told apart by their IDs; one without an ID is not shown.
    rows[7].facts.created_at = rows[8].facts.created_at;
    rows[9].state = CallState::Open;
    save(database, &rows).await;
    let mut shown: Vec<Call> = rows.iter().filter(|call| call.state != CallState::Open).cloned().collect();
    shown.sort_by_key(|call| std::cmp::Reverse((call.created_at(), call.call_id)));

    let mut paged = Vec::new();
    let mut cursor = None;
    loop {
        let page = calls::page(&database.store, &CompletionFilter::default(), cursor, 4).await.unwrap();
        let Some(last) = page.last() else { break };
        cursor = Some(Cursor::after(last));
        paged.extend(page);
    }
    assert_eq!(paged, shown);

    let text = |value: &str| Some(value.to_owned());
    let none = CompletionFilter::default;
    let filters: Vec<(CompletionFilter, Matches)> = vec![
        (CompletionFilter { app: text("app-1"), ..none() }, |c| c.attribution.app.as_deref() == Some("app-1")),
        (CompletionFilter { end_user: text("user-3"), ..none() }, |c| c.attribution.user.as_deref() == Some("user-3")),
        (CompletionFilter { provider: text("Provider 1"), ..none() }, |c| {
            c.facts.provider.as_deref() == Some("Provider 1")
        }),
        (CompletionFilter { state: Some(CallState::Failed), ..none() }, |c| c.state == CallState::Failed),
        (CompletionFilter { session: text("nobody"), ..none() }, |_| false),
        (CompletionFilter { session: text("s-1"), ..none() }, |_| true),
        (CompletionFilter { key_name: text("default"), ..none() }, |_| true),
        (CompletionFilter { key_name: text("Default"), ..none() }, |_| false),
        (CompletionFilter { model: text("openai/gpt-4o-mini"), ..none() }, |_| true),
        (CompletionFilter { endpoint: text("responses"), ..none() }, |_| false),
        (CompletionFilter { error_type: text("provider_unavailable"), ..none() }, |_| true),
        (CompletionFilter { tag: Some(("te\"am".to_owned(), "a, b".to_owned())), ..none() }, |_| true),
        (CompletionFilter { tag: Some(("env".to_owned(), "dev".to_owned())), ..none() }, |_| false),
        (CompletionFilter { since: Some(NOON.plus_millis(5 * 61_000)), ..none() }, |c| {
            c.created_at() >= NOON.plus_millis(5 * 61_000)
        }),
        (CompletionFilter { until: Some(NOON.plus_millis(5 * 61_000)), ..none() }, |c| {
            c.created_at() < NOON.plus_millis(5 * 61_000)
        }),
    ];
    for (filter, matches) in filters {
        let found = calls::page(&database.store, &filter, None, 100).await.unwrap();
        let expected: Vec<Call> = shown.iter().filter(|call| matches(call)).cloned().collect();
        assert_eq!(found, expected, "{filter:?}");
    }
}

async fn a_scan_gives_every_shown_row_once_oldest_first(database: &Database) {
    let mut rows: Vec<Call> = (0..10).map(settled).collect();
    rows[4].facts.created_at = Some(rows[3].created_at());
    rows[5].state = CallState::Open;
    save(database, &rows).await;
    let mut tx = database.store.write().await.unwrap();
    let mut scanned = Vec::new();
    let mut cursor = None;
    loop {
        let page = calls::scan(&mut tx, NOON.plus_millis(2_000), cursor, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        cursor = Some(Cursor::after(last));
        scanned.extend(page.iter().map(|call| call.call_id));
    }
    assert_eq!(scanned, [2, 3, 4, 6, 7, 8, 9].map(call_id));
    assert_eq!(scanned.iter().collect::<BTreeSet<_>>().len(), scanned.len());
}

async fn a_dropped_transaction_leaves_nothing(database: &Database) {
    let mut tx = database.store.write().await.unwrap();
    calls::upsert(&mut tx, &[&settled(1)]).await.unwrap();
    drop(tx);
    assert_eq!(load(database, 1).await, None);
}

async fn a_journals_progress_is_kept(database: &Database) {
    assert_eq!(progress::get(&database.store, "j").await.unwrap(), None);
    for offset in [10, 5_000_000_000] {
        let mut tx = database.store.write().await.unwrap();
        progress::set(&mut tx, "j", progress::Drained { segment: 3, offset }).await.unwrap();
        tx.commit().await.unwrap();
        let drained = progress::get(&database.store, "j").await.unwrap();
        assert_eq!(drained, Some(progress::Drained { segment: 3, offset }));
    }
    assert_eq!(progress::get(&database.store, "other").await.unwrap(), None);
}

async fn refusals_are_counted_and_the_last_ones_kept(database: &Database) {
    use tallyd::domain::observation::Refused;
    let refused = |n: i64| Refused {
        at: Timestamp(NOON.millis() + n),
        cause: "budget_exceeded".to_owned(),
        budget: Some("growth".to_owned()),
        app: None,
        key_name: Some("default".to_owned()),
        requested_model: Some("m".to_owned()),
        endpoint: "chat/completions".to_owned(),
    };
    let kept = i64::from(refusals::KEPT);
    for batch in [0..kept + 10, kept + 10..kept + 25] {
        let batch: Vec<Refused> = batch.map(refused).collect();
        let mut tx = database.store.write().await.unwrap();
        refusals::add(&mut tx, &batch.iter().collect::<Vec<_>>()).await.unwrap();
        refusals::add(&mut tx, &[]).await.unwrap();
        tx.commit().await.unwrap();
    }
    let recent = refusals::recent(&database.store, 10 * refusals::KEPT).await.unwrap();
    assert_eq!(recent.len(), usize::try_from(kept).unwrap());
    assert_eq!(recent[0], refused(kept + 24));
    assert_eq!(recent.last(), Some(&refused(25)));
    let table = super::console::ask(database, "SELECT minute_at, cause, budget, app, refused FROM refusals").await;
    assert_eq!(super::console::text(&table), ["2026-08-04T12:00:00.000Z|budget_exceeded|growth|NULL|1025"]);
}
