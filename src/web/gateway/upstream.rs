//! The pass-through client: sends what it is given, adds nothing, decodes nothing, follows nothing.
//!
//! It speaks HTTP/1.1, as most SDKs do: one call, one connection. Over HTTP/2 all calls would share one
//! connection, upstream's limit on its streams (100 at common edges) would make the next call wait for
//! minutes, and one slow client could hold up the others.

use std::time::Duration;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use url::Url;

use super::request_body::RequestBody;
use crate::config::{BASE_PATH, OpenRouter};

/// How long a connection may lie idle before it is closed: shorter than servers commonly allow, so that a call seldom
/// meets one that is just being closed.
const IDLE: Duration = Duration::from_secs(50);

/// Most idle connections kept.
const MAX_IDLE: usize = 512;

/// TCP keep-alive finds out after this time that upstream is gone without a word.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// The way to OpenRouter.
#[derive(Debug)]
pub(super) struct Upstream {
    client: Client<HttpsConnector<HttpConnector>, RequestBody>,
    scheme: Scheme,
    authority: Authority,
    /// What stands before `/api/…` in the path of `base_url`, usually nothing.
    prefix: String,
}

/// Why there is no way upstream.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// `openrouter.base_url` cannot be called.
    #[error("openrouter.base_url {0} cannot be called: it must be an http(s) URL with a host that ends in {BASE_PATH}")]
    BaseUrl(Url),
    /// The TLS library refuses its own settings.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[source] rustls::Error),
}

impl Upstream {
    /// A client for these settings; `buffer` is what it reads ahead of one connection, in bytes.
    pub(super) fn new(settings: &OpenRouter, buffer: usize) -> Result<Self, UpstreamError> {
        let base_url = &settings.base_url;
        let wrong = || UpstreamError::BaseUrl(base_url.clone());
        let uri: Uri = base_url.as_str().parse().map_err(|_| wrong())?;
        let parts = uri.into_parts();
        let scheme = parts.scheme.ok_or_else(wrong)?;
        let authority = parts.authority.ok_or_else(wrong)?;
        let prefix = base_url.path().strip_suffix(BASE_PATH).ok_or_else(wrong)?.to_owned();

        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_keepalive(Some(KEEP_ALIVE));
        http.set_connect_timeout(Some(settings.connect_timeout));
        let roots: rustls::RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        let tls = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(UpstreamError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(http);
        // hyper drives its connections in tasks of its own; they end when this client is dropped.
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .pool_timer(TokioTimer::new())
            .http1_max_buf_size(buffer)
            .build(connector);
        Ok(Self { client, scheme, authority, prefix })
    }

    /// The host and port that calls go to.
    pub(super) fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// The address of a request's path and query, byte for byte.
    pub(super) fn uri(&self, target: &PathAndQuery) -> Result<Uri, http::Error> {
        let builder = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        if self.prefix.is_empty() {
            return builder.path_and_query(target.clone()).build();
        }
        builder.path_and_query(format!("{}{target}", self.prefix)).build()
    }

    /// Sends a request. A request that was handed to a connection is never sent again; one that met a connection already
    /// closed goes to another.
    pub(super) fn send(&self, request: Request<RequestBody>) -> ResponseFuture {
        self.client.request(request)
    }
}
