//! The pass-through client: sends what it is given, adds nothing, decodes nothing, follows nothing.
//!
//! It speaks HTTP/1.1, as most SDKs do: one call, one connection. Over HTTP/2 all calls would share one
//! connection, upstream's limit on its streams (100 at common edges) would make the next call wait for
//! minutes, and one slow client could hold up the others.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use tower::ServiceExt as _;
use url::Url;

use super::connection::Connection;
use super::pool::Pool;
use super::request_body::RequestBody;
use crate::clock::Clock;
use crate::config::{BASE_PATH, OpenRouter};
use crate::shutdown::Tasks;

/// TCP keep-alive finds out after this time that upstream is gone without a word.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// The way to OpenRouter.
pub(super) struct Upstream {
    connector: HttpsConnector<HttpConnector>,
    pool: Arc<Pool>,
    /// What a connection reads ahead, in bytes.
    buffer: usize,
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
    /// What stands before `/api/…` in the path of `base_url`, usually nothing.
    prefix: String,
}

/// A request on its way, until its reply's head has come. It opens a connection if none is idle, and drives it itself:
/// nothing happens while it is not polled.
pub(super) type Sending = Pin<Box<dyn Future<Output = Result<Response<UpstreamBody>, SendError>> + Send>>;

/// Why a request got no reply.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// No connection could be made, or it ended before it took the request: nothing was sent.
    #[error("no connection could be made")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The connection broke after the request was handed to it.
    #[error("the connection broke")]
    Broken(#[source] hyper::Error),
    /// What came is no reply: not HTTP, a head beyond the bounds, or a change of protocol that nobody asked for.
    #[error("what came is no reply")]
    NoReply,
}

impl SendError {
    fn of(error: hyper::Error) -> Self {
        if error.is_parse() { Self::NoReply } else { Self::Broken(error) }
    }
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
    pub(super) fn new(
        settings: &OpenRouter,
        buffer: usize,
        clock: Clock,
        tasks: &Tasks,
    ) -> Result<Self, UpstreamError> {
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
        let host = HeaderValue::from_str(&host_of(&scheme, &authority)).map_err(|_| wrong())?;
        Ok(Self { connector, pool: Pool::new(clock, tasks), buffer, scheme, authority, host, prefix })
    }

    /// The host and port that calls go to.
    pub(super) fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// A request's path and query as they go upstream, byte for byte behind the prefix.
    pub(super) fn uri(&self, target: PathAndQuery) -> Result<Uri, http::Error> {
        if self.prefix.is_empty() {
            return Ok(Uri::from(target));
        }
        Ok(Uri::from(PathAndQuery::try_from(format!("{}{target}", self.prefix))?))
    }

    /// Sends a request; its `Host` is set here. A request that was handed to a connection is never sent again; one that
    /// met a connection already closed goes to another.
    pub(super) fn send(self: &Arc<Self>, mut request: Request<RequestBody>) -> Sending {
        request.headers_mut().insert(HOST, self.host.clone());
        let upstream = Arc::clone(self);
        Box::pin(async move {
            loop {
                let (mut connection, reused) = match upstream.pool.take() {
                    Some(connection) => (connection, true),
                    None => (Box::new(upstream.connect().await?), false),
                };
                match connection.send(request).await {
                    // What follows belongs to another protocol; the connection ends here.
                    Ok(reply) if reply.status() == StatusCode::SWITCHING_PROTOCOLS => return Err(SendError::NoReply),
                    Ok(mut reply) => {
                        // The version is each hop's own (RFC 9112 section 2.3).
                        *reply.version_mut() = Version::HTTP_11;
                        return Ok(reply.map(|body| UpstreamBody::new(body, connection, &upstream.pool)));
                    }
                    Err(mut error) => match error.take_message() {
                        Some(unsent) if reused => request = unsent,
                        Some(_) => return Err(SendError::Connect(error.into_error().into())),
                        None => return Err(SendError::of(error.into_error())),
                    },
                }
            }
        })
    }

    async fn connect(&self) -> Result<Connection, SendError> {
        let target = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone()).path_and_query("/");
        let target = target.build().map_err(|error| SendError::Connect(error.into()))?;
        let stream = self.connector.clone().oneshot(target).await.map_err(SendError::Connect)?;
        Connection::open(stream, self.buffer).await.map_err(SendError::Broken)
    }
}

/// What `Host` says: the port only where it is not the scheme's own.
fn host_of(scheme: &Scheme, authority: &Authority) -> String {
    let usual = if *scheme == Scheme::HTTPS { 443 } else { 80 };
    match authority.port_u16().filter(|port| *port != usual) {
        Some(port) => format!("{}:{port}", authority.host()),
        None => authority.host().to_owned(),
    }
}

/// A reply's body. It drives its connection while it is polled, and gives it back when it is over; dropped before, it
/// closes the connection.
pub struct UpstreamBody {
    incoming: Incoming,
    /// `None` once the reply is over.
    connection: Option<Box<Connection>>,
    pool: Arc<Pool>,
}

impl UpstreamBody {
    fn new(incoming: Incoming, connection: Box<Connection>, pool: &Arc<Pool>) -> Self {
        let mut body = Self { incoming, connection: Some(connection), pool: Arc::clone(pool) };
        if body.incoming.is_end_stream() {
            body.release();
        }
        body
    }

    fn release(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.give(connection);
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let incoming = &mut this.incoming;
        let Some(connection) = &mut this.connection else { return Pin::new(incoming).poll_frame(context) };
        let frame = ready!(connection.drive(context, |_, context| Pin::new(&mut *incoming).poll_frame(context)));
        match &frame {
            Some(Err(_)) => this.connection = None,
            Some(Ok(_)) if !incoming.is_end_stream() => {}
            Some(Ok(_)) | None => this.release(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
