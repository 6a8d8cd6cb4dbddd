//! The settings above all sections: listener, database, journal folder, zone, who may come in.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::reader::{Read, Reader};
use super::secret::SecretUrl;

/// An admin token shorter than this is worth a warning.
const SHORT_TOKEN: usize = 16;

/// The ledger's engine and where it is.
#[derive(Clone, Debug)]
pub enum Database {
    /// A SQLite file, absolute unless the working directory is not.
    Sqlite(PathBuf),
    /// A PostgreSQL database, `postgres://…`.
    Postgres(SecretUrl),
}

impl Database {
    /// The URL to open it with; it may hold a password.
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite:{}", path.display()),
            Self::Postgres(url) => url.expose().to_owned(),
        }
    }
}

impl std::fmt::Display for Database {
    /// As a URL without a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

/// Whether only this machine reaches an address.
pub(super) fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Whether a URL's host means this machine, by its form alone.
pub(super) fn is_loopback_host(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    // Schemes that `url` does not know keep an IPv6 address's brackets and an IPv4 address as a name.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return is_loopback(ip);
    }
    let name = bare.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// `listen`.
pub(super) fn read_listen(reader: &mut Reader<'_>) -> Read<SocketAddr> {
    reader.parsed("listen", |text| {
        text.parse().map_err(|_| {
            let port = text.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).unwrap_or(7117);
            format!("{text:?} is not an IP address and a port; write \"127.0.0.1:{port}\" or \"[::1]:{port}\"")
        })
    })
}

/// `database_url`, or the default place.
pub(super) fn read_database(reader: &mut Reader<'_>) -> Read<Database> {
    const KEY: &str = "database_url";
    if let Some(url) = reader.secret(KEY)? {
        return match parse_database(url.expose_secret(), &reader.base(KEY)) {
            Ok(database) => Ok(database),
            Err(message) => reader.wrong_setting(KEY, message),
        };
    }
    match reader.sources.data_home() {
        Some(folder) => Ok(Database::Sqlite(folder.join("tallyd").join("tallyd.db"))),
        None => reader.wrong_setting(
            KEY,
            "neither $XDG_DATA_HOME nor $HOME tells where data belong; write \"sqlite:/path/to/tallyd.db\"",
        ),
    }
}

/// The error is a message; it quotes nothing of the URL, which may hold a password.
fn parse_database(text: &str, base: &Path) -> Result<Database, String> {
    const FORMS: &str = "write \"sqlite:/path/to/tallyd.db\" or \"postgres://user:password@host/database\"";
    if let Some(rest) = text.strip_prefix("sqlite:") {
        let path = rest.strip_prefix("//").unwrap_or(rest);
        if path.contains('?') {
            return Err(
                "a sqlite URL takes no parameters here: tallyd sets them itself; leave out what follows ?".into()
            );
        }
        if path.is_empty() || path == ":memory:" {
            return Err("the ledger needs a file; write \"sqlite:/path/to/tallyd.db\"".into());
        }
        let path = percent_decode_str(path).decode_utf8().map_err(|_| format!("the path is not UTF-8; {FORMS}"))?;
        return Ok(Database::Sqlite(base.join(&*path)));
    }
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        let advice = "percent-encode what a URL cannot hold";
        let url = Url::parse(text).map_err(|error| format!("this URL is malformed ({error}); {advice}; {FORMS}"))?;
        return Ok(Database::Postgres(SecretUrl::new(&url)));
    }
    Err(format!("this is no URL of a database tallyd knows; {FORMS}"))
}

/// `journal_dir`, or the default place beside the database.
pub(super) fn read_journal_dir(reader: &mut Reader<'_>, database: &Database) -> Read<PathBuf> {
    const KEY: &str = "journal_dir";
    let text = reader.text(KEY)?;
    if !text.is_empty() {
        return Ok(reader.base(KEY).join(text));
    }
    match database {
        Database::Sqlite(path) => {
            let mut name = path.clone().into_os_string();
            name.push(".journal");
            Ok(PathBuf::from(name))
        }
        Database::Postgres(_) => match reader.sources.data_home() {
            Some(folder) => Ok(folder.join("tallyd").join("journal")),
            None => reader.wrong_setting(
                KEY,
                "neither $XDG_DATA_HOME nor $HOME tells where data belong; write \"/path/to/journal\"",
            ),
        },
    }
}

/// `admin_token`; required when others than this machine reach the listener.
pub(super) fn read_admin_token(reader: &mut Reader<'_>, listen: SocketAddr) -> Read<Option<SecretString>> {
    const KEY: &str = "admin_token";
    let token = reader.secret(KEY)?;
    match &token {
        None if !is_loopback(listen.ip()) => {
            return reader.wrong_setting(
                "listen",
                format!(
                    "{listen} is open to other machines, which needs an admin_token; set one (TALLYD_ADMIN_TOKEN) or \
                     listen on 127.0.0.1:{}",
                    listen.port()
                ),
            );
        }
        Some(token) if !token.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()) => {
            return reader.wrong_setting(
                KEY,
                "an HTTP header cannot carry this token; use letters, digits and ASCII punctuation, without spaces",
            );
        }
        Some(token) if token.expose_secret().len() < SHORT_TOKEN => {
            reader.warnings.push(format!("{KEY} has fewer than {SHORT_TOKEN} characters and can be guessed"));
        }
        _ => {}
    }
    Ok(token)
}

/// One of `allowed_hosts`, in lower case.
pub(super) fn parse_host(text: &str) -> Result<String, String> {
    match Url::parse(&format!("http://{text}/")) {
        Ok(url) if url.host_str().is_some_and(|host| host.eq_ignore_ascii_case(text)) => Ok(text.to_ascii_lowercase()),
        _ => Err(format!("{text:?} is not a host name; write it alone, without scheme, port or path")),
    }
}
