//! The configuration: flags over environment over `tallyd.toml` over `config.example.toml`.
//!
//! Everything is checked here, once, before anything starts; every message names the place and the
//! remedy, and none holds a secret. Where the layers come from is passed in as [`Sources`].

mod broadcast;
mod budgets;
mod catalogue;
mod dashboard;
mod document;
mod error;
mod gateway;
mod general;
mod journal;
mod layers;
mod ledger;
mod log;
mod nearest;
mod openrouter;
mod quantity;
mod reader;
mod reports;
mod retention;
mod secret;
mod settle;
mod smtp;
mod sources;
mod spikes;
mod sql;
mod webhooks;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use chrono_tz::Tz;
use secrecy::SecretString;

pub use broadcast::Broadcast;
pub use catalogue::Catalogue;
pub use dashboard::Dashboard;
pub use error::{ConfigError, Origin, Problem};
pub use gateway::Gateway;
pub use general::Database;
pub use journal::Journal;
pub use layers::EXAMPLE;
pub use ledger::Ledger;
pub use log::{Log, LogFormat};
pub use openrouter::{BASE_PATH, DEFAULT_KEY_NAME, KEY_PREFIX, OpenRouter};
pub use retention::Retention;
pub use secret::SecretUrl;
pub use settle::Settle;
pub use smtp::Smtp;
pub use sources::{Flags, Sources};
pub use spikes::Spikes;
pub use sql::Sql;
pub use webhooks::{Webhook, WebhookForm};

pub use crate::domain::budget::OnLedgerFailure;

use crate::domain::budget::Budget;
use crate::domain::digest::Report;
use crate::domain::recipient;
use crate::domain::zone;
use layers::Layers;
use reader::{Read, Reader};

/// What a name in the file looks like, for messages.
const NAME_RULE: &str = "[a-z0-9][a-z0-9._-]{0,63}: lower-case letters, digits, dots, hyphens and underscores";

/// Every setting, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The one address served; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The ledger.
    pub database: Database,
    /// The journal's folder, on this machine.
    pub journal_dir: PathBuf,
    /// The zone of pages, reports and budgets that name none.
    pub time_zone: Tz,
    /// Opens pages and the JSON API; `None` only on a loopback listener.
    pub admin_token: Option<SecretString>,
    /// Host names beside the loopback ones, in lower case, without ports.
    pub allowed_hosts: Vec<String>,
    /// Where calls go.
    pub openrouter: OpenRouter,
    /// The hot path's bounds.
    pub gateway: Gateway,
    /// How observations reach the disk.
    pub journal: Journal,
    /// How they reach the database.
    pub ledger: Ledger,
    /// How generation records are read.
    pub settle: Settle,
    /// How OpenRouter pushes what it bills.
    pub broadcast: Broadcast,
    /// How OpenRouter's list of models is read.
    pub catalogue: Catalogue,
    /// What is called unusual.
    pub spikes: Spikes,
    /// What people's own queries may take.
    pub sql: Sql,
    /// How mails leave.
    pub smtp: Smtp,
    /// How long what is kept.
    pub retention: Retention,
    /// The webhooks, by the names that `notify` calls them by.
    pub webhooks: BTreeMap<String, Webhook>,
    /// Where people find the pages.
    pub dashboard: Dashboard,
    /// What is logged.
    pub log: Log,
    /// The budgets that stand in the file, in its order; names are unique.
    pub budgets: Vec<Budget>,
    /// The reports that stand in the file, in its order; names are unique.
    pub reports: Vec<Report>,
}

/// A configuration and what is to be said about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// The file they come from, as it was found; `None`: there was none.
    pub origin: Option<PathBuf>,
    /// What is not wrong and worth a sentence, in no order.
    pub warnings: Vec<String>,
    /// What was written, to be compared with what is written later.
    pub written: Written,
}

/// Every setting as it was written, over all layers; what secrets are is not looked at, only how they are written. It may
/// hold secrets all the same: its `Debug` shows none.
#[derive(Clone)]
pub struct Written(std::collections::BTreeMap<String, document::Value>);

impl Written {
    /// The settings that are written otherwise in `later`, budgets left out.
    pub fn others(&self, later: &Self) -> Vec<String> {
        let keys: std::collections::BTreeSet<&String> = self.0.keys().chain(later.0.keys()).collect();
        let same = |key: &str| match (self.0.get(key), later.0.get(key)) {
            (Some(before), Some(after)) => before.kind.is(&after.kind),
            (before, after) => before.is_none() && after.is_none(),
        };
        keys.into_iter().filter(|key| !same(key)).cloned().collect()
    }
}

impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Written").finish_non_exhaustive()
    }
}

impl Config {
    /// Finds the file, lays the layers over each other and checks every setting.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] holds everything found wrong (one problem for each section), the others say why the
    /// file could not be read.
    pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
        let file = sources.read_file()?;
        let mut layers = Layers::defaults()?;
        if let Some((path, text)) = &file {
            layers.add_file(document::parse(text, &document::Source::File(path.clone()))?);
        }
        layers.add_environment(&sources.env);
        layers.add_flags(&sources.flags);

        let mut reader = Reader::new(&layers, sources);
        let config = Self::read(&mut reader);
        let Reader { problems, mut warnings, .. } = reader;
        let problems: Vec<Problem> = layers.problems.iter().cloned().chain(problems).collect();
        warnings.extend(layers.warnings.iter().cloned());
        if let Ok(config) = &config {
            warnings.extend(config.unsendable());
            warnings.extend(config.open_to_the_proxys_callers());
        }
        match config {
            Ok(config) if problems.is_empty() => {
                let written = Written(layers.values().clone());
                Ok(Loaded { config, origin: file.map(|(path, _)| path.to_path_buf()), warnings, written })
            }
            _ => Err(ConfigError::Invalid(problems)),
        }
    }

    /// Whether machines other than this one reach the listener.
    pub fn is_open_to_network(&self) -> bool {
        !general::is_loopback(self.listen.ip())
    }

    /// Who tells, and whom: the file's budgets and reports, and what is unusual.
    fn telling(&self) -> impl Iterator<Item = (&str, &Vec<String>)> {
        let budgets = self.budgets.iter().map(|budget| (budget.name.as_str(), &budget.notify));
        let reports = self.reports.iter().map(|report| (report.name.as_str(), &report.notify));
        let spikes = self.spikes.watch.then_some(("[spikes]", &self.spikes.notify));
        budgets.chain(reports).chain(spikes)
    }

    /// The warning that budgets and reports would mail people, and that there is no server to do it by.
    fn unsendable(&self) -> Option<String> {
        let mails = |notify: &Vec<String>| notify.iter().any(|one| recipient::webhook(one).is_none());
        let mailing: Vec<&str> = self.telling().filter(|(_, notify)| mails(notify)).map(|(name, _)| name).collect();
        let waits = self.smtp.url.is_none() && !mailing.is_empty();
        waits.then(|| {
            let names = mailing.join(", ");
            format!("smtp.url (SMTP_URL) is not set: the mails of {names} wait in the outbox")
        })
    }

    /// The warning that a proxy may stand before a listener that spends for whoever brings no key.
    fn open_to_the_proxys_callers(&self) -> Option<String> {
        let host = self.allowed_hosts.first()?;
        let open = !self.is_open_to_network() && self.openrouter.api_key().is_some();
        open.then(|| {
            format!(
                "allowed_hosts names {host} on a loopback listener, where a call without a key spends with openrouter.api_key: \
                 whoever the reverse proxy lets through to /api spends with it. Let the proxy ask who is there, or \
                 configure no api_key"
            )
        })
    }

    /// Reads every section before it gives up, so that one start tells all that is wrong.
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let listen = general::read_listen(reader);
        let database = general::read_database(reader);
        let journal_dir = match &database {
            Ok(database) => general::read_journal_dir(reader, database),
            Err(noted) => Err(*noted),
        };
        let time_zone = reader.parsed("time_zone", zone::parse);
        let admin_token = listen.and_then(|listen| general::read_admin_token(reader, listen));
        let allowed_hosts = reader.list("allowed_hosts", general::parse_host);
        let openrouter = listen.and_then(|listen| OpenRouter::read(reader, listen));
        let gateway = Gateway::read(reader);
        let journal = Journal::read(reader);
        let ledger = Ledger::read(reader);
        let settle = Settle::read(reader);
        let broadcast = Broadcast::read(reader);
        let catalogue = Catalogue::read(reader);
        let spikes = Spikes::read(reader);
        let sql = Sql::read(reader);
        let smtp = Smtp::read(reader);
        let dashboard = Dashboard::read(reader);
        let log = Log::read(reader);
        let retention = Retention::read(reader);
        let webhooks = webhooks::read(reader);
        let budgets = time_zone.and_then(|zone| budgets::read(reader, zone));
        let reports = time_zone.and_then(|zone| reports::read(reader, zone));
        Ok(Self {
            listen: listen?,
            database: database?,
            journal_dir: journal_dir?,
            time_zone: time_zone?,
            admin_token: admin_token?,
            allowed_hosts: allowed_hosts?,
            openrouter: openrouter?,
            gateway: gateway?,
            journal: journal?,
            ledger: ledger?,
            settle: settle?,
            broadcast: broadcast?,
            catalogue: catalogue?,
            spikes: spikes?,
            sql: sql?,
            smtp: smtp?,
            dashboard: dashboard?,
            log: log?,
            retention: retention?,
            webhooks: webhooks?,
            budgets: budgets?,
            reports: reports?,
        })
    }
}

/// Whether a text is a name as [`NAME_RULE`] says.
fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= 64
        && text.bytes().next().is_some_and(plain)
        && text.bytes().all(|byte| plain(byte) || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_of_the_example_is_read() {
        let mut sources = Sources::bare("/");
        sources.env.insert("HOME".to_owned(), "/home/me".to_owned());
        let layers = Layers::defaults().unwrap();
        let mut reader = Reader::new(&layers, &sources);
        assert!(Config::read(&mut reader).is_ok(), "{:?}", reader.problems);
        assert_eq!(reader.unread(), Vec::<&str>::new());
    }
}
