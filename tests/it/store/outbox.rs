use std::sync::Arc;

use tallyd::domain::budget::Threshold;
use tallyd::domain::money::{Money, Total};
use tallyd::domain::time::Timestamp;
use tallyd::store::Tx;
use tallyd::store::alerts::{self, Alert, MailState};
use tallyd::store::outbox::{self, GATHER_MS, Message, MessageState, NextWork, OutboxCounts, Picture};

use super::samples::NOON;
use super::{Database, on_both_engines};

on_both_engines! {
    a_crossing_is_told_once
    what_concerns_one_recipient_within_five_seconds_is_one_mail
    a_message_is_leased_tried_again_and_sent
    a_message_waits_for_a_server_and_is_queued_again
    each_webhook_is_a_channel_of_its_own
    pictures_stay_beside_their_message
    a_crossing_tells_where_its_mail_stands
    what_old_messages_said_is_forgotten_and_what_became_of_them_is_not
    pages_of_crossings_and_messages_are_newest_first
}

const MINUTE: i64 = 60_000;

fn at(ms: i64) -> Timestamp {
    NOON.plus_millis(ms)
}

pub fn alert(id: &str, crossed_ms: i64) -> Alert {
    Alert {
        alert_id: id.to_owned(),
        budget: "growth".parse().unwrap(),
        value: "".into(),
        window_key: at(crossed_ms),
        window_start: NOON,
        window_end: None,
        threshold: Threshold::Percent(8_000),
        kind: "crossed".to_owned(),
        crossed_at: at(crossed_ms),
        limit: Money::from_usd(500).unwrap(),
        spent: Total::from_picos(400_000_000_000_001),
    }
}

pub fn message(id: &str, recipient: &str, created_ms: i64) -> Message {
    Message {
        message_id: id.to_owned(),
        recipient: recipient.to_owned(),
        subject: "growth has reached 80 %".to_owned(),
        text_body: "text".to_owned(),
        html_body: "<p>".to_owned(),
        payload: None,
        state: MessageState::Queued,
        attempts: 0,
        next_attempt: at(created_ms),
        last_error: None,
        created_at: at(created_ms),
        sent_at: None,
    }
}

async fn insert(tx: &mut Tx, alert: &Alert, recipients: &[&str]) -> bool {
    let recipients: Vec<String> = recipients.iter().map(|one| (*one).to_owned()).collect();
    alerts::insert(tx, alert, &recipients).await.unwrap()
}

async fn a_crossing_is_told_once(database: &Database) {
    let first = alert("a", 0);
    let mut tx = database.store.write().await.unwrap();
    assert!(insert(&mut tx, &first, &["x@example.com"]).await);
    let again = Alert { alert_id: "b".to_owned(), ..first.clone() };
    assert!(!insert(&mut tx, &again, &["x@example.com"]).await);
    let other_limit = Alert { alert_id: "c".to_owned(), limit: Money::from_usd(600).unwrap(), ..first.clone() };
    assert!(insert(&mut tx, &other_limit, &[]).await);
    let of_lena = Alert { alert_id: "d".to_owned(), value: "lena".into(), ..first.clone() };
    assert!(insert(&mut tx, &of_lena, &[]).await, "each value is told by itself");
    let none = Arc::from("");
    let told = alerts::told(&mut tx, &first.budget, &none, first.limit, first.window_key).await.unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].key.threshold, told[0].key.window_key, told[0].crossed_at), (first.threshold, NOON, NOON));
    assert!(alerts::told(&mut tx, &first.budget, &none, first.limit, at(1)).await.unwrap().is_empty());
    assert!(alerts::told(&mut tx, &"b".parse().unwrap(), &none, first.limit, NOON).await.unwrap().is_empty());
    tx.commit().await.unwrap();
}

async fn what_concerns_one_recipient_within_five_seconds_is_one_mail(database: &Database) {
    let mut tx = database.store.write().await.unwrap();
    insert(&mut tx, &alert("a", 0), &["x@example.com", "y@example.com"]).await;
    insert(&mut tx, &alert("b", GATHER_MS), &["x@example.com"]).await;
    insert(&mut tx, &alert("c", GATHER_MS + 1), &["x@example.com"]).await;
    tx.commit().await.unwrap();
    let next = outbox::next_work(&database.store).await.unwrap();
    assert_eq!(next, NextWork { compose: Some(at(GATHER_MS)), send: None });

    let mut tx = database.store.write().await.unwrap();
    assert!(outbox::composable(&mut tx, at(GATHER_MS - 1), 10).await.unwrap().is_empty());
    assert_eq!(outbox::composable(&mut tx, at(GATHER_MS), 1).await.unwrap().len(), 1);
    let ready = outbox::composable(&mut tx, at(GATHER_MS), 10).await.unwrap();
    let told: Vec<(&str, Vec<&str>)> = ready
        .iter()
        .map(|one| (one.recipient.as_str(), one.alerts.iter().map(|alert| alert.alert_id.as_str()).collect()))
        .collect();
    assert_eq!(told, [("x@example.com", vec!["a", "b"]), ("y@example.com", vec!["a"])]);
    assert_eq!(ready[0].alerts[0], alert("a", 0));

    assert!(outbox::create_message(&mut tx, &message("m1", "x@example.com", 0), &ready[0].alerts).await.unwrap());
    assert!(!outbox::create_message(&mut tx, &message("m1", "x@example.com", 0), &ready[0].alerts).await.unwrap());
    let rest = outbox::composable(&mut tx, at(GATHER_MS * 3), 10).await.unwrap();
    assert_eq!(rest.iter().map(|one| one.recipient.as_str()).collect::<Vec<_>>(), ["y@example.com", "x@example.com"]);
    tx.commit().await.unwrap();
    let counts = outbox::counts(&database.store).await.unwrap();
    assert_eq!(counts, OutboxCounts { uncomposed: 2, queued: 1, ..OutboxCounts::default() });
}

async fn lease(database: &Database, at_ms: i64) -> Vec<Message> {
    let mut tx = database.store.write().await.unwrap();
    let leased = outbox::lease_messages(&mut tx, at(at_ms), at(at_ms + MINUTE), 10).await.unwrap();
    tx.commit().await.unwrap();
    leased
}

async fn a_message_is_leased_tried_again_and_sent(database: &Database) {
    let mut tx = database.store.write().await.unwrap();
    outbox::create_message(&mut tx, &message("m1", "x@example.com", 0), &[]).await.unwrap();
    outbox::create_message(&mut tx, &message("m2", "y@example.com", 5), &[]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(outbox::next_work(&database.store).await.unwrap().send, Some(NOON));
    assert_eq!(lease(database, 0).await, [message("m1", "x@example.com", 0)]);
    assert_eq!(lease(database, 10).await, [message("m2", "y@example.com", 5)]);
    assert!(lease(database, 20).await.is_empty());
    assert_eq!(lease(database, 2 * MINUTE).await.len(), 2, "who leased them is gone");

    let mut tx = database.store.write().await.unwrap();
    outbox::mark_retry(&mut tx, "m1", at(10 * MINUTE), "421 busy").await.unwrap();
    outbox::mark_failed(&mut tx, "m2", "550 no such user").await.unwrap();
    tx.commit().await.unwrap();
    assert!(lease(database, 9 * MINUTE).await.is_empty());
    assert_eq!(outbox::next_work(&database.store).await.unwrap().send, Some(at(10 * MINUTE)));
    let again = lease(database, 10 * MINUTE).await.remove(0);
    assert_eq!((again.attempts, again.last_error.as_deref()), (1, Some("421 busy")));
    let mut tx = database.store.write().await.unwrap();
    outbox::mark_sent(&mut tx, "m1", at(10 * MINUTE)).await.unwrap();
    // What comes late of another process changes nothing.
    outbox::mark_retry(&mut tx, "m1", at(99 * MINUTE), "late").await.unwrap();
    outbox::mark_failed(&mut tx, "m1", "late").await.unwrap();
    tx.commit().await.unwrap();
    let sent = outbox::find(&database.store, "m1").await.unwrap().unwrap();
    assert_eq!((sent.state, sent.attempts, sent.last_error), (MessageState::Sent, 2, None));
    assert_eq!(sent.sent_at, Some(at(10 * MINUTE)));
    let failed = outbox::find(&database.store, "m2").await.unwrap().unwrap();
    assert_eq!((failed.state, failed.last_error.as_deref()), (MessageState::Failed, Some("550 no such user")));
    assert_eq!(outbox::next_work(&database.store).await.unwrap(), NextWork::default());
    let counts = outbox::counts(&database.store).await.unwrap();
    assert_eq!(counts, OutboxCounts { sent: 1, failed: 1, ..OutboxCounts::default() });
}

async fn a_message_waits_for_a_server_and_is_queued_again(database: &Database) {
    let waiting = Message { state: MessageState::Waiting, ..message("m1", "x@example.com", 0) };
    let mut tx = database.store.write().await.unwrap();
    outbox::create_message(&mut tx, &waiting, &[]).await.unwrap();
    tx.commit().await.unwrap();
    assert!(lease(database, MINUTE).await.is_empty());
    let mut tx = database.store.write().await.unwrap();
    assert_eq!(outbox::set_channels(&mut tx, &["mail".to_owned()], at(MINUTE)).await.unwrap(), 1);
    tx.commit().await.unwrap();
    assert_eq!(lease(database, MINUTE).await.len(), 1);
    let mut tx = database.store.write().await.unwrap();
    assert_eq!(outbox::set_channels(&mut tx, &[], at(MINUTE)).await.unwrap(), 1);
    let queued = MessageState::Queued;
    assert!(outbox::requeue(&mut tx, "m1", queued, at(2 * MINUTE)).await.unwrap());
    assert!(!outbox::requeue(&mut tx, "m1", queued, at(2 * MINUTE)).await.unwrap(), "it is queued already");
    assert!(!outbox::requeue(&mut tx, "none", queued, at(2 * MINUTE)).await.unwrap());
    tx.commit().await.unwrap();
    assert!(lease(database, MINUTE + 1).await.is_empty());
    assert_eq!(lease(database, 2 * MINUTE + 1).await.len(), 1);
    let mut tx = database.store.write().await.unwrap();
    outbox::mark_retry(&mut tx, "m1", at(3 * MINUTE), "421").await.unwrap();
    outbox::mark_failed(&mut tx, "m1", "550").await.unwrap();
    assert!(outbox::requeue(&mut tx, "m1", MessageState::Waiting, at(4 * MINUTE)).await.unwrap());
    tx.commit().await.unwrap();
    let again = outbox::find(&database.store, "m1").await.unwrap().unwrap();
    assert_eq!((again.state, again.attempts), (MessageState::Waiting, 0), "its tries begin anew");
    assert_eq!(again.last_error.as_deref(), Some("550"), "what was said stays until it is taken");
}

async fn each_webhook_is_a_channel_of_its_own(database: &Database) {
    let payload = Some("{\"type\":\"budget.alert\"}".to_owned());
    let mut tx = database.store.write().await.unwrap();
    for (id, recipient) in [("m1", "x@example.com"), ("m2", "webhook:ops"), ("m3", "webhook:team")] {
        let message = Message { payload: payload.clone(), ..message(id, recipient, 0) };
        outbox::create_message(&mut tx, &message, &[]).await.unwrap();
    }
    assert_eq!(outbox::set_channels(&mut tx, &["webhook:ops".to_owned()], at(1)).await.unwrap(), 2);
    tx.commit().await.unwrap();
    let [leased] = lease(database, MINUTE).await.try_into().unwrap();
    assert_eq!((leased.message_id.as_str(), &leased.payload), ("m2", &payload));
    let mut tx = database.store.write().await.unwrap();
    let all = ["mail", "webhook:ops", "webhook:team"].map(str::to_owned);
    assert_eq!(outbox::set_channels(&mut tx, &all, at(2)).await.unwrap(), 2);
    assert_eq!(outbox::set_channels(&mut tx, &all, at(3)).await.unwrap(), 0, "nothing moves twice");
    tx.commit().await.unwrap();
    let counts = outbox::counts(&database.store).await.unwrap();
    assert_eq!((counts.queued, counts.waiting), (3, 0));
}

async fn pictures_stay_beside_their_message(database: &Database) {
    let picture = |id: &str, byte: u8| Picture { content_id: id.to_owned(), png: vec![byte, 0, 255] };
    let mut tx = database.store.write().await.unwrap();
    outbox::create_message(&mut tx, &message("m1", "x@example.com", 0), &[]).await.unwrap();
    for one in [picture("b", 1), picture("a", 2), picture("b", 1)] {
        outbox::add_picture(&mut tx, "m1", &one).await.unwrap();
    }
    tx.commit().await.unwrap();
    assert_eq!(outbox::pictures(&database.store, "m1").await.unwrap(), [picture("a", 2), picture("b", 1)]);
    assert!(outbox::pictures(&database.store, "m2").await.unwrap().is_empty());
}

async fn a_crossing_tells_where_its_mail_stands(database: &Database) {
    let mut tx = database.store.write().await.unwrap();
    insert(&mut tx, &alert("a", 0), &["x@example.com", "y@example.com"]).await;
    insert(&mut tx, &alert("b", 1), &[]).await;
    tx.commit().await.unwrap();
    let states = async || {
        let past = alerts::history(&database.store, None, None, 10).await.unwrap();
        assert_eq!(past[1].alert, alert("a", 0));
        (past[0].mail_state, past[1].mail_state, past[1].sent_at)
    };
    assert_eq!(states().await, (MailState::NotMailed, MailState::Queued, None));
    let mut tx = database.store.write().await.unwrap();
    outbox::create_message(&mut tx, &message("mx", "x@example.com", 0), &[alert("a", 0)]).await.unwrap();
    outbox::create_message(&mut tx, &message("my", "y@example.com", 0), &[alert("a", 0)]).await.unwrap();
    outbox::mark_failed(&mut tx, "mx", "550").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(states().await.1, MailState::Queued, "one is still on its way");
    let mut tx = database.store.write().await.unwrap();
    outbox::mark_failed(&mut tx, "my", "550").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(states().await.1, MailState::Failed);
    let mut tx = database.store.write().await.unwrap();
    outbox::mark_sent(&mut tx, "mx", at(7)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(states().await, (MailState::NotMailed, MailState::Partly, Some(at(7))));
    let mut tx = database.store.write().await.unwrap();
    outbox::mark_sent(&mut tx, "my", at(9)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(states().await, (MailState::NotMailed, MailState::Sent, Some(at(9))));
    let table = super::console::ask(database, "SELECT * FROM alert_history ORDER BY crossed_at").await;
    assert_eq!(table.rows.len(), 2, "one row a crossing, however many recipients");
}

async fn pages_of_crossings_and_messages_are_newest_first(database: &Database) {
    let mut tx = database.store.write().await.unwrap();
    for (n, id) in (0..).zip(["a", "b", "c", "d"]) {
        insert(&mut tx, &alert(id, n / 2), &[]).await;
        let other = Alert { budget: "other".parse().unwrap(), ..alert(&format!("o{id}"), 0) };
        insert(&mut tx, &Alert { window_key: at(n), ..other }, &[]).await;
        outbox::create_message(&mut tx, &message(id, "x@example.com", n / 2), &[]).await.unwrap();
    }
    tx.commit().await.unwrap();
    let growth = "growth".parse().unwrap();
    let first = alerts::history(&database.store, Some(&growth), None, 3).await.unwrap();
    let ids = |past: &[alerts::PastAlert]| past.iter().map(|one| one.alert.alert_id.clone()).collect::<Vec<_>>();
    // Two that share their window, threshold and limit are one.
    assert_eq!(ids(&first), ["c", "a"]);
    let rest =
        alerts::history(&database.store, Some(&growth), Some((first[0].alert.crossed_at, "c")), 3).await.unwrap();
    assert_eq!(ids(&rest), ["a"]);
    assert_eq!(alerts::history(&database.store, None, None, 10).await.unwrap().len(), 6);
    let first = outbox::page(&database.store, None, 3).await.unwrap();
    assert_eq!(first.iter().map(|one| one.message_id.as_str()).collect::<Vec<_>>(), ["d", "c", "b"]);
    let rest = outbox::page(&database.store, Some((first[2].created_at, "b")), 3).await.unwrap();
    assert_eq!(rest, [message("a", "x@example.com", 0)]);
    assert_eq!(outbox::find(&database.store, "none").await.unwrap(), None);
}

async fn what_old_messages_said_is_forgotten_and_what_became_of_them_is_not(database: &Database) {
    let mut tx = database.store.write().await.unwrap();
    let picture = |content_id: &str| Picture { content_id: content_id.to_owned(), png: vec![1, 2, 3] };
    for (id, created) in [("sent", 0), ("given-up", 1), ("under-way", 2), ("young", 10 * MINUTE)] {
        assert!(outbox::create_message(&mut tx, &message(id, "x@example.com", created), &[]).await.unwrap());
        outbox::add_picture(&mut tx, id, &picture("burn")).await.unwrap();
    }
    outbox::mark_sent(&mut tx, "sent", at(5)).await.unwrap();
    outbox::mark_failed(&mut tx, "given-up", "550 no such user").await.unwrap();
    outbox::mark_sent(&mut tx, "young", at(10 * MINUTE)).await.unwrap();
    assert_eq!(outbox::forget(&mut tx, at(MINUTE), 1).await.unwrap(), 1);
    assert_eq!(outbox::forget(&mut tx, at(MINUTE), 10).await.unwrap(), 1);
    assert_eq!(outbox::forget(&mut tx, at(MINUTE), 10).await.unwrap(), 0);
    assert!(
        !outbox::requeue(&mut tx, "given-up", MessageState::Queued, at(MINUTE)).await.unwrap(),
        "there is nothing to send"
    );
    tx.commit().await.unwrap();
    for (id, state, kept) in [
        ("sent", MessageState::Sent, false),
        ("given-up", MessageState::Failed, false),
        ("under-way", MessageState::Queued, true),
        ("young", MessageState::Sent, true),
    ] {
        let found = outbox::find(&database.store, id).await.unwrap().unwrap();
        assert_eq!(
            (found.state, !found.text_body.is_empty(), !found.html_body.is_empty()),
            (state, kept, kept),
            "{id}"
        );
        assert_eq!(outbox::pictures(&database.store, id).await.unwrap().len(), usize::from(kept), "{id}");
        assert_eq!(found.subject, "growth has reached 80 %");
    }
}
