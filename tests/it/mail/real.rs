//! Delivery by a mail server as people run it: Exim, with STARTTLS and AUTH, in a folder of its own.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use tallyd::clock::Clock;
use tallyd::store::outbox::MessageState;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use super::scene::{Scene, budget, soon};

/// Tests that need a mail server run where this is set.
const WANTED: &str = "TEST_MTA";

/// Where Debian puts it.
const EXIM: &str = "/usr/sbin/exim4";

const LENA: &str = "lena@example.com";

/// What it is configured with: mail for example.com is put into a file by recipient, once who sends it has logged in over TLS.
const CONFIGURATION: &str = r"
keep_environment =
spool_directory = FOLDER/spool
log_file_path = FOLDER/log/%s.log
pid_file_path = FOLDER/exim.pid
primary_hostname = mail.example.com
domainlist local_domains = example.com
daemon_smtp_ports = PORT
local_interfaces = 127.0.0.1
tls_advertise_hosts = *
tls_certificate = FOLDER/server.pem
tls_privatekey = FOLDER/server.key
auth_advertise_hosts = ${if eq{$tls_in_cipher}{}{}{*}}
acl_smtp_rcpt = recipient
acl_smtp_data = accept
exim_user = USER
exim_group = GROUP
never_users =
disable_ipv6 = true
host_lookup =
rfc1413_hosts =
smtp_enforce_sync = true

begin acl
recipient:
  deny message = 5.7.0 log in first
       !authenticated = *
  deny message = 5.1.1 no such user
       local_parts = gone
  defer message = 4.7.1 greylisted
       condition = ${if exists{FOLDER/greylisting}}
  accept domains = +local_domains
  deny message = 5.7.1 no relaying

begin routers
local:
  driver = accept
  domains = +local_domains
  local_parts = lena
  transport = file

begin transports
file:
  driver = appendfile
  directory = FOLDER/mail/$local_part_data
  maildir_format
  create_directory
  user = POSTMAN
  group = nogroup
  delivery_date_add
  return_path_add

begin retry
* * F,1h,1m

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if and{{eq{$auth2}{tallyd}}{eq{$auth3}{s3cret}}}}
  server_set_id = $auth2
";

/// A running Exim; it ends when it is dropped.
struct Exim {
    folder: TempDir,
    port: u16,
    authority: String,
    _process: Child,
}

impl Exim {
    /// Starts it; `None`, said aloud, where none is wanted.
    async fn start() -> Option<Self> {
        if std::env::var_os(WANTED).is_none() {
            eprintln!(
                "SKIPPED: no real mail server takes the mail; set {WANTED}=1 where exim4-daemon-light is installed"
            );
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        for name in ["spool", "log", "mail"] {
            std::fs::create_dir(at.join(name)).unwrap();
        }
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        for open in [at.to_path_buf(), at.join("mail")] {
            std::fs::set_permissions(open, Permissions::from_mode(0o777)).unwrap();
        }
        std::fs::write(at.join("server.pem"), certificate.pem()).unwrap();
        std::fs::write(at.join("server.key"), key.serialize_pem()).unwrap();
        // A port that was free a moment ago: Exim takes no socket that somebody else has opened.
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let metadata = std::fs::metadata(at).unwrap();
        let (user, group) = (metadata.uid(), metadata.gid());
        let configuration = CONFIGURATION
            .replace("FOLDER", &at.display().to_string())
            .replace("PORT", &port.to_string())
            // Exim puts nothing into a file as root.
            .replace("POSTMAN", &if user == 0 { "nobody".to_owned() } else { user.to_string() })
            .replace("USER", &user.to_string())
            .replace("GROUP", &group.to_string());
        let file = at.join("exim.conf");
        std::fs::write(&file, configuration).unwrap();
        let process = Command::new(EXIM)
            .arg("-C")
            .arg(&file)
            .args(["-bdf", "-q30m"])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("exim4-daemon-light is installed");
        let clock = Clock::system();
        soon(async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                clock.sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        Some(Self { folder, port, authority: certificate.pem(), _process: process })
    }

    fn url(&self, password: &str) -> String {
        format!("smtp://tallyd:{password}@localhost:{}?tls=required", self.port)
    }

    /// Every mail that it put into this recipient's box.
    fn delivered(&self, name: &str) -> Vec<String> {
        let folder = self.folder.path().join("mail").join(name).join("new");
        let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
        files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect()
    }

    fn greylist(&self, on: bool) {
        let file: &Path = &self.folder.path().join("greylisting");
        if on { std::fs::write(file, "").unwrap() } else { std::fs::remove_file(file).unwrap() }
    }
}

#[tokio::test]
async fn exim_takes_the_mail_over_tls_from_who_has_logged_in() {
    let Some(exim) = Exim::start().await else { return };
    let bot = budget("bot", &[LENA, "gone@example.com", "team@elsewhere.example"]);
    let mut scene = Scene::new(std::slice::from_ref(&bot)).await;
    scene.count(&bot, "240", "2026-11-18T08:00:00Z").await;

    // A wrong password and an authority that is not known are told, and nothing is lost.
    exim.greylist(true);
    let running = scene.deliver_to(&exim.url("wrong"), Some(&exim.authority));
    scene.cross(&bot, "80%", "240").await;
    let tried =
        |messages: &[tallyd::store::outbox::Message]| messages.len() == 3 && messages.iter().all(|m| m.attempts > 0);
    let refused = scene.until(tried).await;
    assert!(refused.iter().all(|message| message.state == MessageState::Queued), "{refused:?}");
    assert!(refused[0].last_error.as_ref().unwrap().contains("logging in"), "{refused:?}");
    scene.end(running).await;
    let running = scene.deliver_to(&exim.url("s3cret"), None);
    let unknown = "certificate";
    scene.until(|messages| messages.iter().all(|m| m.last_error.as_ref().is_some_and(|e| e.contains(unknown)))).await;
    scene.end(running).await;

    // With both right it defers, then takes what it has a box for and refuses the rest for good.
    let _running = scene.deliver_to(&exim.url("s3cret"), Some(&exim.authority));
    let later = scene
        .until(|messages| messages.iter().any(|m| m.last_error.as_ref().is_some_and(|e| e.contains("greylisted"))))
        .await;
    assert!(later.iter().any(|message| message.state == MessageState::Queued));
    exim.greylist(false);
    let over = |state| matches!(state, MessageState::Sent | MessageState::Failed);
    let messages = scene.until(|messages| messages.iter().all(|message| over(message.state))).await;
    for message in &messages {
        let taken = message.recipient == LENA;
        assert_eq!(message.state, if taken { MessageState::Sent } else { MessageState::Failed }, "{message:?}");
    }

    let clock = Clock::system();
    soon(async {
        while exim.delivered("lena").is_empty() {
            clock.sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let [mail] = exim.delivered("lena").try_into().unwrap();
    let sent = messages.iter().find(|message| message.recipient == LENA).unwrap();
    let subject = sent.subject.as_str();
    for wanted in [
        format!("Message-ID: <{}>", sent.message_id),
        format!("Subject: {subject}"),
        "with esmtpsa".to_owned(),
        "Content-Type: multipart/alternative".to_owned(),
        "Content-Type: multipart/related".to_owned(),
        "Content-Type: image/png".to_owned(),
        "Return-path: <tallyd@example.com>".to_owned(),
    ] {
        assert!(mail.contains(&wanted), "{wanted} in\n{mail}");
    }
    assert!(exim.delivered("gone").is_empty());
}
