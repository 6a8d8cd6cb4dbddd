//! Webhooks: what they are told, and what becomes of it, whatever they answer.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tallyd::clock::Clock;
use tallyd::domain::mac::hmac_sha256;
use tallyd::store::alerts::{self, MailState};
use tallyd::store::outbox::{Message, MessageState};
use tallyd::webhook::SendError;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::scene::{START, Scene, budget, soon, webhooks};
use crate::support::installation::Installation;
use crate::support::smtp;

const SECRET: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const LENA: &str = "lena@example.com";

/// What was posted.
#[derive(Clone, Debug)]
struct Posted {
    head: String,
    body: String,
}

impl Posted {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Checks the signature as a receiver does.
    fn is_signed(&self) -> bool {
        let (id, at) = (self.header("webhook-id").unwrap(), self.header("webhook-timestamp").unwrap());
        let key = STANDARD.decode(SECRET).unwrap();
        let code = hmac_sha256(&key, format!("{id}.{at}.{}", self.body).as_bytes());
        self.header("webhook-signature") == Some(format!("v1,{}", STANDARD.encode(code)).as_str())
    }
}

/// A receiver that gives these answers, one after the other and the last for ever; an empty one closes the connection.
struct Receiver {
    port: u16,
    posted: Arc<Mutex<Vec<Posted>>>,
}

impl Receiver {
    #[expect(clippy::disallowed_methods, reason = "what a test spawns ends with its runtime")]
    async fn answering(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let posted = Arc::new(Mutex::new(Vec::new()));
        let answers: Mutex<VecDeque<String>> = Mutex::new(answers.iter().map(|one| (*one).to_owned()).collect());
        let seen = Arc::clone(&posted);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let answer = {
                    let mut answers = answers.lock().unwrap();
                    if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() }
                };
                serve(stream, &answer, &seen).await;
            }
        });
        Self { port, posted }
    }

    fn posted(&self) -> Vec<Posted> {
        self.posted.lock().unwrap().clone()
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hidden/T0", self.port)
    }

    fn generic(&self) -> String {
        format!("[webhooks.ops]\nurl = {:?}\nsecret = \"whsec_{SECRET}\"\n", self.url())
    }
}

/// Reads one request whole, notes it, and answers.
async fn serve(mut stream: TcpStream, answer: &str, seen: &Mutex<Vec<Posted>>) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let (head, body) = loop {
        let read = stream.read(&mut buffer).await.unwrap();
        if read == 0 {
            return;
        }
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            break (head.to_owned(), body.to_owned());
        }
    };
    seen.lock().unwrap().push(Posted { head, body });
    let _ = stream.write_all(answer.as_bytes()).await;
}

const TAKEN: &str = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";

fn reply(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
}

#[tokio::test]
async fn a_crossing_is_told_to_a_webhook_beside_the_mail_signed_and_under_one_id() {
    let receiver = Receiver::answering(&[&reply("503 Busy", "", "busy"), "", TAKEN]).await;
    let bot = budget("bot", &[LENA, "webhook:ops"]);
    let mut scene = Scene::new(std::slice::from_ref(&bot)).await;
    scene.configure_webhooks(&receiver.generic());
    let _running = scene.deliver();
    scene.cross(&bot, "80%", "240").await;
    let messages =
        scene.until(|messages| messages.len() == 2 && messages.iter().all(|m| m.state == MessageState::Sent)).await;
    let told = messages.iter().find(|message| message.recipient == "webhook:ops").unwrap();
    assert_eq!(told.attempts, 3);
    let posted = receiver.posted();
    assert_eq!(posted.len(), 3);
    let mut times = Vec::new();
    for one in &posted {
        assert!(one.head.starts_with("POST /hidden/T0 HTTP/1.1"), "{}", one.head);
        assert!(one.is_signed(), "{one:?}");
        assert_eq!(one.header("content-type"), Some("application/json"));
        assert_eq!(one.header("webhook-id"), Some(told.message_id.as_str()), "the same at each try");
        assert_eq!(one.body, posted[0].body, "and so is what it says");
        times.push(one.header("webhook-timestamp").unwrap().parse::<i64>().unwrap());
    }
    assert!(!told.message_id.contains('.') && told.message_id.starts_with("msg_"));
    assert!(times[0] >= START.millis() / 1000 && times[0] < times[1] && times[1] < times[2], "{times:?}");
    let event: Value = serde_json::from_str(&posted[0].body).unwrap();
    assert_eq!(event["type"], "budget.alert");
    assert_eq!(event["data"]["alerts"][0]["spent_usd"], "240.00");
    assert_eq!(scene.server.received().len(), 1, "the mail went its own way");
    let history = alerts::history(&scene.store, None, None, 10).await.unwrap();
    assert_eq!(history[0].mail_state, MailState::Sent);
}

#[tokio::test]
async fn what_a_webhook_refuses_is_given_up_and_told_without_its_address() {
    let redirect = reply("302 Found", "Location: http://127.0.0.1:1/elsewhere\r\n", "");
    let long = reply("400 Bad Request", "", &"no ".repeat(100_000));
    for (answer, told) in [
        (reply("410 Gone", "", "channel_is_archived for lena@example.com"), "410 channel_is_archived"),
        (reply("404 Not Found", "", "no_service"), "404 no_service"),
        (redirect, "not followed"),
        (long, "400 no no"),
    ] {
        let receiver = Receiver::answering(&[&answer]).await;
        let bot = budget("bot", &["webhook:ops"]);
        let mut scene = Scene::new(std::slice::from_ref(&bot)).await;
        scene.configure_webhooks(&receiver.generic());
        let _running = scene.deliver();
        scene.cross(&bot, "80%", "240").await;
        let [failed] = scene.until_all(MessageState::Failed).await.try_into().unwrap();
        let error = failed.last_error.unwrap();
        assert!(error.contains(told) && error.len() < 400, "{error}");
        assert!(!error.contains("hidden") && !error.contains("lena") && !error.contains("127.0.0.1"), "{error}");
        assert_eq!((failed.attempts, receiver.posted().len()), (1, 1), "nothing is followed or tried again");
        let history = alerts::history(&scene.store, None, None, 10).await.unwrap();
        assert_eq!(history[0].mail_state, MailState::Failed);
    }
}

#[tokio::test]
async fn a_webhook_that_asks_for_time_is_given_it() {
    let receiver = Receiver::answering(&[&reply("429 Too Many", "Retry-After: 7200\r\n", ""), TAKEN]).await;
    let bot = budget("bot", &["webhook:ops"]);
    let mut scene = Scene::new(std::slice::from_ref(&bot)).await;
    scene.configure_webhooks(&receiver.generic());
    let _running = scene.deliver();
    scene.cross(&bot, "80%", "240").await;
    let sent = |messages: &[Message]| messages.iter().any(|message| message.state == MessageState::Sent);
    let [message] = scene.until_by(Duration::from_mins(5), sent).await.try_into().unwrap();
    assert!(message.sent_at.unwrap().millis() - START.millis() >= 7_200_000);
}

#[tokio::test]
async fn slack_and_discord_are_told_in_their_own_forms_and_not_signed() {
    let (slack, discord) = (Receiver::answering(&[TAKEN]).await, Receiver::answering(&[TAKEN]).await);
    let bot = budget("bot", &["webhook:slack", "webhook:discord"]);
    let mut scene = Scene::new(std::slice::from_ref(&bot)).await;
    let mut text = String::new();
    for (name, receiver) in [("slack", &slack), ("discord", &discord)] {
        let _ = write!(text, "[webhooks.{name}]\nurl = {:?}\nform = {name:?}\n", receiver.url());
    }
    scene.configure_webhooks(&text);
    let _running = scene.deliver();
    scene.cross(&bot, "80%", "240").await;
    scene.until(|messages| messages.len() == 2 && messages.iter().all(|m| m.state == MessageState::Sent)).await;
    let body = |receiver: &Receiver| {
        let [posted] = receiver.posted().try_into().unwrap();
        assert_eq!(posted.header("webhook-signature"), None);
        serde_json::from_str::<Value>(&posted.body).unwrap()
    };
    assert!(body(&slack)["text"].as_str().unwrap().starts_with("bot at 80 %: $240.00 of $300.00"));
    assert!(body(&discord)["embeds"][0]["title"].as_str().unwrap().starts_with("bot at 80 %: $240.00 of $300.00"));
}

#[tokio::test]
async fn what_is_told_to_a_webhook_that_is_not_there_yet_waits_for_it() {
    let bot = budget("bot", &[LENA, "webhook:ops"]);
    let mut scene = Scene::new(std::slice::from_ref(&bot)).await;
    let running = scene.deliver();
    scene.cross(&bot, "80%", "240").await;
    let states = |messages: &[Message]| messages.iter().filter(|m| m.state == MessageState::Sent).count();
    let messages = scene.until(|messages| messages.len() == 2 && states(messages) == 1).await;
    let waiting = messages.iter().find(|message| message.state != MessageState::Sent).unwrap();
    assert_eq!((waiting.recipient.as_str(), waiting.state), ("webhook:ops", MessageState::Waiting));
    scene.end(running).await;
    let receiver = Receiver::answering(&[TAKEN]).await;
    scene.configure_webhooks(&receiver.generic());
    let _running = scene.deliver();
    scene.until_all(MessageState::Sent).await;
    assert_eq!(receiver.posted().len(), 1);
}

#[tokio::test]
async fn a_webhook_that_hangs_or_is_not_who_it_should_be_is_tried_later() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual(START);
    // It takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://127.0.0.1:{}/hidden", silent.local_addr().unwrap().port());
    let hooks = webhooks(&format!("[webhooks.ops]\nurl = {url:?}\nform = \"slack\"\n"), folder.path(), &clock);
    let event = r#"{"type":"t","timestamp":"x","data":{"title":"t","summary":[],"link":"l"}}"#;
    let sending = hooks.send("ops", "msg_1", event);
    let stepping = async {
        let _connection = silent.accept().await.unwrap();
        clock.advance(tallyd::webhook::TIMEOUT);
        std::future::pending::<()>().await;
    };
    let error = tokio::select! {
        sent = soon(sending) => sent.unwrap_err(),
        () = stepping => unreachable!(),
    };
    assert!(matches!(&error, SendError::Unreachable(said) if said.contains("30 s")), "{error}");
    assert!(error.is_worth_retrying());
    // A certificate of an authority that nobody knows.
    let server = smtp::Server::start(smtp::Options { tls: smtp::Tls::Implicit, login: None }).await;
    let url = format!("https://localhost:{}/hidden", server.port());
    let hooks =
        webhooks(&format!("[webhooks.ops]\nurl = {url:?}\nform = \"slack\"\n"), folder.path(), &Clock::system());
    let error = soon(hooks.send("ops", "msg_1", event)).await.unwrap_err();
    assert!(error.is_worth_retrying() && error.to_string().contains("certificate"), "{error}");
    assert!(!error.to_string().contains("hidden"), "{error}");
    assert!(matches!(hooks.send("other", "msg_1", event).await, Err(SendError::Unknown(_))));
}

#[tokio::test]
async fn check_tries_a_webhook_and_says_what_is_wrong_with_it() {
    for (answer, code, told) in [(TAKEN.to_owned(), 0, "ops took a test"), (reply("403 Forbidden", "", "no"), 1, "403")]
    {
        let receiver = Receiver::answering(&[&answer]).await;
        let at = Installation::new("http://127.0.0.1:9/api/v1", &receiver.generic());
        let ended = at.run(&["check", "--send-test-webhook", "ops"]).await;
        let line = ended.out.lines().find(|line| line.contains("webhook")).unwrap_or_default();
        assert!(line.contains(told), "{ended:?}");
        assert!(!ended.out.contains("hidden") && !ended.err.contains("hidden"), "its address is a secret: {ended:?}");
        // Whatever else is wrong here, as there is no OpenRouter: a webhook that does not take it is wrong, too.
        assert_ne!(ended.code, Some(2));
        assert!(code == 0 || ended.code == Some(1), "{ended:?}");
        let posted = receiver.posted();
        assert!(posted.len() == 1 && posted[0].is_signed(), "{posted:?}");
        let event: serde_json::Value = serde_json::from_str(&posted[0].body).unwrap();
        assert_eq!(event["type"], "test");
        assert!(event["data"]["summary"][0].as_str().unwrap().contains("--send-test-webhook ops"), "{event}");
        // Without being asked it tells nobody.
        at.run(&["check"]).await;
        assert_eq!(receiver.posted().len(), 1);
        let ended = at.run(&["check", "--send-test-webhook", "pager"]).await;
        assert!(ended.code == Some(1) && ended.out.contains("pager"), "{ended:?}");
        assert_eq!(receiver.posted().len(), 1);
    }
}
