//! `tallyd check`: the doctor. What is wrong, and how to mend it; nothing is changed.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use secrecy::SecretString;

use super::{Ending, Outcome, Surroundings};
use crate::config::{Config, Database};
use crate::domain::comparison::Verdict;
use crate::domain::money::Money;
use crate::domain::time::Timestamp;
use crate::mail::{Mailer, Message};
use crate::openrouter::{Client, ReadError, Timeouts};
use crate::reconcile::{self, CompareError};
use crate::report::format;
use crate::store::{self, Store, StoreError, StoreOptions};
use crate::webhook::{Event, SendError, Told, Webhooks};

/// Free space below which the disk is worth a word, in bytes.
const LITTLE_SPACE: u64 = 1 << 30;

/// A clock this far from OpenRouter's is wrong enough to put rows into the wrong window, in milliseconds.
const CLOCK_OFF_MS: i64 = 60_000;

/// Cheap, quick, and there for years.
const STREAM_MODEL: &str = "openai/gpt-4o-mini";

/// Check configuration, database, OpenRouter key, mail server, webhooks, clock and disk.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Send a test mail to this address
    #[arg(long, value_name = "ADDR")]
    send_test_mail: Option<String>,
    /// Tell the webhook of this name that this is a test
    #[arg(long, value_name = "NAME")]
    send_test_webhook: Option<String>,
    /// Send one stream through the running daemon, or to this base URL, and tell whether something on the way holds
    /// chunks back. Checks nothing else. Needs a model: with a real key it costs money, as a rule less than $0.001
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["send_test_mail", "send_test_webhook"])]
    stream: Option<String>,
    /// The model of --stream: a cheap or free one
    #[arg(long, default_value = STREAM_MODEL, requires = "stream")]
    model: String,
}

/// How long a running daemon may take to write what it has seen, when its sums are compared.
const DRAINED_WITHIN: Duration = Duration::from_secs(1);

/// What a look at one thing gave.
enum Finding {
    Good(String),
    Note(String),
    Bad(String),
}

use Finding::{Bad, Good, Note};

impl Check {
    pub(super) async fn run(self, surroundings: Surroundings) -> Outcome {
        let loaded = match surroundings.load() {
            Ok(loaded) => loaded,
            Err(error) => {
                say("configuration", &Bad(format!("{error:#}")))?;
                return Ok(Ending::Found);
            }
        };
        let config = &loaded.config;
        if let Some(url) = &self.stream {
            return super::streaming::run(&surroundings, config, url, &self.model).await;
        }
        let source = loaded
            .origin
            .as_ref()
            .map_or_else(|| "no file: defaults and environment".to_owned(), |path| path.display().to_string());
        let mut findings = vec![("configuration", Good(source))];
        findings.extend(loaded.warnings.iter().map(|warning| ("configuration", Note(warning.clone()))));
        findings.push(("database", database(config).await));
        findings.push(("journal", folder(&config.journal_dir)));
        findings.extend(keys(config, &surroundings).await);
        findings.extend(account(config, &surroundings).await);
        findings.push(("mail", self.mail(config, &surroundings).await));
        findings.extend(self.webhooks(config, &surroundings).await.into_iter().map(|finding| ("webhook", finding)));
        let mut good = true;
        for (what, finding) in &findings {
            good &= !matches!(finding, Bad(_));
            say(what, finding)?;
        }
        Ok(if good { Ending::Done } else { Ending::Found })
    }

    /// Each webhook that is configured, and the one to be tried if it is not.
    async fn webhooks(&self, config: &Config, surroundings: &Surroundings) -> Vec<Finding> {
        let webhooks = match Webhooks::from_config(&config.webhooks, surroundings.clock.clone()) {
            Ok(webhooks) => webhooks,
            Err(error) => return vec![Bad(error.to_string())],
        };
        let mut findings = Vec::new();
        for name in webhooks.names() {
            let tested = self.send_test_webhook.as_deref() == Some(name);
            let outcome =
                if tested { test(&webhooks, name, config, surroundings).await } else { webhooks.find(name).await };
            findings.push(match outcome {
                Ok(()) if tested => Good(format!("{name} took a test")),
                Ok(()) => Good(format!("{name}: its host has an address; --send-test-webhook {name} tries it")),
                Err(error) => Bad(format!("{name}: {error}")),
            });
        }
        let missing = self.send_test_webhook.iter().filter(|name| !config.webhooks.contains_key(*name));
        findings.extend(missing.map(|name| Bad(SendError::Unknown(name.clone()).to_string())));
        findings
    }

    async fn mail(&self, config: &Config, surroundings: &Surroundings) -> Finding {
        let mailer = match Mailer::from_config(&config.smtp, surroundings.clock.clone()) {
            Ok(mailer) => mailer,
            Err(error) => return Bad(error.to_string()),
        };
        let (Some(url), Some(mailer)) = (&config.smtp.url, mailer) else {
            let unsent = "no server: alert mails wait in the outbox; set smtp.url or SMTP_URL";
            return if self.send_test_mail.is_some() { Bad(unsent.to_owned()) } else { Note(unsent.to_owned()) };
        };
        let Some(to) = &self.send_test_mail else {
            return match mailer.test_connection().await {
                Ok(()) => Good(format!("{url} answers and lets us in")),
                Err(error) => Bad(error.to_string()),
            };
        };
        let message = Message {
            message_id: format!("test.{:032x}@{}", surroundings.entropy.next_u128(), mailer.domain()),
            to: to.clone(),
            subject: "tallyd can send mail".to_owned(),
            text: "This is the test mail you asked for with `tallyd check --send-test-mail`. Budget alerts will come the same way.\n".to_owned(),
            html: "<!doctype html><html lang=\"en\"><body><p>This is the test mail you asked for with <code>tallyd check --send-test-mail</code>. Budget alerts will come the same way.</p></body></html>".to_owned(),
            pictures: Vec::new(),
            date: surroundings.clock.now(),
        };
        match mailer.send(&message).await {
            Ok(()) => Good(format!("{url} accepted a test mail to {to}")),
            Err(error) => Bad(error.to_string()),
        }
    }
}

/// Tells a webhook that this is a test, in its own form and signed as everything it is told.
async fn test(webhooks: &Webhooks, name: &str, config: &Config, surroundings: &Surroundings) -> Result<(), SendError> {
    let event = Event {
        kind: "test".to_owned(),
        timestamp: surroundings.clock.now().to_iso(),
        data: Told {
            title: "tallyd can tell this webhook".to_owned(),
            summary: vec![format!(
                "This is the test you asked for with `tallyd check --send-test-webhook {name}`. Budget alerts will come the same way."
            )],
            link: config.dashboard.url(config.listen),
            more: serde_json::Map::new(),
        },
    };
    let event = serde_json::to_string(&event).map_err(|error| SendError::Form(error.to_string()))?;
    webhooks.send(name, &format!("test.{:032x}", surroundings.entropy.next_u128()), &event).await
}

async fn database(config: &Config) -> Finding {
    match Store::open_read_only(&StoreOptions::new(config.database.url())).await {
        Ok(store) => {
            store.close().await;
            match &config.database {
                Database::Sqlite(path) => space(path, &format!("{} can be read", config.database)),
                Database::Postgres(_) => Good(format!("{} can be read", config.database)),
            }
        }
        Err(StoreError::Missing { .. }) => match &config.database {
            Database::Sqlite(path) => match path.parent().map(folder) {
                Some(Bad(why)) => Bad(why),
                _ => Note(format!("{} is not there yet; `tallyd serve` makes it", config.database)),
            },
            Database::Postgres(_) => Note(format!("{} is not there yet", config.database)),
        },
        // No version at all: a database that was made for tallyd, and not used yet.
        Err(StoreError::Older { found: 0, .. }) => {
            Note(format!("{} is empty; `tallyd serve` fills it", config.database))
        }
        Err(error) => Bad(error.to_string()),
    }
}

/// Whether files can be made in `path`, or in the nearest folder above it that is there.
fn folder(path: &Path) -> Finding {
    let Some(there) = path.ancestors().find(|folder| folder.is_dir()) else {
        return Bad(format!("{} can not be made", path.display()));
    };
    match rustix::fs::access(there, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK) {
        Ok(()) => space(there, &format!("{} can be written", path.display())),
        Err(error) => Bad(format!(
            "{} can not be written ({error}); give this user the folder, or name another in the configuration",
            there.display()
        )),
    }
}

fn space(path: &Path, good: &str) -> Finding {
    match rustix::fs::statvfs(path) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let text = format!("{good}; {} MiB are free on its disk", free >> 20);
            if free < LITTLE_SPACE { Bad(format!("{text}: make room before it is full")) } else { Good(text) }
        }
        Err(error) => Bad(format!("{good}, but its disk can not be asked for free space ({error})")),
    }
}

async fn keys(config: &Config, surroundings: &Surroundings) -> Vec<(&'static str, Finding)> {
    if config.openrouter.keys.is_empty() {
        let none = "none is configured: callers must bring their own; set OPENROUTER_API_KEY or [openrouter] api_key";
        return vec![("OpenRouter key", Note(none.to_owned()))];
    }
    let timeouts = Timeouts { connect: config.openrouter.connect_timeout, reading: Duration::from_secs(10) };
    let client = match Client::new(&config.openrouter.base_url, timeouts, surroundings.clock.clone()) {
        Ok(client) => client,
        Err(error) => return vec![("OpenRouter key", Bad(error.to_string()))],
    };
    let mut findings = Vec::new();
    for (name, key) in &config.openrouter.keys {
        findings.push(("OpenRouter key", key_finding(&client, name, key).await));
    }
    findings.push(("clock", clock(&client, surroundings.clock.now()).await));
    findings
}

/// What OpenRouter counted today beside the ledger, and the balance.
async fn account(config: &Config, surroundings: &Surroundings) -> Vec<(&'static str, Finding)> {
    let timeouts = Timeouts { connect: config.openrouter.connect_timeout, reading: Duration::from_secs(10) };
    // What keeps the client or the database from being opened was told before.
    let Ok(client) = Client::new(&config.openrouter.base_url, timeouts, surroundings.clock.clone()) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    if let Ok(store) = Store::open_read_only(&StoreOptions::new(config.database.url())).await {
        for (name, key) in &config.openrouter.keys {
            findings.extend(compared(&client, &store, (name, key), surroundings).await.map(|told| ("today", told)));
        }
        store.close().await;
    }
    if let Some(key) = &config.openrouter.management_key {
        findings.push((
            "balance",
            match reconcile::ask_balance(&client, key).await {
                Ok(balance) if balance.left() <= Money::ZERO => Bad(format!(
                    "{} of credits are left; buy more at https://openrouter.ai/settings/credits",
                    format::usd(balance.left())
                )),
                Ok(balance) => Good(format!("{} of credits are left", format::usd(balance.left()))),
                Err(error) => Bad(error.to_string()),
            },
        ));
    }
    findings
}

/// `None` where the key can not be compared for a reason told elsewhere.
async fn compared(
    client: &Client,
    store: &Store,
    (name, key): (&str, &SecretString),
    surroundings: &Surroundings,
) -> Option<Finding> {
    let clock = &surroundings.clock;
    // A running daemon writes what it has seen within this time.
    let caught_up = || async {
        clock.sleep(DRAINED_WITHIN).await;
        true
    };
    let catalogue = store::catalogue::load(store).await.ok()?;
    let day = match reconcile::compare(client, store, &catalogue, (name, key), clock, caught_up).await {
        Ok(day) => day,
        // That OpenRouter refuses the key, or does not answer, is told of the key itself.
        Err(CompareError::Read(_)) => return None,
        Err(error) => return Some(Note(format!("{name}: {error}"))),
    };
    let sums = format!("{name}: {} here, {} at OpenRouter", format::usd(day.ours), format::usd(day.theirs));
    Some(match day.verdict() {
        Verdict::Agrees => Good(sums),
        Verdict::Open(used) => Note(format!("{sums}: {} may be costs not known yet", format::usd(used))),
        Verdict::Elsewhere(used) => Note(format!(
            "{sums}: {} used elsewhere or not captured; calls with this key do not all pass through tallyd",
            format::usd(used)
        )),
    })
}

async fn key_finding(client: &Client, name: &str, key: &SecretString) -> Finding {
    match client.key_info(key).await {
        Ok(info) => {
            let left =
                info.limit_remaining.map_or_else(|| "no limit of its own".to_owned(), |left| format!("${left} left"));
            let today = info.usage_daily.map_or_else(String::new, |spent| format!(", ${spent} used today (UTC)"));
            Good(format!("{name}: accepted, {left}{today}"))
        }
        Err(ReadError::Refused { status }) => Bad(format!(
            "{name}: OpenRouter refuses it (HTTP {status}); make a new one at https://openrouter.ai/settings/keys"
        )),
        Err(error) => Bad(format!("{name}: {error}")),
    }
}

async fn clock(client: &Client, now: Timestamp) -> Finding {
    match client.server_time().await {
        Some(theirs) => {
            let off = now.millis() - theirs.millis();
            if off.abs() > CLOCK_OFF_MS {
                Bad(format!(
                    "this machine's clock is {} s off OpenRouter's; rows would fall into the wrong window: run NTP",
                    off / 1000
                ))
            } else {
                Good("agrees with OpenRouter's to the minute".to_owned())
            }
        }
        None => Note("OpenRouter told no time to compare with".to_owned()),
    }
}

fn say(what: &str, finding: &Finding) -> std::io::Result<()> {
    let (mark, text) = match finding {
        Good(text) => ("ok   ", text),
        Note(text) => ("note ", text),
        Bad(text) => ("WRONG", text),
    };
    writeln!(std::io::stdout(), "{mark}  {what}: {text}")
}
