//! How a command reaches the ledger: the running daemon at `listen`, or the database itself.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::config::Config;
use crate::store::{Store, StoreOptions};
use crate::web::api::{COMMAND, DOOR_HEADER};

/// How long a daemon may take to answer a command.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Largest answer read from a daemon, in bytes.
const MAX_ANSWER: usize = 16 << 20;

/// Opens the database to be read, whether the daemon runs or not.
pub(super) async fn open_read_only(config: &Config) -> anyhow::Result<Store> {
    Ok(Store::open_read_only(&StoreOptions::new(config.database.url())).await?)
}

/// Where this machine reaches the daemon.
pub(super) fn reachable(config: &Config) -> SocketAddr {
    let mut address = config.listen;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    address
}

/// What came of asking the daemon.
pub(super) enum Asked {
    /// It answered.
    Answered(Value),
    /// Nobody listens there.
    NotRunning,
}

/// Asks the daemon at `path`; `body` is JSON.
pub(super) async fn ask(
    config: &Config,
    method: reqwest::Method,
    path: &str,
    body: Option<String>,
) -> anyhow::Result<Asked> {
    let body = body.map(|body| ("application/json", body.into()));
    Daemon::new(config, TIMEOUT)?.ask(method, path, body).await
}

/// What the daemon answered, as what was asked for.
pub(super) fn understood<T: serde::de::DeserializeOwned>(answer: Value) -> anyhow::Result<T> {
    serde_json::from_value(answer).context("the daemon's answer is not understood; is it of this version?")
}

/// The running daemon, if there is one; its connections are kept from one question to the next.
pub(super) struct Daemon<'a> {
    client: reqwest::Client,
    address: SocketAddr,
    config: &'a Config,
}

impl<'a> Daemon<'a> {
    /// The daemon at `listen`, which may take so long to answer.
    pub(super) fn new(config: &'a Config, timeout: Duration) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(crate::tls::client_config()?)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(timeout)
            .build()?;
        Ok(Self { client, address: reachable(config), config })
    }

    /// Asks at `path`; `body` is its type and its bytes.
    pub(super) async fn ask(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<(&str, Bytes)>,
    ) -> anyhow::Result<Asked> {
        let address = self.address;
        let url = format!("http://{address}{path}");
        let mut request = self.client.request(method, url).header(DOOR_HEADER, COMMAND);
        if let Some((content_type, body)) = body {
            request = request.header("content-type", content_type).body(body);
        }
        if let Some(token) = &self.config.admin_token {
            request = request.bearer_auth(token.expose_secret());
        }
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Ok(Asked::NotRunning),
            Err(error) => return Err(error).with_context(|| format!("the daemon at {address} did not answer")),
        };
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            anyhow::ensure!(
                answer.len() + chunk.len() <= MAX_ANSWER,
                "the answer of {address} is longer than {MAX_ANSWER} bytes"
            );
            answer.extend_from_slice(&chunk);
        }
        let value: Value = serde_json::from_slice(&answer)
            .with_context(|| format!("what listens at {address} answered {status} without JSON; is it tallyd?"))?;
        if status.is_success() {
            return Ok(Asked::Answered(value));
        }
        let message = value["error"]["message"].as_str().unwrap_or("no reason given");
        anyhow::bail!("the daemon at {address} answered {status}: {message}")
    }
}
