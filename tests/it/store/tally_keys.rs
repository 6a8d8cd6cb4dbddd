use tallyd::domain::attribution::Attribution;
use tallyd::domain::call::CallState;
use tallyd::domain::ids::KeyFingerprint;
use tallyd::domain::money::{Money, Total};
use tallyd::domain::tally_key::{TallyKey, TallyKeyId};
use tallyd::domain::time::{DAY_MS, Timestamp};
use tallyd::store::tally_keys::{self, Spend};

use super::calls::save;
use super::samples::{NOON, settled};
use super::{Database, on_both_engines};

on_both_engines! {
    a_key_with_every_field_and_one_with_hardly_any_survive
    an_id_makes_one_key
    pages_are_newest_first_and_what_is_held_begins_with_what_may_be_used
    uses_are_noted_together_and_never_go_back
    the_spend_of_keys_is_that_of_their_calls
}

fn key(n: u32) -> TallyKey {
    TallyKey {
        id: TallyKeyId::new(NOON.plus_millis(i64::from(n)), 1),
        fingerprint: KeyFingerprint::of(&format!("tally-{n:04}")),
        labels: Attribution::default(),
        upstream: "default".to_owned(),
        created_at: NOON.plus_millis(i64::from(n)),
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    }
}

async fn insert(database: &Database, key: &TallyKey) -> bool {
    let mut tx = database.store.write().await.unwrap();
    let new = tally_keys::insert(&mut tx, key).await.unwrap();
    tx.commit().await.unwrap();
    new
}

async fn one(database: &Database, key: &TallyKey) -> TallyKey {
    tally_keys::named(&database.store, &key.id.to_string(), "", 9).await.unwrap().remove(0)
}

async fn a_key_with_every_field_and_one_with_hardly_any_survive(database: &Database) {
    let mut full = key(1);
    full.labels = Attribution {
        app: Some("growth-bot".to_owned()),
        user: Some("üser".to_owned()),
        session: Some("s".to_owned()),
        tags: [("te\"am".to_owned(), "a, b".to_owned())].into(),
    };
    "growth".clone_into(&mut full.upstream);
    full.expires_at = Some(NOON.plus_millis(DAY_MS));
    for key in [&full, &key(2)] {
        assert!(insert(database, key).await);
        assert_eq!(one(database, key).await, *key);
    }
    let mut tx = database.store.write().await.unwrap();
    tally_keys::revoke(&mut tx, full.id, Timestamp(5)).await.unwrap();
    tally_keys::revoke(&mut tx, full.id, Timestamp(9)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(one(database, &full).await.revoked_at, Some(Timestamp(5)), "the first revocation counts");
    let named = |tail: &'static str| tally_keys::named(&database.store, "x", tail, 9);
    assert_eq!(named("0001").await.unwrap(), [], "a tail means keys that are not revoked");
    assert_eq!(named("0002").await.unwrap(), [key(2)]);
}

async fn an_id_makes_one_key(database: &Database) {
    let first = key(1);
    let second = TallyKey { fingerprint: KeyFingerprint::of("tally-other"), ..first.clone() };
    assert!(insert(database, &first).await);
    assert!(!insert(database, &second).await);
    assert_eq!(one(database, &first).await, first);
}

async fn pages_are_newest_first_and_what_is_held_begins_with_what_may_be_used(database: &Database) {
    for n in 0..5 {
        insert(database, &key(n)).await;
    }
    let mut tx = database.store.write().await.unwrap();
    for n in [1, 4] {
        tally_keys::revoke(&mut tx, key(n).id, NOON).await.unwrap();
    }
    tx.commit().await.unwrap();
    let ids = |keys: Vec<TallyKey>| keys.into_iter().map(|key| key.id).collect::<Vec<_>>();
    let numbers = |numbers: &[u32]| numbers.iter().map(|n| key(*n).id).collect::<Vec<_>>();
    let first = ids(tally_keys::page(&database.store, None, 3).await.unwrap());
    assert_eq!(first, numbers(&[4, 3, 2]));
    assert_eq!(ids(tally_keys::page(&database.store, Some(first[2]), 3).await.unwrap()), numbers(&[1, 0]));
    assert_eq!(ids(tally_keys::held(&database.store, 4).await.unwrap()), numbers(&[3, 2, 0, 4]));
}

async fn uses_are_noted_together_and_never_go_back(database: &Database) {
    for n in 0..3 {
        insert(database, &key(n)).await;
    }
    for uses in [[(0, 50), (1, 60)], [(0, 40), (1, 70)]] {
        let mut tx = database.store.write().await.unwrap();
        let uses = uses.map(|(n, at)| (key(n).id, Timestamp(at)));
        tally_keys::used(&mut tx, &uses).await.unwrap();
        tx.commit().await.unwrap();
    }
    for (n, at) in [(0, Some(50)), (1, Some(70)), (2, None)] {
        assert_eq!(one(database, &key(n)).await.last_used_at, at.map(Timestamp), "{n}");
    }
}

async fn the_spend_of_keys_is_that_of_their_calls(database: &Database) {
    let (mine, other, idle) = (key(1).id, key(2).id, key(3).id);
    let mut calls: Vec<_> = (1..=6).map(settled).collect();
    for call in &mut calls[..5] {
        call.tally_key = Some(mine);
    }
    // Three of $9.2 million would overflow 64 bits.
    for call in &mut calls[..3] {
        call.facts.settled_cost = Some(Money::from_picos(9_200_000_000_000_000_001));
    }
    calls[3].state = CallState::Failed;
    calls[3].facts.settled_cost = None;
    calls[4].state = CallState::Unsettled;
    calls[4].facts.settled_cost = None;
    calls[5].tally_key = Some(other);
    let mut old = settled(0);
    old.seen_at = NOON.plus_millis(-1);
    old.tally_key = Some(mine);
    calls.push(old);
    save(database, &calls).await;
    let spend = tally_keys::spend(&database.store, &[mine, idle], NOON).await.unwrap();
    let cost = Total::from_picos(3 * 9_200_000_000_000_000_001);
    assert_eq!(spend, [(mine, Spend { completions: 4, unknown: 1, cost })].into());
    assert!(tally_keys::spend(&database.store, &[], NOON).await.unwrap().is_empty());
}
