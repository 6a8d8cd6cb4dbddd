//! Webhooks: what mail tells, told to a program, to Slack or to Discord. One POST a try, one bounded reply.
//!
//! The generic form is signed after Standard Webhooks: `webhook-id` stays the same at each try, so that a
//! receiver can tell a message it has seen. Redirects are not followed. Nothing here logs, retries or
//! remembers, and no URL stands in any error's text: those of Slack and Discord are secrets.

mod error;
mod event;
mod form;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::CONTENT_TYPE;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

pub use self::error::{SendError, SetupError};
pub use self::event::{Event, Told};
use crate::clock::Clock;
use crate::config::{Webhook, WebhookForm};
use crate::domain::discreet::discreet;
use crate::domain::mac::hmac_sha256;

/// How long one try may take, from the connection to the reply's end.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of a reply is read, in bytes: its status says what came of it, the rest is for people.
const MAX_REPLY: usize = 4 * 1024;

/// Where one webhook leads.
struct Target {
    url: SecretString,
    form: WebhookForm,
    /// `None`: what it is told is not signed.
    signing: Option<SecretSlice<u8>>,
}

/// The configured webhooks. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Webhooks {
    http: reqwest::Client,
    targets: Arc<BTreeMap<String, Target>>,
    clock: Clock,
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhooks").field("names", &self.targets.keys()).finish_non_exhaustive()
    }
}

impl Webhooks {
    /// The webhooks that `[webhooks.NAME]` describe.
    pub fn from_config(webhooks: &BTreeMap<String, Webhook>, clock: Clock) -> Result<Self, SetupError> {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(crate::tls::client_config()?)
            .user_agent(concat!("tallyd/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .build()?;
        let targets = webhooks.iter().map(|(name, webhook)| {
            let signing = webhook.secret.clone();
            (name.clone(), Target { url: webhook.url.clone(), form: webhook.form, signing })
        });
        Ok(Self { http, targets: Arc::new(targets.collect()), clock })
    }

    /// The names under which they are configured.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.targets.keys().map(String::as_str)
    }

    /// Whether the host of the webhook `name` has an address. Nothing is sent.
    pub async fn find(&self, name: &str) -> Result<(), SendError> {
        let Some(target) = self.targets.get(name) else { return Err(SendError::Unknown(name.to_owned())) };
        let Ok(url) = url::Url::parse(target.url.expose_secret()) else {
            return Err(SendError::Unreachable("its URL is malformed".to_owned()));
        };
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = url.port_or_known_default().unwrap_or(443);
        match self.clock.timeout(CONNECT_TIMEOUT, tokio::net::lookup_host((host, port))).await {
            Some(Ok(mut addresses)) => match addresses.next() {
                Some(_) => Ok(()),
                None => Err(SendError::Unreachable("its host has no address".to_owned())),
            },
            Some(Err(error)) => {
                Err(SendError::Unreachable(discreet(&format!("its host has no address that is known here ({error})"))))
            }
            None => Err(SendError::Unreachable(format!(
                "its host's address was not told within {} s",
                CONNECT_TIMEOUT.as_secs()
            ))),
        }
    }

    /// Tells the webhook `name` an event, given as its JSON text, under an ID that is the same at each try.
    ///
    /// `Ok` once it has answered with a status of success.
    pub async fn send(&self, name: &str, id: &str, event: &str) -> Result<(), SendError> {
        let Some(target) = self.targets.get(name) else { return Err(SendError::Unknown(name.to_owned())) };
        match self.clock.timeout(TIMEOUT, self.post(target, id, event)).await {
            Some(result) => result,
            None => Err(SendError::Unreachable(format!("no end after {} s", TIMEOUT.as_secs()))),
        }
    }

    async fn post(&self, target: &Target, id: &str, event: &str) -> Result<(), SendError> {
        let body = form::body(target.form, event)?;
        let mut request = self.http.post(target.url.expose_secret()).header(CONTENT_TYPE, "application/json");
        if target.form == WebhookForm::Generic {
            let timestamp = self.clock.now().millis().div_euclid(1000).to_string();
            request = request.header("webhook-id", id).header("webhook-timestamp", &timestamp);
            if let Some(key) = &target.signing {
                request = request.header("webhook-signature", signature(key.expose_secret(), id, &timestamp, &body));
            }
        }
        let mut response = request.body(body).send().await.map_err(|error| SendError::unreachable(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        if status.is_success() {
            // The rest of the reply says nothing that matters; dropping it closes the connection.
            return Ok(());
        }
        let mut reply = Vec::new();
        while reply.len() < MAX_REPLY {
            match response.chunk().await {
                Ok(Some(chunk)) => reply.extend_from_slice(&chunk[..chunk.len().min(MAX_REPLY - reply.len())]),
                _ => break,
            }
        }
        Err(SendError::answered(status, &headers, &reply))
    }
}

/// `v1,…` over ID, time and body, as Standard Webhooks has it.
fn signature(key: &[u8], id: &str, timestamp: &str, body: &str) -> String {
    let signed = format!("{id}.{timestamp}.{body}");
    format!("v1,{}", STANDARD.encode(hmac_sha256(key, signed.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_standard_webhooks() {
        // The example of its specification.
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
