//! Settling: a real database, real HTTP, a clock that the test steps.

mod scene;
mod upstream;

use std::time::Duration;

use tallyd::domain::call::CallState;
use tallyd::domain::flags;
use tallyd::domain::money::Money;
use tallyd::domain::observation::Reading;
use tallyd::domain::settling::KEY_NOT_HELD;
use tallyd::settle::give_up_parked;
use tallyd::store::settlements;
use tokio_util::sync::CancellationToken;

use scene::{DEFAULT_KEY, Options, Scene, TIMEOUT, keyring};
use upstream::Answer;

/// Longest real time a test waits for something that should come at once.
const PATIENCE: Duration = Duration::from_mins(1);

#[expect(clippy::disallowed_methods, reason = "a test's own deadline runs on the system's clock")]
async fn soon<F: Future>(work: F) -> F::Output {
    tokio::time::timeout(PATIENCE, work).await.expect("it did not come in time")
}

#[expect(clippy::disallowed_methods, reason = "what a test spawns ends with its runtime")]
fn spawn(work: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
    tokio::spawn(work)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test]
async fn a_record_that_is_not_there_yet_is_asked_for_again_and_then_settles_its_row() {
    let mut scene = Scene::new(Options::default()).await;
    scene.upstream.script("gen-1", [Answer::status(404), Answer::status(404), Answer::record("0.0000057915", 15)]);
    let call = scene.told("gen-1", None).await;
    let settler = scene.settle();
    for step in 1..=2 {
        let (reading, row) = scene.at_due(call).await;
        assert_eq!(reading, Reading::NotYet);
        assert_eq!((row.state, row.settling.step), (CallState::Pending, step));
    }
    let (_, row) = scene.at_due(call).await;
    assert_eq!(row.state, CallState::Settled);
    assert_eq!(row.facts.settled_cost, Some(Money::from_picos(5_791_500)));
    let at: Vec<u64> = scene.upstream.questions().iter().map(|question| question.at.as_secs()).collect();
    assert_eq!(at, [1, 3, 8], "first after 1 s, then 2, then 5");
    assert!(scene.upstream.questions().iter().all(|question| question.key == DEFAULT_KEY));
    scene.stop.cancel();
    soon(settler).await.unwrap();
}

#[tokio::test]
async fn readings_that_fail_are_repeated_on_their_rung_and_say_why() {
    let mut scene = Scene::new(Options::default()).await;
    let answers = [
        (Answer::status(500), "OpenRouter answers HTTP 500"),
        (Answer::status(524), "OpenRouter answers HTTP 524"),
        (Answer::body("<html>busy</html>"), "OpenRouter answered with no JSON object"),
        (Answer::body("{\"data\":{\"total_"), "OpenRouter answered with no JSON object"),
        (Answer::body("{\"data\":{}}"), "the record names no cost"),
        (Answer::status(403), "OpenRouter refuses the key (HTTP 403)"),
        (Answer::status(402), "OpenRouter says the account is out of credit (HTTP 402)"),
    ];
    let script = answers.iter().map(|(answer, _)| answer.clone()).chain([Answer::record("0.5", 1)]);
    scene.upstream.script("gen-1", script);
    let call = scene.told("gen-1", None).await;
    let _settler = scene.settle();
    for (_, expected) in &answers {
        let (_, row) = scene.at_due(call).await;
        assert_eq!(row.settling.reason.as_deref(), Some(*expected));
        assert_eq!((row.state, row.settling.step), (CallState::Pending, 0));
    }
    let (_, row) = scene.at_due(call).await;
    assert_eq!((row.state, row.settling.attempts, row.settling.reason), (CallState::Settled, 8, None));
}

#[tokio::test]
async fn an_answer_that_never_comes_is_waited_for_no_longer_than_its_timeout() {
    let mut scene = Scene::new(Options::default()).await;
    scene.upstream.script("gen-1", [Answer::Hang, Answer::record("0.5", 1)]);
    let call = scene.told("gen-1", None).await;
    let _settler = scene.settle();
    scene.clock.advance(secs(1));
    scene.upstream.asked(1).await;
    scene.pass(TIMEOUT).await;
    let (_, row) = scene.next().await;
    assert_eq!(row.settling.reason.as_deref(), Some("OpenRouter did not answer within 20 s"));
    let (_, row) = scene.at_due(call).await;
    assert_eq!(row.state, CallState::Settled);
}

#[tokio::test]
async fn a_key_that_is_told_to_slow_down_pauses_as_a_whole_and_the_others_go_on() {
    let mut scene = Scene::new(Options { rate_per_second: 4, ..Options::default() }).await;
    scene.keys.hold(scene.keys.bring("sk-or-v1-other").1.unwrap());
    for n in 0..4 {
        scene.upstream.script(&format!("gen-slow{n}"), [Answer::slow_down(429, "30"), Answer::record("0.1", 1)]);
        scene.told(&format!("gen-slow{n}"), Some(DEFAULT_KEY)).await;
    }
    let _settler = scene.settle();
    scene.clock.advance(secs(1));
    let (reading, row) = scene.next().await;
    assert!(matches!(reading, Reading::Failed { retry_after_ms: Some(30_000), .. }), "{reading:?}");
    assert_eq!(row.settling.due, Some(scene.clock.now().plus_millis(30_000)));
    // The other rows of this key are due, and two were leased with the first: none of them is asked for.
    scene.pass(secs(10)).await;
    scene.upstream.script("gen-other", [Answer::record("0.2", 1)]);
    let other = scene.told("gen-other", Some("sk-or-v1-other")).await;
    let (_, row) = scene.at_due(other).await;
    assert_eq!(row.state, CallState::Settled, "another key's row does not wait behind them");
    scene.pass(secs(18)).await;
    assert_eq!(scene.upstream.questions().len(), 2, "{:?}", scene.upstream.questions());
    scene.asked(3).await;
    assert!(scene.upstream.questions()[2].at >= secs(31));
}

#[tokio::test]
async fn a_key_that_is_refused_pauses_and_its_rows_wait() {
    let mut scene = Scene::new(Options::default()).await;
    for n in 0..3 {
        scene.upstream.script(&format!("gen-{n}"), [Answer::status(401), Answer::record("0.1", 1)]);
    }
    let call = scene.told("gen-0", Some(DEFAULT_KEY)).await;
    let _settler = scene.settle();
    let (_, row) = scene.at_due(call).await;
    assert_eq!(row.settling.reason.as_deref(), Some("OpenRouter refuses the key (HTTP 401)"));
    scene.told("gen-1", Some(DEFAULT_KEY)).await;
    scene.told("gen-2", None).await;
    scene.pass(secs(55)).await;
    assert_eq!(scene.upstream.questions().len(), 1, "no row, with the key's fingerprint or without, asks meanwhile");
    scene.asked(3).await;
}

#[tokio::test]
async fn zero_is_believed_at_the_third_equal_reading_and_flagged() {
    let mut scene = Scene::new(Options::default()).await;
    scene.upstream.script("gen-1", [Answer::record("0", 0)]);
    let call = scene.told("gen-1", None).await;
    let _settler = scene.settle();
    for _ in 0..2 {
        let (_, row) = scene.at_due(call).await;
        assert_eq!((row.state, row.cost()), (CallState::Pending, None), "unknown is unknown, never $0");
    }
    let (_, row) = scene.at_due(call).await;
    assert_eq!((row.state, row.cost()), (CallState::Settled, Some(Money::ZERO)));
    assert!(row.flags.contains(flags::ZERO_RECORD));
    let at: Vec<u64> = scene.upstream.questions().iter().map(|question| question.at.as_secs()).collect();
    assert_eq!(at, [1, 11, 21]);
}

#[tokio::test]
async fn a_row_is_read_with_the_key_that_made_it_and_told_rows_with_the_default_one() {
    let mut scene = Scene::new(Options::default()).await;
    scene.keys.hold(scene.keys.bring("sk-or-v1-own").1.unwrap());
    for id in ["gen-own", "gen-told"] {
        scene.upstream.script(id, [Answer::record("0.1", 1)]);
    }
    scene.told("gen-own", Some("sk-or-v1-own")).await;
    scene.told("gen-told", None).await;
    let _settler = scene.settle();
    scene.clock.advance(secs(1));
    scene.next().await;
    scene.pass(secs(1)).await;
    scene.next().await;
    let mut asked: Vec<(String, String)> =
        scene.upstream.questions().into_iter().map(|question| (question.id, question.key)).collect();
    asked.sort();
    let expected = [("gen-own", "sk-or-v1-own"), ("gen-told", DEFAULT_KEY)];
    assert_eq!(asked, expected.map(|(id, key)| (id.to_owned(), key.to_owned())));
}

#[tokio::test]
async fn rows_whose_key_nobody_holds_are_parked_and_resume_when_it_comes() {
    let mut scene = Scene::new(Options::default()).await;
    scene.keys = keyring(&[]);
    for id in ["gen-own", "gen-told"] {
        scene.upstream.script(id, [Answer::record("0.1", 1)]);
    }
    let own = scene.told("gen-own", Some("sk-or-v1-own")).await;
    let told = scene.told("gen-told", None).await;
    let settler = scene.settle();
    for call in [own, told] {
        let row = scene.row_where(call, |row| row.settling.reason.as_deref() == Some(KEY_NOT_HELD)).await;
        assert_eq!((row.state, row.settling.due), (CallState::Pending, None));
    }
    scene.pass(secs(100)).await;
    assert!(scene.upstream.questions().is_empty());
    // A caller brings the one key; nobody else says so.
    scene.keys.hold(scene.keys.bring("sk-or-v1-own").1.unwrap());
    scene.pass(secs(1)).await;
    let (_, row) = scene.next().await;
    assert_eq!((row.call_id, row.state, row.settling.reason), (own, CallState::Settled, None));
    // The other is configured, and the daemon started anew.
    scene.stop.cancel();
    soon(settler).await.unwrap();
    scene.keys = keyring(&[("default", DEFAULT_KEY)]);
    scene.stop = CancellationToken::new();
    let _settler = scene.settle();
    let (_, row) = scene.next().await;
    assert_eq!((row.call_id, row.state), (told, CallState::Settled));
}

#[tokio::test]
async fn rows_whose_key_never_comes_are_given_up_after_thirty_days() {
    let mut scene = Scene::new(Options::default()).await;
    scene.keys = keyring(&[]);
    let call = scene.told("gen-own", Some("sk-or-v1-own")).await;
    let settler = scene.settle();
    scene.row_where(call, |row| row.settling.reason.as_deref() == Some(KEY_NOT_HELD)).await;
    scene.stop.cancel();
    soon(settler).await.unwrap();
    let sink = scene.sink();
    scene.clock.advance(secs(30 * 86_400 - 10));
    assert_eq!(give_up_parked(&scene.store, &sink, &scene.clock).await.unwrap(), 0);
    scene.clock.advance(secs(20));
    assert_eq!(give_up_parked(&scene.store, &sink, &scene.clock).await.unwrap(), 1);
    let (_, row) = scene.next().await;
    assert_eq!((row.state, row.cost()), (CallState::Unsettled, None));
}

#[tokio::test]
async fn a_record_that_never_comes_is_given_up_and_its_cost_stays_unknown() {
    let mut scene = Scene::new(Options::default()).await;
    let call = scene.told("gen-1", None).await;
    let _settler = scene.settle();
    let mut readings = 0;
    let row = loop {
        let (reading, row) = scene.at_due(call).await;
        assert_eq!(reading, Reading::NotYet);
        readings += 1;
        if row.state != CallState::Pending {
            break row;
        }
    };
    assert_eq!((row.state, row.cost(), row.settling.due), (CallState::Unsettled, None, None));
    assert!((70..90).contains(&readings), "{readings}");
    let last = scene.upstream.questions().pop().unwrap();
    assert_eq!(last.at, secs(72 * 3600), "the last reading is made when giving up is due");
}

#[tokio::test]
async fn the_rate_is_kept_whatever_is_due() {
    let mut scene = Scene::new(Options { rate_per_second: 20, ..Options::default() }).await;
    for n in 0..60 {
        scene.upstream.script(&format!("gen-{n}"), [Answer::record("0.1", 1)]);
        scene.told(&format!("gen-{n}"), None).await;
    }
    let _settler = scene.settle();
    scene.clock.advance(secs(2));
    for _ in 0..60 {
        scene.next().await;
        scene.pass(Duration::from_millis(50)).await;
    }
    let at: Vec<Duration> = scene.upstream.questions().iter().map(|question| question.at).collect();
    for second in at.windows(21) {
        assert!(second[0] + secs(1) <= second[20], "more than 20 within a second: {second:?}");
    }
    assert!(*at.last().unwrap() <= secs(2 + 4), "and the rate is used: {:?}", at.last());
}

#[tokio::test]
async fn no_more_is_read_at_once_than_allowed() {
    let mut scene = Scene::new(Options { concurrency: 3, ..Options::default() }).await;
    for n in 0..8 {
        scene.upstream.script(&format!("gen-{n}"), [Answer::Hang, Answer::record("0.1", 1)]);
        scene.told(&format!("gen-{n}"), None).await;
    }
    let _settler = scene.settle();
    scene.asked(3).await;
    scene.pass(secs(5)).await;
    assert_eq!(scene.upstream.questions().len(), 3);
    scene.upstream.let_go();
    for _ in 0..8 {
        let (reading, _) = scene.next().await;
        assert!(matches!(reading, Reading::Failed { .. }), "{reading:?}");
        scene.pass(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_locked_database_is_waited_for() {
    let mut scene = Scene::new(Options { busy_timeout: Duration::from_millis(20), ..Options::default() }).await;
    scene.upstream.script("gen-1", [Answer::record("0.1", 1)]);
    let call = scene.told("gen-1", None).await;
    let lock = scene.store.write().await.unwrap();
    let _settler = scene.settle();
    for _ in 0..40 {
        scene.clock.advance(Duration::from_millis(500));
        // The lock keeps nobody from reading, which takes as long as the settler's own trips.
        settlements::backlog(&scene.store, scene.clock.now()).await.unwrap();
    }
    assert!(scene.no_reading_waits());
    lock.rollback().await.unwrap();
    scene.asked(1).await;
    let (_, row) = scene.next().await;
    assert_eq!((row.call_id, row.state), (call, CallState::Settled));
}

#[tokio::test]
async fn leases_of_a_dead_daemon_do_not_keep_its_rows_waiting() {
    let mut scene = Scene::new(Options::default()).await;
    scene.upstream.script("gen-1", [Answer::Hang, Answer::record("0.1", 1)]);
    let call = scene.told("gen-1", None).await;
    let first = scene.settle();
    scene.clock.advance(secs(1));
    scene.upstream.asked(1).await;
    first.abort();
    assert!(soon(first).await.unwrap_err().is_cancelled());
    let _second = scene.settle();
    let (_, row) = scene.next().await;
    assert_eq!((row.call_id, row.state), (call, CallState::Settled));
    assert_eq!(scene.upstream.questions()[1].at, secs(1));
}

#[tokio::test]
async fn stopping_finishes_what_is_under_way_and_gives_back_the_rest() {
    let mut scene = Scene::new(Options { concurrency: 2, rate_per_second: 4, ..Options::default() }).await;
    for n in 0..3 {
        scene.upstream.script(&format!("gen-{n}"), [Answer::Hang]);
        scene.told(&format!("gen-{n}"), None).await;
    }
    let settler = scene.settle();
    scene.clock.advance(secs(1));
    scene.upstream.asked(1).await;
    scene.stop.cancel();
    scene.idle().await;
    assert!(!settler.is_finished(), "a reading is under way");
    scene.upstream.let_go();
    scene.next().await;
    soon(settler).await.unwrap();
    assert_eq!(scene.upstream.questions().len(), 1, "nothing is begun after the stop");
    let next = settlements::next_due(&scene.store, scene.clock.now()).await.unwrap();
    assert!(next.unwrap() <= scene.clock.now(), "the rows it had leased are free for whoever comes next");
}

#[tokio::test]
async fn the_newest_and_unknown_are_read_first_and_the_backlog_is_measured() {
    let mut scene = Scene::new(Options { rate_per_second: 1, ..Options::default() }).await;
    for n in 0..3 {
        scene.upstream.script(&format!("gen-{n}"), [Answer::record("0.1", 1)]);
        scene.told(&format!("gen-{n}"), None).await;
        scene.clock.advance(secs(5));
    }
    tallyd::settle::measure(&scene.store, &scene.metrics, &scene.clock).await.unwrap();
    let text = scene.metrics.text();
    assert!(text.contains("settle_due 3\n") && text.contains("settle_lag_seconds 14.0\n"), "{text}");
    let _settler = scene.settle();
    for _ in 0..3 {
        scene.next().await;
        scene.pass(secs(1)).await;
    }
    let ids: Vec<String> = scene.upstream.questions().into_iter().map(|question| question.id).collect();
    assert_eq!(ids, ["gen-2", "gen-1", "gen-0"]);
    assert!(scene.metrics.text().contains("settle_readings_total{outcome=\"record\"} 3\n"));
}
