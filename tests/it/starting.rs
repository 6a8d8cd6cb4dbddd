//! What the program says when it starts, and the test mail of the doctor.

use serde_json::Value;
use tallyd::clock::{Clock, Entropy};
use tallyd::sim::{SimConfig, Simulator};
use tokio::net::TcpListener;

use crate::support::caller::Caller;
use crate::support::installation::Installation;
use crate::support::process::Process;
use crate::support::smtp::{Answer, Server};
use crate::support::terminal::on_a_terminal;

const NOWHERE: &str = "http://127.0.0.1:9/api/v1";

/// What a daemon told at its start: its level and everything else of each line.
fn told(at: &Installation) -> Vec<(String, Value)> {
    let log = std::fs::read_to_string(at.log()).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{line}")));
    lines.map(|line| (line["level"].as_str().unwrap().to_owned(), line)).collect()
}

fn says(told: &[(String, Value)], level: &str, words: &str) -> bool {
    told.iter().any(|(of, line)| of == level && line["message"].as_str().is_some_and(|said| said.contains(words)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_says_what_is_on_where_the_page_is_and_what_is_missing() {
    let at = Installation::new(NOWHERE, "");
    let bare = format!(
        "listen = \"127.0.0.1:0\"\ndatabase_url = \"sqlite:data/tallyd.db\"\n[openrouter]\nbase_url = \"{NOWHERE}\"\n"
    );
    at.configure(&bare);
    let daemon = Process::start(&at).await;
    let lines = told(&at);
    let page = lines.iter().find_map(|(_, line)| line["page"].as_str()).unwrap();
    assert_eq!(page.trim_end_matches('/'), format!("http://{}", daemon.address()));
    assert_eq!(Caller::new(daemon.address()).get("/").await.status, 200);
    assert!(lines.iter().any(|(_, line)| line["upstream"] == NOWHERE), "{lines:?}");
    assert!(lines.iter().any(|(_, line)| line["database"].as_str().is_some_and(|text| text.contains("tallyd.db"))));
    assert!(says(&lines, "WARN", "OPENROUTER_API_KEY"), "{lines:?}");
    assert!(says(&lines, "INFO", "SMTP_URL"), "{lines:?}");
    assert!(lines.len() < 12, "a few lines: {lines:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn logs_are_for_people_on_a_terminal_and_json_elsewhere() {
    let at = Installation::new(
        NOWHERE,
        "[[budgets]]\nname = \"b\"\nwindow = \"day\"\nlimit_usd = 1\nnotify = [\"a@example.com\"]\n",
    );
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let serve = ["serve", "--listen", &address];
    // It warns of the mail server that is missing, and ends because of the port.
    let piped = at.run(&serve).await;
    let warning: Value = serde_json::from_str(piped.err.lines().next().unwrap()).unwrap();
    assert_eq!(warning["level"], "WARN", "{piped:?}");
    let Some(shown) = on_a_terminal(&at, &serve).await else {
        eprintln!("skipped: there is no `script` of util-linux to make a terminal");
        return;
    };
    assert!(shown.out.contains("WARN") && !shown.out.contains("\"level\""), "{shown:?}");
    assert!(shown.out.contains(warning["message"].as_str().unwrap()), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_sends_a_test_mail_and_says_how_it_went() {
    let simulator = Simulator::start(SimConfig::default(), Clock::system(), Entropy::seeded(8)).await.unwrap();
    let mails = Server::plain().await;
    let at = Installation::new(simulator.base_url(), &format!("[smtp]\nurl = \"smtp://127.0.0.1:{}\"\n", mails.port()));
    let ended = at.run(&["check", "--send-test-mail", "lena@example.com"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("accepted a test mail to lena@example.com"), "{ended:?}");
    let received = mails.received();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].to, "lena@example.com");
    assert_eq!(received[0].header("Subject").as_deref(), Some("tallyd can send mail"));
    mails.script(|_, _| Answer::AtRecipient("550 5.1.1 nobody of that name"));
    let ended = at.run(&["check", "--send-test-mail", "lena@example.com"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("WRONG  mail: ") && ended.out.contains("nobody of that name"), "{ended:?}");
}
