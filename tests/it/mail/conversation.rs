//! One mail, one conversation.

use std::io::Write as _;
use std::time::Duration;

use tallyd::clock::Clock;
use tallyd::domain::time::Timestamp;
use tallyd::mail::{Mailer, Message, SendError, Server, SetupError, Stage};

use super::scene::soon;
use crate::support::smtp::{self, Answer, Options, Tls};

const START: Timestamp = Timestamp(1_795_085_220_000);
const TIMEOUT: Duration = Duration::from_secs(30);

fn mailer(url: &str, authority: Option<&str>, clock: &Clock) -> Mailer {
    let server = Server::from_url(url, authority.map(str::as_bytes)).unwrap();
    Mailer::new(server, "tallyd <tallyd@example.com>".parse().unwrap(), TIMEOUT, clock.clone())
}

fn message() -> Message {
    Message {
        message_id: "alert.1@example.com".to_owned(),
        to: "lena@example.com".to_owned(),
        subject: "grünes-budget at 80 %".to_owned(),
        text: "Spent: 389 ±13\n.\n..hidden dots\n".to_owned(),
        html: "<p>Spent: 389 ±13</p>".to_owned(),
        pictures: Vec::new(),
        date: START,
    }
}

#[tokio::test]
async fn a_plain_conversation_on_the_loopback_carries_the_mail_whole() {
    let server = smtp::Server::plain().await;
    let mailer = mailer(&format!("smtp://127.0.0.1:{}", server.port()), None, &Clock::manual(START));
    soon(mailer.send(&message())).await.unwrap();
    let [mail] = server.received().try_into().unwrap();
    assert_eq!((mail.from.as_str(), mail.to.as_str()), ("tallyd@example.com", "lena@example.com"));
    assert!(!mail.encrypted && mail.accepted && mail.data.is_ascii());
    assert_eq!(mail.header("Message-ID").unwrap(), "<alert.1@example.com>");
    assert_eq!(mail.header("Auto-Submitted").unwrap(), "auto-generated");
    assert_eq!(mail.header("Date").unwrap(), "Thu, 19 Nov 2026 10:47:00 +0000");
    assert_eq!(mail.header("From").unwrap(), "tallyd <tallyd@example.com>");
    assert!(mail.header("Subject").unwrap().starts_with("=?utf-8?"), "{}", mail.data);
    assert!(mail.data.contains("389 =C2=B113\r\n.\r\n..hidden dots"), "{}", mail.data);
    soon(mailer.test_connection()).await.unwrap();
}

#[tokio::test]
async fn starttls_with_an_authority_of_ones_own_protects_the_password() {
    let login = Some(("PLAIN", "tallyd", "p@ss:word"));
    let server = smtp::Server::start(Options { tls: Tls::Upgraded, login }).await;
    let url = format!("smtp://tallyd:p%40ss%3Aword@localhost:{}?tls=required", server.port());
    let clock = Clock::manual(START);
    let trusting = mailer(&url, Some(server.authority()), &clock);
    soon(trusting.test_connection()).await.unwrap();
    soon(trusting.send(&message())).await.unwrap();
    let [mail] = server.received().try_into().unwrap();
    assert!(mail.encrypted);
    assert_eq!(mail.user.as_deref(), Some("tallyd"));

    let error = soon(mailer(&url, None, &clock).send(&message())).await.unwrap_err();
    assert!(matches!(error, SendError::Unreachable { stage: Stage::Encrypting, .. }), "{error}");
    assert!(error.to_string().contains("smtp.ca_file"), "{error}");

    let wrong = format!("smtp://tallyd:guess@localhost:{}?tls=required", server.port());
    let error = soon(mailer(&wrong, Some(server.authority()), &clock).send(&message())).await.unwrap_err();
    assert!(matches!(error, SendError::Refused { stage: Stage::LoggingIn, .. }), "{error}");
    assert!(error.is_worth_retrying() && !error.to_string().contains('@'), "{error}");
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn tls_from_the_first_byte_logs_in_by_the_mechanism_offered() {
    let server = smtp::Server::start(Options { tls: Tls::Implicit, login: Some(("LOGIN", "tallyd", "secret")) }).await;
    let url = format!("smtps://tallyd:secret@localhost:{}", server.port());
    let mailer = mailer(&url, Some(server.authority()), &Clock::manual(START));
    soon(mailer.send(&message())).await.unwrap();
    let [mail] = server.received().try_into().unwrap();
    assert!(mail.encrypted);
    assert_eq!(mail.user.as_deref(), Some("tallyd"));
}

#[tokio::test]
async fn tls_that_is_required_and_not_offered_ends_the_conversation() {
    let server = smtp::Server::start(Options { tls: Tls::Never, login: Some(("PLAIN", "tallyd", "secret")) }).await;
    let clock = Clock::manual(START);
    let required = format!("smtp://tallyd:secret@localhost:{}?tls=required", server.port());
    let error = soon(mailer(&required, None, &clock).send(&message())).await.unwrap_err();
    assert!(matches!(error, SendError::Unreachable { stage: Stage::Encrypting, .. }), "{error}");
    let opportunistic = format!("smtp://tallyd:secret@localhost:{}?tls=opportunistic", server.port());
    soon(mailer(&opportunistic, None, &clock).send(&message())).await.unwrap();
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn replies_are_told_apart_by_what_can_be_done() {
    let server = smtp::Server::plain().await;
    let mailer = mailer(&format!("smtp://127.0.0.1:{}", server.port()), None, &Clock::manual(START));
    let answer = async |answer: Answer| {
        server.script(move |_, _| answer);
        soon(mailer.send(&message())).await.unwrap_err()
    };
    let later = answer(Answer::AtRecipient("451 4.7.1 <lena@example.com>: greylisted, come back")).await;
    assert!(matches!(later, SendError::Temporary { stage: Stage::Recipient, .. }), "{later}");
    let unknown = answer(Answer::AtRecipient("550 5.1.1 <lena@example.com>: no such user")).await;
    assert!(matches!(unknown, SendError::Rejected { stage: Stage::Recipient, .. }), "{unknown}");
    let spam = answer(Answer::AtEnd("554 5.7.1 looks like spam")).await;
    assert!(matches!(spam, SendError::Rejected { stage: Stage::Content, .. }), "{spam}");
    let closed = answer(Answer::Close).await;
    assert!(matches!(closed, SendError::Unreachable { stage: Stage::Content, .. }), "{closed}");
    assert_eq!([&later, &unknown, &spam, &closed].map(SendError::is_worth_retrying), [true, false, false, true]);
    for error in [later, unknown, spam, closed] {
        assert!(!error.to_string().contains('@'), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_falls_silent_is_left_after_the_timeout() {
    let server = smtp::Server::plain().await;
    server.script(|_, _| Answer::Hang);
    let clock = Clock::manual(START);
    let mailer = mailer(&format!("smtp://127.0.0.1:{}", server.port()), None, &clock);
    let mail = message();
    let sending = mailer.send(&mail);
    let stepping = async {
        super::scene::when(|| server.received().len() == 1).await;
        clock.advance(TIMEOUT);
        std::future::pending::<()>().await;
    };
    let error = tokio::select! {
        sent = soon(sending) => sent.unwrap_err(),
        () = stepping => unreachable!(),
    };
    assert!(matches!(error, SendError::Unreachable { stage: Stage::Content, .. }), "{error}");
}

#[tokio::test]
async fn nobody_at_the_port_is_told_as_such() {
    let mut server = smtp::Server::plain().await;
    server.leave().await;
    let mailer = mailer(&format!("smtp://127.0.0.1:{}", server.port()), None, &Clock::manual(START));
    let error = soon(mailer.test_connection()).await.unwrap_err();
    assert!(matches!(error, SendError::Unreachable { stage: Stage::Connecting, .. }), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[test]
fn the_configurations_file_of_authorities_is_read_and_checked() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "not a certificate").unwrap();
    let text = format!("[smtp]\nurl = \"smtps://localhost\"\nca_file = {:?}\n", file.path().display().to_string());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tallyd.toml");
    std::fs::write(&path, text).unwrap();
    let sources = super::scene::sources(&path);
    let smtp = tallyd::config::Config::load(&sources).unwrap().config.smtp;
    assert_eq!(smtp.ca_file.as_deref(), Some(file.path()));
    let error = Mailer::from_config(&smtp, Clock::manual(START)).unwrap_err();
    assert!(matches!(error, SetupError::Authorities(_)), "{error}");
}
