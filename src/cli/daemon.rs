//! How a command reaches the ledger: the running daemon at `listen`, or the database itself.

use std::time::Duration;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::config::Config;
use crate::store::{Store, StoreOptions};

/// How long a daemon may take to answer a command.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Largest answer read from a daemon, in bytes.
const MAX_ANSWER: usize = 16 << 20;

/// Opens the database to be read, whether the daemon runs or not.
pub(super) async fn open_read_only(config: &Config) -> anyhow::Result<Store> {
    Ok(Store::open_read_only(&StoreOptions::new(config.database.url())).await?)
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
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(crate::openrouter::client_config()?)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(TIMEOUT)
        .build()?;
    let mut address = config.listen;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let mut request = client.request(method, format!("http://{address}{path}"));
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body);
    }
    if let Some(token) = &config.admin_token {
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
