//! Sessions are found by their calls: each once, the latest first, with what all its calls came to.

use tallyd::domain::call::{Call, CallState};
use tallyd::domain::money::Total;
use tallyd::store::calls::{self, CompletionFilter, Cursor};
use tallyd::store::sessions;

use super::calls::save;
use super::samples::{NOON, settled};
use super::{Database, on_both_engines};

on_both_engines! {
    each_session_is_listed_once_by_its_last_call_that_the_filters_leave
    a_session_is_summed_by_what_its_calls_name
    a_call_has_its_neighbours_in_its_session
    what_is_rare_is_found_behind_many_that_do_not_match
}

/// Call `n`, a second after the one before it, of one of three sessions or of none.
fn call(n: u32) -> Call {
    let mut call = settled(n);
    call.attribution.session = [None, Some("run-1"), Some("run-2"), Some("run/3?")][n as usize % 4].map(str::to_owned);
    call.attribution.app = Some(if n < 20 { "early" } else { "late" }.to_owned());
    call.attribution.user = (n % 8 == 1).then(|| "lena".to_owned());
    call
}

async fn names(database: &Database, filter: &CompletionFilter, limit: usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut cursor = None;
    loop {
        let page = sessions::list(&database.store, filter, cursor, limit).await.unwrap();
        assert!(page.sessions.len() <= limit);
        found.extend(page.sessions.into_iter().map(|(session, _)| session));
        cursor = page.next;
        if cursor.is_none() {
            return found;
        }
    }
}

async fn each_session_is_listed_once_by_its_last_call_that_the_filters_leave(database: &Database) {
    save(database, &(1..=39).map(call).collect::<Vec<_>>()).await;
    let none = CompletionFilter::default;
    let text = |value: &str| Some(value.to_owned());
    for limit in [1, 2, 50] {
        assert_eq!(names(database, &none(), limit).await, ["run/3?", "run-2", "run-1"], "{limit}");
        let early = CompletionFilter { app: text("early"), ..none() };
        assert_eq!(names(database, &early, limit).await, ["run/3?", "run-2", "run-1"], "{limit}");
    }
    // Call 21 is the last before the 22nd second: of run-1.
    let until = CompletionFilter { until: Some(NOON.plus_millis(22_000)), ..none() };
    assert_eq!(names(database, &until, 2).await, ["run-1", "run/3?", "run-2"]);
    let user = CompletionFilter { end_user: text("lena"), ..none() };
    assert_eq!(names(database, &user, 2).await, ["run-1"]);
    let since = CompletionFilter { since: Some(NOON.plus_millis(38_000)), ..none() };
    assert_eq!(names(database, &since, 2).await, ["run/3?", "run-2"]);
    assert!(names(database, &CompletionFilter { app: text("nobody"), ..none() }, 2).await.is_empty());
}

async fn a_session_is_summed_by_what_its_calls_name(database: &Database) {
    let mut rows: Vec<Call> = (1..=39).map(call).collect();
    rows[4].state = CallState::Failed;
    rows[8].facts.settled_cost = None;
    rows[8].state = CallState::Unsettled;
    save(database, &rows).await;
    let found = sessions::sums(&database.store, &["run-1", "nobody"]).await.unwrap();
    let of = |rows: &[sessions::SessionSums], sum: fn(&sessions::SessionSums) -> i64| rows.iter().map(sum).sum::<i64>();
    assert!(found.iter().all(|row| row.session == "run-1"));
    // Calls 1, 5, … 37, of which the fifth failed and the ninth has no known cost: in cents.
    let cents: i128 = (1..=39).filter(|n| n % 4 == 1 && *n != 5 && *n != 9).sum();
    assert_eq!(found.iter().map(sessions::SessionSums::cost).sum::<Total>(), Total::from_picos(cents * 10_000_000_000));
    assert_eq!(
        (of(&found, |row| row.completions), of(&found, |row| row.failures), of(&found, |row| row.unknown)),
        (9, 1, 1)
    );
    let early: Vec<_> = found.into_iter().filter(|row| row.app.as_deref() == Some("early")).collect();
    assert_eq!(of(&early, |row| row.completions + row.failures), 5);
    assert_eq!(early.iter().map(sessions::SessionSums::first).min(), Some(NOON.plus_millis(1_000)));
}

async fn a_call_has_its_neighbours_in_its_session(database: &Database) {
    let mut rows: Vec<Call> = (1..=39).map(call).collect();
    // Two at one instant are told apart by their IDs.
    rows[8].facts.created_at = rows[4].facts.created_at;
    rows[8].seen_at = rows[4].seen_at;
    save(database, &rows).await;
    let ids = |calls: Vec<Call>| calls.into_iter().map(|call| call.call_id).collect::<Vec<_>>();
    let store = &database.store;
    let all = ids(sessions::calls(store, "run-1", None, 100).await.unwrap());
    assert_eq!(all.len(), 10);
    let mut forth = all.clone();
    forth.reverse();
    for (place, row) in forth.iter().enumerate() {
        let (call, _) = calls::find(store, &row.to_string()).await.unwrap().unwrap();
        let at = Cursor::after(&call);
        let previous = ids(sessions::calls(store, "run-1", Some(at), 1).await.unwrap());
        let next = ids(sessions::later(store, "run-1", at, 1).await.unwrap());
        assert_eq!(previous.first(), place.checked_sub(1).map(|before| &forth[before]));
        assert_eq!(next.first(), forth.get(place + 1));
    }
}

async fn what_is_rare_is_found_behind_many_that_do_not_match(database: &Database) {
    // More than are looked through at once.
    let mut rows: Vec<Call> = (1..=20_300).map(settled).collect();
    for place in [2, 5, 20_250] {
        rows[place].attribution.app = Some("rare".to_owned());
    }
    for some in rows.chunks(5_000) {
        save(database, some).await;
    }
    let filter = CompletionFilter { app: Some("rare".to_owned()), ..CompletionFilter::default() };
    let found = calls::search(&database.store, &filter, None, 50).await.unwrap();
    let ids: Vec<_> = found.calls.iter().map(|call| call.call_id).collect();
    assert_eq!(ids, [20_250, 5, 2].map(|place| rows[place].call_id));
    assert_eq!(found.looked_to, None, "that was all there is");
    let first = calls::search(&database.store, &filter, None, 2).await.unwrap();
    let rest = calls::search(&database.store, &filter, first.calls.last().map(Cursor::after), 2).await.unwrap();
    assert_eq!(rest.calls.iter().map(|call| call.call_id).collect::<Vec<_>>(), ids[2..]);
}
