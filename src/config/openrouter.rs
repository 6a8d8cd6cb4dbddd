//! `[openrouter]`: where calls go and with which keys.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::general::{is_loopback, is_loopback_host};
use super::reader::{Read, Reader};

/// What every OpenRouter inference key starts with.
pub const KEY_PREFIX: &str = "sk-or-v1-";

/// What `base_url` ends in; the gateway puts a caller's own path in its place.
pub const BASE_PATH: &str = "/api/v1";

/// The name under which the key of `openrouter.api_key` stands in the ledger.
pub const DEFAULT_KEY_NAME: &str = "default";

/// The settings of `[openrouter]`.
#[derive(Clone, Debug)]
pub struct OpenRouter {
    /// Ends in `/api/v1`, without a slash behind it, user, password, query or fragment.
    pub base_url: Url,
    /// The configured keys by name; `openrouter.api_key` is the one named [`DEFAULT_KEY_NAME`]. Each starts with
    /// [`KEY_PREFIX`] and no two are equal. Empty: none is configured.
    pub keys: BTreeMap<String, SecretString>,
    /// Finds generations that the ledger never saw, and the account's balance; it makes no calls and reads no records.
    /// `None` when it is not set.
    pub management_key: Option<SecretString>,
    /// How long a connection may take to open.
    pub connect_timeout: Duration,
}

impl OpenRouter {
    /// The key for calls that bring none and IDs that name none; `None` when it is not set.
    pub fn api_key(&self) -> Option<&SecretString> {
        self.keys.get(DEFAULT_KEY_NAME)
    }

    /// Reads the section; `listen` is where a base URL must not lead.
    pub(super) fn read(reader: &mut Reader<'_>, listen: SocketAddr) -> Read<Self> {
        let hostname = &reader.sources.hostname;
        let base_url = reader.parsed("openrouter.base_url", |text| parse_base_url(text, listen, hostname))?;
        if base_url.scheme() == "http" && !is_loopback_host(&base_url) {
            reader.warnings.push("openrouter.base_url is http: keys and prompts travel readable; use https".to_owned());
        }
        Ok(Self {
            base_url,
            keys: read_keys(reader)?,
            management_key: read_key(reader, "openrouter.management_key")?,
            connect_timeout: reader
                .duration("openrouter.connect_timeout", Duration::from_millis(100)..=Duration::from_mins(2))?,
        })
    }
}

fn read_keys(reader: &mut Reader<'_>) -> Read<BTreeMap<String, SecretString>> {
    let mut keys = BTreeMap::new();
    if let Some(key) = read_key(reader, "openrouter.api_key")? {
        keys.insert(DEFAULT_KEY_NAME.to_owned(), key);
    }
    for (name, setting) in reader.named("openrouter.keys") {
        if name == DEFAULT_KEY_NAME {
            return reader.wrong_setting(&setting, "this name belongs to openrouter.api_key; choose another");
        }
        let Some(key) = read_key(reader, &setting)? else { continue };
        let twin = keys.iter().find(|(_, other)| other.expose_secret() == key.expose_secret());
        if let Some((twin, _)) = twin {
            return reader
                .wrong_setting(&setting, format!("this is the key already named {twin:?}; remove one of them"));
        }
        keys.insert(name, key);
    }
    Ok(keys)
}

fn read_key(reader: &mut Reader<'_>, setting: &str) -> Read<Option<SecretString>> {
    let key = reader.secret(setting)?;
    if let Some(key) = &key {
        let rest = key.expose_secret().strip_prefix(KEY_PREFIX);
        if !rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic())) {
            let message = format!(
                "this is not an OpenRouter key: it must start with {KEY_PREFIX} and hold no spaces; \
                 copy it from https://openrouter.ai/settings/keys"
            );
            return reader.wrong_setting(setting, message);
        }
    }
    Ok(key)
}

fn parse_base_url(text: &str, listen: SocketAddr, hostname: &str) -> Result<Url, String> {
    let remedy = format!("write \"https://openrouter.ai{BASE_PATH}\" or another http(s) URL that ends in {BASE_PATH}");
    let url =
        Url::parse(text.trim_end_matches('/')).map_err(|error| format!("this is not a URL ({error}); {remedy}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("this is not an http(s) URL; {remedy}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("a user or password has no place here; {remedy}"));
    }
    if url.query().is_some() || url.fragment().is_some() || !url.path().ends_with(BASE_PATH) {
        return Err(format!("this URL does not end in {BASE_PATH}; {remedy}"));
    }
    if leads_to(&url, listen, hostname) {
        return Err(format!(
            "{url} leads to tallyd's own listener {listen}: calls would go round in a circle; {remedy}"
        ));
    }
    Ok(url)
}

/// Whether a connection to the URL's host would reach a listener on `listen` of the machine `hostname`, by its form alone.
fn leads_to(url: &Url, listen: SocketAddr, hostname: &str) -> bool {
    if url.port_or_known_default() != Some(listen.port()) {
        return false;
    }
    let ip = match url.host() {
        Some(url::Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
        Some(url::Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
        _ => None,
    };
    // A connection to the unspecified address reaches this machine.
    let here = is_loopback_host(url)
        || ip.is_some_and(|ip| ip.is_unspecified())
        || url.host_str().is_some_and(|host| host.eq_ignore_ascii_case(hostname));
    let everywhere = listen.ip().is_unspecified();
    (here && (everywhere || is_loopback(listen.ip()))) || ip.is_some_and(|ip| ip == listen.ip())
}
