//! Reports on a schedule: each run made once, whatever restarts and other daemons come between.

use std::sync::Arc;
use std::time::Duration;

use tallyd::alert::digest::{Digests, preview};
use tallyd::domain::digest::Report;
use tallyd::domain::schedule::Schedule;
use tallyd::domain::time::Timestamp;
use tallyd::store::outbox::{self, MessageState};
use tallyd::store::{Store, reports};

use super::scene::{START, Scene, budget};

fn report(name: &str, schedule: &str) -> Report {
    let schedule = Schedule::parse(schedule, chrono_tz::Europe::Berlin).unwrap();
    let notify = vec!["lena@example.com".to_owned(), "team@example.com".to_owned()];
    Report { name: name.to_owned(), schedule, notify }
}

fn digests(scene: &Scene, store: &Store, reports: &[Report]) -> Digests {
    Digests {
        store: store.clone(),
        clock: scene.clock.clone(),
        reports: reports.into(),
        dashboard_url: "http://127.0.0.1:7117".to_owned(),
        domain: "example.com".to_owned(),
        channels: ["mail".to_owned()].into(),
        wakes: Arc::default(),
    }
}

fn set(scene: &Scene, at: &str) {
    let wanted = Timestamp::parse(at).unwrap().millis();
    let step = u64::try_from(wanted - scene.clock.now().millis()).unwrap();
    scene.clock.advance(Duration::from_millis(step));
}

/// A scene with two weeks of calls; it is Thu 19 Nov 2026, 11:47 in Berlin.
async fn weeks() -> Scene {
    let scene = Scene::new(&[budget("bot", &["lena@example.com"])]).await;
    for (app, model, cost, at) in [
        ("bot", "openai/gpt-4o", "50.00", "2026-11-10T08:00:00Z"),
        ("bot", "openai/gpt-4o", "60.00", "2026-11-17T08:00:00Z"),
        ("bot", "google/gemini-2.5-flash", "9.75", "2026-11-19T09:00:00Z"),
        ("web", "openai/gpt-4o", "30.25", "2026-11-20T10:00:00Z"),
        ("web", "openai/gpt-4o", "7.00", "2026-11-23T10:00:00Z"),
    ] {
        scene.call(app, model, cost, at).await;
    }
    scene
}

#[tokio::test]
async fn a_run_is_mailed_once_to_each_and_says_what_was_spent() {
    let scene = weeks().await;
    let weekly = report("weekly", "0 8 * * mon");
    let ours = digests(&scene, &scene.store, std::slice::from_ref(&weekly));
    ours.announce().await.unwrap();
    assert_eq!(ours.make_due().await.unwrap(), 0, "last Monday's is not made up for: it did not stand then");
    set(&scene, "2026-11-23T06:59:59Z");
    assert_eq!(ours.make_due().await.unwrap(), 0);
    set(&scene, "2026-11-23T07:00:05Z");
    assert_eq!(ours.make_due().await.unwrap(), 1);
    assert_eq!(ours.make_due().await.unwrap(), 0);
    // A restart, and another daemon on the same database.
    let other = digests(&scene, &scene.store, std::slice::from_ref(&weekly));
    other.announce().await.unwrap();
    assert_eq!(other.make_due().await.unwrap(), 0);
    let messages = scene.messages().await;
    let told: Vec<&str> = messages.iter().map(|message| message.recipient.as_str()).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    let mail = &messages[0];
    assert!(mail.message_id.starts_with("report.") && mail.message_id.ends_with("@example.com"));
    assert_eq!(
        (mail.subject.as_str(), mail.state),
        ("weekly: $100.00 in 16–22 Nov, +100 % against 9–15 Nov", MessageState::Queued)
    );
    for line in [
        "weekly: 16–22 Nov (Europe/Berlin)",
        "$100.00 (+100 % against 9–15 Nov: $50.00)",
        "3 completions, 0 failures.",
        "  Tue 17 Nov  [########################################]      $60.00",
        "  Wed 18 Nov  [........................................]       $0.00",
        "WHAT DRIVES IT (16–22 Nov against 9–15 Nov)",
        "  openai/gpt-4o                          +$40.25     $50.00 ->    $90.25",
        "  google/gemini-2.5-flash                 +$9.75      $0.00 ->     $9.75",
        "  all                                    +$50.00     $50.00 ->   $100.00",
        "BUDGETS",
        "Sent on the schedule \"0 8 * * 1\", to",
    ] {
        let line = line.replace("0 8 * * 1", &weekly.schedule.to_string());
        assert!(mail.text_body.contains(&line), "{line} in\n{}", mail.text_body);
    }
    assert!(!mail.text_body.contains("It was due"));
    assert!(
        mail.html_body.contains("$100.00") && mail.html_body.contains(">new<") && !mail.html_body.contains("<script")
    );
    let runs = reports::history(&scene.store, "weekly", 10).await.unwrap();
    assert_eq!((runs.len(), runs[0].messages, runs[0].sent), (1, 2, 0));
    let _running = scene.deliver();
    scene.until_all(MessageState::Sent).await;
    assert_eq!(scene.server.received().len(), 2);
    assert_eq!(reports::history(&scene.store, "weekly", 10).await.unwrap()[0].sent, 2);
}

#[tokio::test]
async fn two_daemons_that_look_at_once_make_one_run() {
    let scene = weeks().await;
    let daily = report("daily", "0 8 * * *");
    let (one, two) =
        (digests(&scene, &scene.store, std::slice::from_ref(&daily)), digests(&scene, &scene.store, &[daily]));
    one.announce().await.unwrap();
    set(&scene, "2026-11-20T07:00:00Z");
    let (one, two) = tokio::join!(one.make_due(), two.make_due());
    assert_eq!(one.unwrap() + two.unwrap(), 1);
    assert_eq!(scene.messages().await.len(), 2);
}

#[tokio::test]
async fn runs_that_were_missed_are_made_up_for_by_one() {
    let scene = weeks().await;
    let daily = report("daily", "0 8 * * *");
    let ours = digests(&scene, &scene.store, &[daily]);
    ours.announce().await.unwrap();
    set(&scene, "2026-11-20T07:00:00Z");
    assert_eq!(ours.make_due().await.unwrap(), 1);
    // Down from Friday noon to Monday afternoon: three runs are missed.
    set(&scene, "2026-11-23T14:00:00Z");
    ours.announce().await.unwrap();
    assert_eq!(ours.make_due().await.unwrap(), 1);
    assert_eq!(ours.make_due().await.unwrap(), 0);
    let messages = scene.messages().await;
    assert_eq!(messages.len(), 4);
    let late = messages.last().unwrap();
    assert!(late.subject.starts_with("daily: $30.25 in 20–22 Nov"), "{}", late.subject);
    let text = late.text_body.replace('\n', " ");
    assert!(text.contains("It was due on Mon 23 Nov 08:00."), "{text}");
    let runs = reports::history(&scene.store, "daily", 10).await.unwrap();
    assert_eq!(runs[0].run.covers.0, runs[1].run.covers.1, "no gap and nothing twice");
    set(&scene, "2026-11-24T07:00:00Z");
    assert_eq!(ours.make_due().await.unwrap(), 1);
    assert!(scene.messages().await.last().unwrap().subject.starts_with("daily: $7.00 in 23 Nov"));
}

#[tokio::test]
async fn a_report_that_is_taken_out_and_put_back_does_not_make_up_for_its_absence() {
    let scene = weeks().await;
    let daily = report("daily", "0 8 * * *");
    let with = digests(&scene, &scene.store, std::slice::from_ref(&daily));
    let without = digests(&scene, &scene.store, &[]);
    with.announce().await.unwrap();
    without.announce().await.unwrap();
    set(&scene, "2026-11-23T14:00:00Z");
    assert_eq!(without.make_due().await.unwrap(), 0);
    with.announce().await.unwrap();
    assert_eq!(with.make_due().await.unwrap(), 0);
    set(&scene, "2026-11-24T07:00:00Z");
    assert_eq!(with.make_due().await.unwrap(), 1);
}

#[tokio::test]
async fn a_look_at_a_report_sends_nothing() {
    let scene = weeks().await;
    let seen = preview(&scene.store, &report("daily", "0 8 * * *"), START, "http://127.0.0.1:7117").await.unwrap();
    assert_eq!(seen.subject, "daily: $0.00 in 18 Nov");
    assert!(outbox::page(&scene.store, None, 10).await.unwrap().is_empty());
    let hourly = report("hourly", "0 */6 * * *");
    let seen = preview(&scene.store, &hourly, START, "http://127.0.0.1:7117").await.unwrap();
    assert!(seen.subject.starts_with("hourly: $0.00 in Thu 19 Nov 00:00–06:00"), "{}", seen.subject);
}
