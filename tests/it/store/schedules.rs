//! Snoozes, signing keys, and which runs of a report were made.

use tallyd::domain::time::Timestamp;
use tallyd::store::alerts::{self, MailState};
use tallyd::store::reports::{self, PastRun, Run, Scheduled};
use tallyd::store::{outbox, signing, snoozes};

use super::outbox::{alert, message};
use super::samples::NOON;
use super::{Database, on_both_engines};

on_both_engines! {
    a_snooze_holds_until_its_end_or_until_it_is_ended
    what_a_snoozed_budget_reaches_is_told_as_such
    a_signing_key_is_made_once
    a_report_counts_from_when_it_stands_as_it_does
    a_run_is_made_once
}

fn at(ms: i64) -> Timestamp {
    NOON.plus_millis(ms)
}

async fn a_snooze_holds_until_its_end_or_until_it_is_ended(database: &Database) {
    let (growth, other) = ("growth".parse().unwrap(), "other".parse().unwrap());
    let mut tx = database.store.write().await.unwrap();
    assert_eq!(snoozes::active(&mut tx, &growth, at(0)).await.unwrap(), None);
    snoozes::begin(&mut tx, &growth, at(0), at(100)).await.unwrap();
    snoozes::begin(&mut tx, &growth, at(10), at(100)).await.unwrap();
    tx.commit().await.unwrap();
    let find = async |ms: i64| snoozes::find(&database.store, &growth, at(ms)).await.unwrap();
    assert_eq!(
        (find(-1).await, find(0).await, find(99).await, find(100).await),
        (None, Some(at(100)), Some(at(100)), None)
    );
    assert_eq!(snoozes::find(&database.store, &other, at(5)).await.unwrap(), None);
    let listed = snoozes::list(&database.store, at(50), 10).await.unwrap();
    assert_eq!(listed.len(), 1, "asked for twice, it is one");
    assert_eq!((listed[0].since, listed[0].until), (at(0), at(100)));
    let mut tx = database.store.write().await.unwrap();
    assert!(snoozes::end(&mut tx, &growth, at(60)).await.unwrap());
    assert!(!snoozes::end(&mut tx, &growth, at(61)).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!((find(59).await, find(60).await), (Some(at(100)), None), "what was is not changed");
    let mut tx = database.store.write().await.unwrap();
    snoozes::begin(&mut tx, &growth, at(70), at(200)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((find(65).await, find(150).await), (None, Some(at(200))));
}

async fn what_a_snoozed_budget_reaches_is_told_as_such(database: &Database) {
    let mut tx = database.store.write().await.unwrap();
    snoozes::begin(&mut tx, &"growth".parse().unwrap(), at(10), at(20)).await.unwrap();
    for (id, ms, recipients) in
        [("a", 5, &[][..]), ("b", 15, &[]), ("c", 16, &["x@example.com".to_owned()]), ("d", 20, &[])]
    {
        assert!(alerts::insert(&mut tx, &alert(id, ms), recipients).await.unwrap());
    }
    tx.commit().await.unwrap();
    let past = alerts::history(&database.store, None, None, 10).await.unwrap();
    let told: Vec<_> =
        past.iter().rev().map(|one| (one.alert.alert_id.as_str(), one.mail_state, one.snoozed)).collect();
    let (not, queued) = (MailState::NotMailed, MailState::Queued);
    assert_eq!(told, [("a", not, false), ("b", not, true), ("c", queued, false), ("d", not, false)]);
}

async fn a_signing_key_is_made_once(database: &Database) {
    let mut tx = database.store.write().await.unwrap();
    assert_eq!(signing::key(&mut tx, "links", "first", at(0)).await.unwrap(), "first");
    assert_eq!(signing::key(&mut tx, "links", "second", at(1)).await.unwrap(), "first");
    assert_eq!(signing::key(&mut tx, "others", "second", at(1)).await.unwrap(), "second");
    tx.commit().await.unwrap();
}

async fn a_report_counts_from_when_it_stands_as_it_does(database: &Database) {
    let sync = async |reports: &[(&str, &str, &str)], ms: i64| {
        let mut tx = database.store.write().await.unwrap();
        reports::sync(&mut tx, reports, at(ms)).await.unwrap();
        tx.commit().await.unwrap();
        let listed = reports::list(&database.store).await.unwrap();
        listed
            .into_iter()
            .map(|Scheduled { name, since, .. }| (name, since.millis() - NOON.millis()))
            .collect::<Vec<_>>()
    };
    let (daily, weekly) = (("daily", "0 8 * * *", "UTC"), ("weekly", "0 8 * * 1", "UTC"));
    let known = |list: &[(&str, i64)]| list.iter().map(|(name, ms)| ((*name).to_owned(), *ms)).collect::<Vec<_>>();
    assert_eq!(sync(&[daily, weekly], 0).await, known(&[("daily", 0), ("weekly", 0)]));
    assert_eq!(sync(&[daily, weekly], 5).await, known(&[("daily", 0), ("weekly", 0)]), "a restart changes nothing");
    assert_eq!(sync(&[("daily", "0 9 * * *", "UTC"), weekly], 6).await, known(&[("daily", 6), ("weekly", 0)]));
    assert_eq!(sync(&[("daily", "0 9 * * *", "Asia/Tokyo")], 7).await, known(&[("daily", 7)]));
    assert_eq!(sync(&[("daily", "0 9 * * *", "Asia/Tokyo"), weekly], 8).await, known(&[("daily", 7), ("weekly", 8)]));
    assert!(sync(&[], 9).await.is_empty());
}

async fn a_run_is_made_once(database: &Database) {
    let run = |scheduled: i64| Run {
        scheduled_at: at(scheduled),
        covers: (at(scheduled - 10), at(scheduled - 1)),
        made_at: at(scheduled + 1),
    };
    let mut tx = database.store.write().await.unwrap();
    reports::sync(&mut tx, &[("daily", "0 8 * * *", "UTC")], at(0)).await.unwrap();
    assert!(reports::note_run(&mut tx, "daily", &run(100)).await.unwrap());
    assert!(!reports::note_run(&mut tx, "daily", &run(100)).await.unwrap());
    assert!(reports::note_run(&mut tx, "daily", &run(200)).await.unwrap());
    for id in ["m1", "m2"] {
        outbox::create_message(&mut tx, &message(id, "x@example.com", 0), &[]).await.unwrap();
        reports::attach(&mut tx, "daily", at(200), id).await.unwrap();
    }
    outbox::mark_sent(&mut tx, "m1", at(201)).await.unwrap();
    outbox::mark_failed(&mut tx, "m2", "550").await.unwrap();
    tx.commit().await.unwrap();
    let listed = reports::list(&database.store).await.unwrap();
    assert_eq!(listed[0].last, Some((at(200), at(199))));
    let past = reports::history(&database.store, "daily", 10).await.unwrap();
    assert_eq!(
        past,
        [
            PastRun { run: run(200), messages: 2, sent: 1, failed: 1 },
            PastRun { run: run(100), messages: 0, sent: 0, failed: 0 },
        ]
    );
}
