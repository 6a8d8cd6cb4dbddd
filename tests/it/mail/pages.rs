//! What people do about messages through the pages, the API and the links in mails.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::Value;
use tallyd::clock::Clock;
use tallyd::domain::time::Timestamp;
use tallyd::store::outbox::{self, Message, MessageState};

use crate::support::caller::{Caller, Reply, read};
use crate::support::installation::{Installation, text};
use crate::support::pacer::Pacer;
use crate::support::running::Running;
use crate::support::smtp::{self, Answer};
use crate::support::until;

const NOW: &str = "2026-11-19T10:47:00Z";

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// A daemon with a budget of $100 a month, and the mail server it speaks to.
struct Scene {
    at: Installation,
    running: Running,
    caller: Caller,
    server: smtp::Server,
    clock: Clock,
    _pacer: Pacer,
}

impl Scene {
    async fn new(admin: &str) -> Self {
        let server = smtp::Server::plain().await;
        let tables = format!(
            "[smtp]\nurl = \"smtp://127.0.0.1:{}\"\nfrom = \"tallyd@example.com\"\n[[budgets]]\nname = \"all\"\nwindow = \
             \"month\"\nlimit_usd = 100\nnotify = [\"lena@example.com\"]\n[[reports]]\nname = \"daily\"\nschedule = \"0 8 * * \
             *\"\nnotify = [\"lena@example.com\"]\n",
            server.port()
        );
        let at = Installation::new("http://127.0.0.1:9/api/v1", &tables);
        if !admin.is_empty() {
            let written = std::fs::read_to_string(at.folder().join("tallyd.toml")).unwrap();
            at.configure(&format!("admin_token = \"{admin}\"\n{written}"));
        }
        let clock = Clock::manual(Timestamp::parse(NOW).unwrap());
        let pacer = Pacer::start(&clock);
        pacer.set_speed(100);
        let running = Running::start(&at, &clock).await;
        let caller = Caller::new(running.address());
        Self { at, running, caller, server, clock, _pacer: pacer }
    }

    /// A reply of this cost is imported, made at the present second.
    async fn spend(&self, id: u32, usd: &str, headers: &[(&str, &str)]) {
        let created = self.clock.now().millis() / 1000;
        let line = format!(
            r#"{{"id":"gen-{created}-Import{id:08}","object":"chat.completion","created":{created},"model":"openai/gpt-4o","choices":[],"usage":{{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"cost":{usd}}}}}"#
        );
        let reply = self.caller.post("/tally/v1/import", headers, line).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    }

    /// The messages, newest first, once they are as wanted.
    async fn messages(&self, wanted: impl Fn(&[Message]) -> bool) -> Vec<Message> {
        until("the messages", async || {
            let messages = outbox::page(self.running.store(), None, 10).await.unwrap();
            wanted(&messages).then_some(messages)
        })
        .await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        read(self.caller.send(Method::POST, path, headers, body.to_owned()).await.unwrap()).await
    }
}

fn all_are(state: MessageState) -> impl Fn(&[Message]) -> bool {
    move |messages| !messages.is_empty() && messages.iter().all(|message| message.state == state)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_for_good_is_shown_and_sent_again_by_page_and_api() {
    let scene = Scene::new("").await;
    scene.server.script(|_, _| Answer::AtRecipient("550 5.1.1 no such user"));
    scene.spend(1, "60.00", &[]).await;
    let [failed] = scene.messages(all_are(MessageState::Failed)).await.try_into().unwrap();
    let listed = scene.caller.get("/tally/v1/outbox").await.json();
    assert_eq!(
        (&listed["rows"][0]["state"], &listed["rows"][0]["attempts"]),
        (&Value::from("failed"), &Value::from(1))
    );
    assert!(listed["rows"][0]["last_error"].as_str().unwrap().contains("550"));
    assert_eq!(listed["next"], Value::Null);
    let alerts = scene.caller.get("/alerts").await.text();
    let action = format!("/alerts/mails/{}/resend", failed.message_id.replace('.', "%2E").replace('@', "%40"));
    assert!(alerts.contains("given up") && alerts.contains(&format!("action=\"{action}\"")), "{alerts}");

    // Another site's form does nothing.
    let foreign = scene.post(&action, &[FORM, ("origin", "https://evil.example")], "").await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
    let foreign = scene.post(&action, &[FORM, ("sec-fetch-site", "cross-site")], "").await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
    assert_eq!(scene.server.tries("lena@example.com"), 1);

    let again = scene.post(&action, &[FORM], "").await;
    assert_eq!(again.status, StatusCode::SEE_OTHER);
    let tries = |count: usize| move |scene: &Scene| scene.server.tries("lena@example.com") == count;
    until("the second try", async || tries(2)(&scene).then_some(())).await;
    scene.messages(all_are(MessageState::Failed)).await;
    scene.server.script(|_, _| Answer::Accept);
    let path = format!("/tally/v1/outbox/{}/resend", failed.message_id);
    let resent = scene.post(&path, &[], "").await;
    assert_eq!(
        (resent.status, &resent.json()["message_id"]),
        (StatusCode::OK, &Value::from(failed.message_id.clone()))
    );
    let [sent] = scene.messages(all_are(MessageState::Sent)).await.try_into().unwrap();
    assert_eq!(sent.message_id, failed.message_id);
    let conflict = scene.post(&path, &[], "").await;
    assert_eq!(conflict.status, StatusCode::CONFLICT);
    assert!(conflict.text().contains("only a message that was given up"), "{}", conflict.text());
    assert_eq!(scene.post("/tally/v1/outbox/none/resend", &[], "").await.status, StatusCode::NOT_FOUND);
    assert!(!scene.caller.get("/alerts").await.text().contains("/resend\""));
    // The mail's picture is in the page's frame, and nothing is loaded for it.
    let html = scene.caller.get(&format!("/alerts/mails/{}/html", failed.message_id)).await;
    assert!(html.text().contains("src=\"data:image/png;base64,") && !html.text().contains("cid:"));
    assert!(html.headers["content-security-policy"].to_str().unwrap().contains("img-src data:"));
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_of_a_mail_silences_its_budget_until_the_window_ends() {
    let token = "a-token-that-nobody-guesses";
    let bearer = format!("Bearer {token}");
    let admin = [("authorization", bearer.as_str())];
    let scene = Scene::new(token).await;
    scene.spend(1, "60.00", &admin).await;
    let [mail] = scene.messages(all_are(MessageState::Sent)).await.try_into().unwrap();
    let link = mail.text_body.lines().find_map(|line| line.strip_prefix("Snooze until 1 Dec")).unwrap().trim();
    let path = link.strip_prefix(&format!("http://{}", scene.running.address())).unwrap().to_owned();
    assert!(mail.html_body.contains("Snooze until 1 Dec"));

    // Looking changes nothing, asks for no sign-in, and opens nothing else.
    let asked = scene.caller.get(&path).await;
    assert_eq!(asked.status, StatusCode::OK);
    assert!(
        asked.text().contains("<h1 class=\"wrap-any\">Snooze all?</h1>") && asked.text().contains("method=\"post\"")
    );
    assert!(asked.headers["content-security-policy"].to_str().unwrap().contains("form-action 'self'"));
    assert_eq!(scene.caller.get("/budgets/all").await.status, StatusCode::SEE_OTHER);
    for wrong in [path.replace("key=", "key=0"), path.replace("until=1", "until=2"), path.replace("/all/", "/other/")] {
        assert_eq!(scene.caller.get(&wrong).await.status, StatusCode::FORBIDDEN, "{wrong}");
    }
    let (action, query) = path.split_once('?').unwrap();
    let foreign = scene.post(action, &[FORM, ("origin", "https://evil.example")], query).await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
    assert_eq!(scene.post(action, &[FORM], "until=1&key=x").await.status, StatusCode::FORBIDDEN);
    let snoozed = |page: &str| page.contains("id=\"a3\"");
    let alerts =
        async || read(scene.caller.send(Method::GET, "/alerts", &admin, String::new()).await.unwrap()).await.text();
    assert!(!snoozed(&alerts().await));

    let done = scene.post(action, &[FORM], query).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER);
    let shown = scene.caller.get(done.headers["location"].to_str().unwrap()).await;
    assert!(shown.text().contains("all is snoozed"), "{}", shown.text());
    scene.post(action, &[FORM], query).await;
    assert!(snoozed(&alerts().await));
    scene.spend(2, "25.00", &admin).await;
    let page = until("the crossing", async || {
        let page = alerts().await;
        page.contains("snoozed, not mailed").then_some(page)
    })
    .await;
    assert!(page.contains("$85.00"), "{page}");
    let history = scene.at.sql("SELECT threshold, mail_state FROM alert_history ORDER BY crossed_at, threshold").await;
    let history: Vec<Vec<Option<&str>>> = history.iter().map(|row| row.iter().map(text).collect()).collect();
    assert_eq!(history, [[Some("50%"), Some("sent")], [Some("80%"), Some("not_mailed")]]);

    // Somebody who is signed in ends it, and the next crossing is mailed.
    assert_eq!(scene.post("/alerts/snoozes/all/end", &[FORM], "").await.status, StatusCode::UNAUTHORIZED);
    let ended = scene.post("/alerts/snoozes/all/end", &[FORM, admin[0]], "").await;
    assert_eq!(ended.status, StatusCode::SEE_OTHER);
    assert!(!snoozed(&alerts().await));
    scene.spend(3, "20.00", &admin).await;
    scene.messages(|messages| messages.len() == 2 && all_are(MessageState::Sent)(messages)).await;
    assert_eq!(scene.server.received().len(), 2);

    // Once the window is over the link is too.
    scene.clock.advance(Duration::from_hours(12 * 24));
    let late = scene.caller.get(&path).await;
    assert_eq!(late.status, StatusCode::GONE);
    assert!(late.text().contains("has run out"));
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_are_shown_before_they_are_sent() {
    let scene = Scene::new("").await;
    scene.spend(1, "1.25", &[]).await;
    let list = scene.caller.get("/reports").await;
    assert_eq!(list.status, StatusCode::OK);
    assert!(
        list.text().contains("0 8 * * *")
            && list.text().contains("Fri 20 Nov 08:00")
            && list.text().contains("not yet")
    );
    let page = scene.caller.get("/reports/daily").await.text();
    assert!(page.contains("daily: $0.00 in 18 Nov") && page.contains("It has not run yet."), "{page}");
    let html = scene.caller.get("/reports/daily/html").await;
    assert!(html.headers["content-security-policy"].to_str().unwrap().contains("sandbox"));
    assert_eq!(scene.caller.get("/reports/none").await.status, StatusCode::NOT_FOUND);
    assert_eq!(outbox::counts(scene.running.store()).await.unwrap().queued, 0);

    let printed = scene.at.run(&["report", "--mail", "daily", "--dry-run"]).await;
    assert_eq!(printed.code, Some(0), "{printed:?}");
    assert!(printed.out.starts_with("To: lena@example.com\nSubject: daily: "), "{printed:?}");
    let unknown = scene.at.run(&["report", "--mail", "weekly", "--dry-run"]).await;
    assert!(unknown.code == Some(2) && unknown.err.contains("there are daily"), "{unknown:?}");
    assert_eq!(scene.at.run(&["report", "--mail", "daily"]).await.code, Some(2), "it says nothing of sending");

    // The clock goes on to the next morning: the daemon sends it by itself, once.
    scene.clock.advance(Duration::from_hours(22));
    let [sent] = scene.messages(all_are(MessageState::Sent)).await.try_into().unwrap();
    assert!(sent.subject.starts_with("daily: $1.25 in 19 Nov"), "{}", sent.subject);
    let page = scene.caller.get("/reports").await.text();
    assert!(page.contains(">sent<"), "{page}");
    scene.running.stop().await;
}
