//! From a crossing to a mail that was accepted, whatever the server does in between.

use std::time::Duration;

use tallyd::alert::post::Resent;
use tallyd::store::alerts::{self, MailState};
use tallyd::store::outbox::{self, Message, MessageState};

use super::scene::{START, Scene, TIMEOUT, budget, soon, when};
use crate::support::smtp::{self, Answer, Options, Tls};

/// How long crossings are gathered before they become mails.
const GATHERED: Duration = Duration::from_secs(5);

const LENA: &str = "lena@example.com";

#[tokio::test]
async fn a_crossing_becomes_a_mail_that_explains_itself() {
    let bot = budget("support-bot", &[LENA]);
    let scene = Scene::new(std::slice::from_ref(&bot)).await;
    for (app, model, cost, at) in [
        ("support-bot", "openai/gpt-4o", "203.18", "2026-10-05T08:00:00Z"),
        ("support-bot", "openai/gpt-4o", "9.00", "2026-10-19T10:00:00Z"),
        ("support-bot", "openai/gpt-4o", "230.25", "2026-11-18T08:00:00Z"),
        ("support-bot", "google/gemini-2.5-flash", "9.75", "2026-11-18T09:00:00Z"),
        ("another", "openai/gpt-4o", "777.77", "2026-11-18T10:00:00Z"),
    ] {
        scene.call(app, model, cost, at).await;
    }
    scene.count(&bot, "240", "2026-11-18T08:00:00Z").await;
    scene.foresee(&bot, "2026-11-24T10:00:00Z").await;
    let running = scene.deliver();
    scene.cross(&bot, "80%", "240").await;
    scene.clock.advance(GATHERED);
    let messages = scene.at_once_all(MessageState::Sent).await;
    let [mail] = scene.server.received().try_into().unwrap();
    assert_eq!(mail.to, LENA);
    assert_eq!(mail.header("Message-ID").unwrap(), format!("<{}>", messages[0].message_id));
    assert!(messages[0].message_id.ends_with("@example.com"));
    assert_eq!(
        mail.header("Subject").unwrap(),
        "support-bot at 80 %: $240.00 of $300.00, 100 % expected on Tue 24 Nov"
    );
    let text = &messages[0].text_body;
    for line in [
        "WHAT DRIVES IT (1–19 Nov against 1–19 Oct, to 11:47)",
        "  openai/gpt-4o                          +$27.07    $203.18 ->   $230.25",
        "  google/gemini-2.5-flash                 +$9.75      $0.00 ->     $9.75",
        "  support-bot                            +$36.82    $203.18 ->   $240.00",
        "THE TWO DEAREST CALLS ($240.00 together, 100.0 % of the spend)",
        "  $230.2500  gpt-4o            Wed 18 Nov 09:00  1,200 in 345 out",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    assert!(!text.contains("777"), "another app's calls are not this budget's");
    assert!(!text.contains("corrected") && text.contains("Figures at 11:47:05: $240.00 settled"), "{text}");
    let history = alerts::history(&scene.store, None, None, 10).await.unwrap();
    assert_eq!(history[0].mail_state, MailState::Sent);
    scene.stop.cancel();
    soon(running).await.unwrap();
}

#[tokio::test]
async fn a_greylisting_server_gets_the_mail_again_until_it_takes_it_once() {
    let bot = budget("bot", &[LENA]);
    let scene = Scene::new(std::slice::from_ref(&bot)).await;
    scene
        .server
        .script(|_, attempt| if attempt <= 4 { Answer::AtRecipient("451 4.7.1 later") } else { Answer::Accept });
    let _running = scene.deliver();
    scene.cross(&bot, "80%", "240").await;
    let [message] = scene.until_all(MessageState::Sent).await.try_into().unwrap();
    assert_eq!((message.attempts, scene.server.received().len()), (5, 1));
    // 10 + 20 + 40 + 80 seconds of waits lie between the first try and the last.
    let took = message.sent_at.unwrap().millis() - message.created_at.millis();
    assert!((150_000..=250_000).contains(&took), "{took}");
}

#[tokio::test]
async fn one_recipients_refusal_stops_nobody_elses_mail() {
    let bot = budget("bot", &[LENA, "gone@example.com", "team@example.com"]);
    let scene = Scene::new(std::slice::from_ref(&bot)).await;
    scene.server.script(|to, _| match to {
        "gone@example.com" => Answer::AtRecipient("550 5.1.1 <gone@example.com>: no such user"),
        _ => Answer::Accept,
    });
    let _running = scene.deliver();
    scene.cross(&bot, "80%", "240").await;
    let over = |state| matches!(state, MessageState::Sent | MessageState::Failed);
    let messages = scene.until(|messages| messages.len() == 3 && messages.iter().all(|m| over(m.state))).await;
    for message in &messages {
        let failed = message.recipient == "gone@example.com";
        assert_eq!(message.state, if failed { MessageState::Failed } else { MessageState::Sent });
        assert_eq!(message.last_error.is_some(), failed);
    }
    let error = messages.iter().find_map(|message| message.last_error.clone()).unwrap();
    assert!(error.contains("550") && !error.contains('@'), "{error}");
    let mut told: Vec<String> = scene.server.received().into_iter().map(|mail| mail.to).collect();
    told.sort();
    assert_eq!(told, [LENA, "team@example.com"], "each recipient gets a mail of its own");
    assert_eq!(scene.server.tries("gone@example.com"), 1);
    let history = alerts::history(&scene.store, None, None, 10).await.unwrap();
    assert_eq!(history[0].mail_state, MailState::Partly);
}

#[tokio::test]
async fn a_server_that_takes_the_mail_and_says_nothing_gets_the_same_mail_again() {
    for broken in [Answer::Close, Answer::Hang] {
        let bot = budget("bot", &[LENA]);
        let scene = Scene::new(std::slice::from_ref(&bot)).await;
        scene.server.script(move |_, attempt| if attempt == 1 { broken } else { Answer::Accept });
        let _running = scene.deliver();
        scene.cross(&bot, "80%", "240").await;
        scene.until(|_| scene.server.received().len() == 1).await;
        if broken == Answer::Hang {
            scene.clock.advance(TIMEOUT);
        }
        when(|| scene.server.open() == 0).await;
        let [message] = scene.until_all(MessageState::Sent).await.try_into().unwrap();
        let [first, second] = scene.server.received().try_into().unwrap();
        assert_eq!(first.data, second.data, "the second is the first again, Message-ID and all");
        assert_eq!(message.attempts, 2);
    }
}

#[tokio::test]
async fn a_server_that_is_gone_gets_the_mail_when_it_is_back() {
    let bot = budget("bot", &[LENA]);
    let mut scene = Scene::new(std::slice::from_ref(&bot)).await;
    scene.server.leave().await;
    let _running = scene.deliver();
    scene.cross(&bot, "80%", "240").await;
    let waiting = scene.until(|messages| messages.iter().any(|message| message.attempts >= 3)).await;
    assert!(waiting[0].last_error.as_ref().unwrap().contains("refused"));
    assert_eq!(waiting[0].state, MessageState::Queued);
    scene.server.come_back().await;
    scene.until_all(MessageState::Sent).await;
    assert_eq!(scene.server.received().len(), 1);
}

#[tokio::test]
async fn crossings_within_five_seconds_are_one_mail_a_recipient() {
    let (bot, review) = (budget("bot", &[LENA, "team@example.com"]), budget("review", &[LENA]));
    let scene = Scene::new(&[bot.clone(), review.clone()]).await;
    let _running = scene.deliver();
    scene.cross(&bot, "50%", "260").await;
    scene.cross(&bot, "80%", "260").await;
    scene.clock.advance(Duration::from_secs(4));
    scene.cross(&review, "50%", "150").await;
    scene.until(|messages| messages.len() == 2 && messages.iter().all(|m| m.state == MessageState::Sent)).await;
    scene.cross(&review, "80%", "240").await;
    let messages =
        scene.until(|messages| messages.len() == 3 && messages.iter().all(|m| m.state == MessageState::Sent)).await;
    let subjects = |to: &str| -> Vec<&str> {
        messages.iter().filter(|message| message.recipient == to).map(|message| message.subject.as_str()).collect()
    };
    assert_eq!(subjects(LENA)[0], "bot at 80 % and review at 50 %");
    assert!(subjects(LENA)[1].starts_with("review at 80 %"));
    assert_eq!(subjects("team@example.com").len(), 1);
    let both = messages.iter().find(|message| message.subject.contains(" and ")).unwrap();
    assert!(both.text_body.contains("bot: 50 % and 80 % reached on Thu 19 Nov at 11:47"), "{}", both.text_body);
    assert_eq!(scene.server.received().len(), 3);
}

#[tokio::test]
async fn without_smtp_mails_wait_and_leave_once_it_is_configured() {
    let bot = budget("bot", &[LENA]);
    let mut scene = Scene::new(std::slice::from_ref(&bot)).await;
    let running = scene.deliver_nowhere();
    scene.cross(&bot, "80%", "240").await;
    let [waiting] = scene.until_all(MessageState::Waiting).await.try_into().unwrap();
    scene.end(running).await;
    scene.clock.advance(Duration::from_hours(10 * 24));
    let running = scene.deliver();
    let [sent] = scene.until_all(MessageState::Sent).await.try_into().unwrap();
    assert_eq!((&sent.message_id, &sent.text_body), (&waiting.message_id, &waiting.text_body));
    scene.end(running).await;
    assert_eq!(outbox::counts(&scene.store).await.unwrap().sent, 1);
}

#[tokio::test]
async fn a_mail_in_hand_is_finished_before_the_mailer_ends() {
    let bot = budget("bot", &[LENA]);
    let mut scene = Scene::new(std::slice::from_ref(&bot)).await;
    scene.server.script(|_, _| Answer::Hang);
    let running = scene.deliver();
    scene.cross(&bot, "80%", "240").await;
    scene.until(|_| scene.server.received().len() == 1).await;
    scene.stop.cancel();
    assert!(!running.is_finished());
    scene.server.release();
    scene.end(running).await;
    assert_eq!(scene.messages().await[0].state, MessageState::Sent);
}

#[tokio::test]
async fn a_mailer_that_died_before_its_note_sends_the_same_mail_again() {
    let bot = budget("bot", &[LENA]);
    let scene = Scene::new(std::slice::from_ref(&bot)).await;
    scene.server.script(|_, attempt| if attempt == 1 { Answer::Hang } else { Answer::Accept });
    let running = scene.deliver();
    scene.cross(&bot, "80%", "240").await;
    scene.until(|_| scene.server.received().len() == 1).await;
    running.abort();
    soon(running).await.unwrap_err();
    when(|| {
        scene.server.release();
        scene.server.open() == 0
    })
    .await;
    let _running = scene.deliver();
    scene.until_all(MessageState::Sent).await;
    let [first, second] = scene.server.received().try_into().unwrap();
    assert_eq!(first.data, second.data);
}

#[tokio::test]
async fn a_server_that_says_later_for_hours_gets_the_mail_in_the_end() {
    let bot = budget("bot", &[LENA]);
    let scene = Scene::new(std::slice::from_ref(&bot)).await;
    let clock = scene.clock.clone();
    let opens = START.plus_millis(6 * 3_600_000);
    scene.server.script(move |_, _| {
        if clock.now() < opens { Answer::AtRecipient("451 4.7.1 come back later") } else { Answer::Accept }
    });
    let _running = scene.deliver();
    scene.cross(&bot, "80%", "240").await;
    let sent = |messages: &[Message]| messages.iter().any(|message| message.state == MessageState::Sent);
    let [message] = scene.until_by(Duration::from_mins(10), sent).await.try_into().unwrap();
    assert_eq!(scene.server.received().len(), 1, "one mail, however often it was offered");
    // The waits double from ten seconds to an hour: nine of them in the first hour and a half, then one an hour.
    assert!((10..=18).contains(&message.attempts), "{}", message.attempts);
    let late = message.sent_at.unwrap().millis() - opens.millis();
    assert!((0..=3_600_000 + 600_000).contains(&late), "within an hour of the server's return: {late}");
}

#[tokio::test]
async fn a_server_that_is_gone_for_two_days_and_a_restart_between_lose_nothing() {
    let bot = budget("bot", &[LENA, "team@example.com"]);
    let mut scene = Scene::new(std::slice::from_ref(&bot)).await;
    scene.server.leave().await;
    let running = scene.deliver();
    scene.cross(&bot, "80%", "240").await;
    let two_days = START.plus_millis(2 * 86_400_000);
    let clock = scene.clock.clone();
    scene.until_by(Duration::from_mins(30), |_| clock.now() > START.plus_millis(86_400_000)).await;
    scene.end(running).await;
    let _running = scene.deliver();
    let waiting = scene.until_by(Duration::from_mins(30), |_| clock.now() > two_days).await;
    assert!(waiting.iter().all(|message| message.state == MessageState::Queued), "{waiting:?}");
    scene.server.come_back().await;
    let all_sent = |messages: &[Message]| messages.iter().all(|message| message.state == MessageState::Sent);
    scene.until_by(Duration::from_mins(10), all_sent).await;
    assert_eq!(scene.server.received().len(), 2);
    let history = alerts::history(&scene.store, None, None, 10).await.unwrap();
    assert_eq!(history[0].mail_state, MailState::Sent);
}

#[tokio::test]
async fn a_server_that_hangs_at_data_is_left_and_tried_again() {
    let bot = budget("bot", &[LENA]);
    let scene = Scene::new(std::slice::from_ref(&bot)).await;
    scene.server.script(|_, attempt| if attempt == 1 { Answer::HangAtData } else { Answer::Accept });
    let _running = scene.deliver();
    scene.cross(&bot, "80%", "240").await;
    scene.until(|_| scene.server.tries(LENA) == 1).await;
    scene.clock.advance(TIMEOUT);
    when(|| scene.server.open() == 0).await;
    let [message] = scene.until_all(MessageState::Sent).await.try_into().unwrap();
    assert_eq!((message.attempts, scene.server.received().len()), (2, 1));
}

#[tokio::test]
async fn a_bad_certificate_is_told_and_cured_by_the_configuration() {
    let bot = budget("bot", &[LENA]);
    let mut scene = Scene::new(std::slice::from_ref(&bot)).await;
    let login = Some(("PLAIN", "tallyd", "secret"));
    scene.server = smtp::Server::start(Options { tls: Tls::Upgraded, login }).await;
    let url = format!("smtp://tallyd:secret@localhost:{}?tls=required", scene.server.port());
    let running = scene.deliver_to(&url, None);
    scene.cross(&bot, "80%", "240").await;
    let [refused] = scene.until(|messages| messages.iter().any(|one| one.attempts >= 2)).await.try_into().unwrap();
    assert_eq!(refused.state, MessageState::Queued, "a certificate can be mended");
    assert!(refused.last_error.unwrap().contains("smtp.ca_file"));
    assert!(scene.server.received().is_empty(), "nothing was said to a server that is not the one meant");
    scene.end(running).await;
    let authority = scene.server.authority().to_owned();
    let _running = scene.deliver_to(&url, Some(&authority));
    scene.until_all(MessageState::Sent).await;
    let [mail] = scene.server.received().try_into().unwrap();
    assert!(mail.encrypted && mail.user.as_deref() == Some("tallyd"));
}

#[tokio::test]
async fn what_was_refused_for_good_is_sent_again_when_somebody_asks() {
    let bot = budget("bot", &[LENA]);
    let scene = Scene::new(std::slice::from_ref(&bot)).await;
    scene.server.script(|_, _| Answer::AtRecipient("550 5.2.1 mailbox disabled"));
    let _running = scene.deliver();
    scene.cross(&bot, "80%", "240").await;
    let [failed] = scene.until_all(MessageState::Failed).await.try_into().unwrap();
    assert!(failed.last_error.unwrap().contains("550"));
    scene.server.script(|_, attempt| if attempt == 2 { Answer::AtEnd("452 full") } else { Answer::Accept });
    assert_eq!(scene.resend(&failed.message_id).await, Resent::Queued);
    let [sent] = scene.until_all(MessageState::Sent).await.try_into().unwrap();
    assert_eq!((&sent.message_id, &sent.text_body), (&failed.message_id, &failed.text_body));
    assert_eq!(scene.server.tries(LENA), 3, "it is tried as a new one is");
    assert_eq!(scene.resend(&sent.message_id).await, Resent::NotGivenUp(MessageState::Sent));
    assert_eq!(scene.resend("none").await, Resent::Unknown);
    assert_eq!(scene.server.received().len(), 1);
}
