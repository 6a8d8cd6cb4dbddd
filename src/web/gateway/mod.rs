//! The gateway: `/api/…` passed through to OpenRouter, byte for byte and chunk by chunk (design.md 3.4).
//!
//! It decides whether a call may go, sends it on, and has every call that may cost money watched and
//! recorded. It changes nothing of a body, adds no header, and never waits for anything but the sync of
//! an outcome at the end of a reply.

mod credentials;
mod drain;
mod endpoint;
mod headers;
mod reply_body;
mod request_body;
mod upstream;

use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, request};
use http_body::Body as _;
use hyper::body::Incoming;
use secrecy::ExposeSecret as _;
use tokio::sync::Semaphore;

pub use self::endpoint::{Endpoint, INFERENCE, PRESET_INFERENCE};
pub use self::reply_body::{ReplyBody, Watched};
pub use self::upstream::UpstreamError;

use self::credentials::{Credential, X_API_KEY, credential};
use self::drain::Awaited;
use self::request_body::{ReadAhead, RequestBody};
use self::upstream::Upstream;
use super::guard::{Guard, Surface};
use super::skin::OwnError;
use crate::budget::{Book, Exceeded};
use crate::capture::allowance::Allowance;
use crate::capture::attribute::attribute;
use crate::capture::in_flight::{InFlight, generation_id, request_flags};
use crate::capture::keys::Keyring;
use crate::capture::observe::ObserveLimits;
use crate::capture::recorder::Recorder;
use crate::capture::request::Asked;
use crate::clock::{Clock, Entropy};
use crate::config;
use crate::config::OnLedgerFailure;
use crate::domain::attribution::{Attribution, KeyRef};
use crate::domain::observation::{Ending, ErrorFacts, Refused, Sent};
use crate::domain::scope::AdmissionSubject;
use crate::shutdown::Tasks;

/// How long a reply's head may take; longer than any SDK waits by default.
const HEAD_TIMEOUT: Duration = Duration::from_mins(30);

/// How long a client may take to send a body that is read ahead.
const BODY_TIMEOUT: Duration = Duration::from_mins(5);

/// What the decoders of all compressed replies may take together, in bytes; see [`ObserveLimits::memory`].
const DECODER_MEMORY: u64 = 64 * 1024 * 1024;

/// What a gateway is made of.
pub struct GatewaySetup {
    /// Where calls go.
    pub openrouter: config::OpenRouter,
    /// The bounds.
    pub settings: config::Gateway,
    /// What becomes of new calls when the journal takes none.
    pub on_ledger_failure: OnLedgerFailure,
    /// Whether callers without a key of their own spend with the configured one: a loopback listener, and no tally key was
    /// ever made.
    pub open: bool,
    /// The rules against the browser.
    pub guard: Arc<Guard>,
    /// The keys.
    pub keyring: Arc<Keyring>,
    /// Where observations go.
    pub recorder: Recorder,
    /// What budgets stand at.
    pub book: Arc<Book>,
    /// The time.
    pub clock: Clock,
    /// Randomness, for call IDs.
    pub entropy: Entropy,
    /// Where calls go on whose clients have left.
    pub tasks: Tasks,
}

/// The gateway. Cheap to clone.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

pub(crate) struct Inner {
    upstream: Upstream,
    settings: config::Gateway,
    on_ledger_failure: OnLedgerFailure,
    open: bool,
    guard: Arc<Guard>,
    keyring: Arc<Keyring>,
    recorder: Recorder,
    book: Arc<Book>,
    clock: Clock,
    entropy: Entropy,
    tasks: Tasks,
    read_ahead: Arc<Allowance>,
    observe: ObserveLimits,
    drains: Arc<Semaphore>,
}

impl Gateway {
    /// A gateway; opens no connection yet.
    pub fn new(setup: GatewaySetup) -> Result<Self, UpstreamError> {
        let settings = setup.settings;
        Ok(Self(Arc::new(Inner {
            upstream: Upstream::new(&setup.openrouter.base_url, setup.openrouter.connect_timeout)?,
            on_ledger_failure: setup.on_ledger_failure,
            open: setup.open,
            guard: setup.guard,
            keyring: setup.keyring,
            recorder: setup.recorder,
            book: setup.book,
            clock: setup.clock,
            entropy: setup.entropy,
            tasks: setup.tasks,
            read_ahead: Allowance::new(settings.request_buffer_total),
            observe: ObserveLimits { decoded: settings.observe_limit, memory: Allowance::new(DECODER_MEMORY) },
            drains: Arc::new(Semaphore::new(settings.drain_calls)),
            settings,
        })))
    }

    /// Whether a path belongs to the gateway.
    pub fn serves(path: &str) -> bool {
        path == "/api" || path.starts_with("/api/")
    }

    /// Passes a request through.
    pub async fn call(&self, request: Request<Incoming>) -> Response<ReplyBody> {
        let endpoint = Endpoint::of(request.method(), request.uri().path());
        match self.0.pass(request, &endpoint).await {
            Ok(response) => response,
            Err(error) => error.response(endpoint.skin).map(|body| ReplyBody::Own(Some(body))),
        }
    }
}

/// Who pays for a call, and what stands for the key.
struct Payer {
    key: KeyRef,
    /// The header that replaces the caller's; `None` when the caller's own goes on as it is.
    swap: Option<HeaderValue>,
}

impl Inner {
    async fn pass(
        self: &Arc<Self>,
        request: Request<Incoming>,
        endpoint: &Endpoint,
    ) -> Result<Response<ReplyBody>, OwnError> {
        let (mut parts, body) = request.into_parts();
        self.check(&parts)?;
        let payer = match self.payer(&parts, endpoint) {
            Err(error) => {
                self.refuse(&error, endpoint, None, &Attribution::default(), None);
                return Err(error);
            }
            Ok(payer) => payer,
        };
        let method = parts.method.clone();
        if !endpoint.inference {
            let candidate = (method == Method::POST).then(|| attribute(&parts.headers, None, false).0);
            return self.pass_other(parts, body, endpoint, payer, candidate).await;
        }
        let (key, swap) = payer.map_or((None, None), |payer| (Some(payer.key), payer.swap));
        let key = key.ok_or_else(no_key)?;

        let bounds = ReadAhead { limit: self.settings.request_buffer, all: &self.read_ahead };
        let reading = RequestBody::read_ahead(body, &parts.headers, &bounds);
        let (body, asked) = match self.clock.timeout(BODY_TIMEOUT, reading).await {
            Some(Ok(read)) => read,
            Some(Err(_)) => {
                return Err(OwnError::new(
                    StatusCode::BAD_REQUEST,
                    "invalid_request",
                    "the request's body did not come whole",
                ));
            }
            None => {
                return Err(OwnError::new(
                    StatusCode::REQUEST_TIMEOUT,
                    "timeout",
                    "the request's body did not come in time",
                ));
            }
        };
        let messages = endpoint.skin == super::skin::Skin::Messages;
        let (attribution, malformed) = attribute(&parts.headers, asked.as_ref(), messages);
        self.admit(endpoint, &key, &attribution, asked.as_ref())?;

        let (at, sent_at) = (self.clock.now(), self.clock.elapsed());
        let call_id = self.entropy.call_id(at);
        let flags = request_flags(asked.is_some(), malformed);
        let streamed = asked.as_ref().map(|asked| asked.streamed);
        let requested_model = requested_model(asked.as_ref(), endpoint);
        let routing = asked.and_then(|asked| asked.routing);
        let endpoint_name = endpoint.name.clone();
        self.recorder.sent(Sent {
            call_id,
            at,
            endpoint: endpoint_name,
            key,
            attribution,
            requested_model,
            routing,
            streamed,
            flags,
        });
        let call = InFlight::new(self.recorder.clone(), self.clock.clone(), call_id, sent_at);
        let request = self.upstream_request(&mut parts, body, swap)?;
        self.forward(request, call).await
    }

    /// Refuses what may not come in at all.
    fn check(&self, parts: &request::Parts) -> Result<(), OwnError> {
        let surface = if self.open { Surface::OpenApi } else { Surface::Api };
        self.guard
            .check(surface, &parts.uri, &parts.headers)
            .map_err(|denied| OwnError::new(StatusCode::FORBIDDEN, "permission_denied", denied.to_string()))?;
        // An offer to speak HTTP/2 over plain TCP, which Java's client makes by itself, may be passed over (RFC 9113, 3.1).
        let upgrades = parts.headers.get(UPGRADE).is_some_and(|to| !to.as_bytes().eq_ignore_ascii_case(b"h2c"));
        if parts.method == Method::CONNECT || upgrades {
            return Err(OwnError::new(
                StatusCode::NOT_IMPLEMENTED,
                "not_implemented",
                "tallyd passes HTTP requests only: send this one without Upgrade",
            ));
        }
        Ok(())
    }

    /// Who pays. `None`: a preflight, which carries no key and costs nothing.
    fn payer(&self, parts: &request::Parts, endpoint: &Endpoint) -> Result<Option<Payer>, OwnError> {
        let messages = endpoint.skin == super::skin::Skin::Messages;
        match credential(&parts.headers, messages) {
            Credential::OpenRouter(key) => {
                if let Some(key) = self.keyring.configured(key) {
                    return Ok(Some(Payer { key, swap: None }));
                }
                if self.settings.own_keys {
                    return Ok(Some(Payer { key: self.keyring.bring(key), swap: None }));
                }
                Err(OwnError::new(
                    StatusCode::UNAUTHORIZED,
                    "authentication",
                    "this tallyd takes no OpenRouter keys of callers (gateway.own_keys = false); use a key it gave you",
                ))
            }
            Credential::None | Credential::Other if self.open => {
                let (key, secret) = self.keyring.named(config::DEFAULT_KEY_NAME).ok_or_else(no_key)?;
                let bearer = format!("Bearer {}", secret.expose_secret());
                let mut swap = HeaderValue::from_str(&bearer).map_err(|_| no_key())?;
                swap.set_sensitive(true);
                Ok(Some(Payer { key, swap: Some(swap) }))
            }
            Credential::None if parts.method == Method::OPTIONS => Ok(None),
            Credential::None | Credential::Other => Err(OwnError::new(
                StatusCode::UNAUTHORIZED,
                "authentication",
                "no key that tallyd knows: send an OpenRouter key (sk-or-v1-…) as Authorization: Bearer",
            )),
        }
    }

    /// Asks journal and budgets.
    fn admit(
        &self,
        endpoint: &Endpoint,
        key: &KeyRef,
        attribution: &Attribution,
        asked: Option<&Asked>,
    ) -> Result<(), OwnError> {
        let model = asked.and_then(|asked| asked.model.as_deref()).or(endpoint.preset.as_deref());
        if self.on_ledger_failure == OnLedgerFailure::Refuse && !self.recorder.accepts_new_calls() {
            let error = OwnError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "ledger_unavailable",
                "tallyd cannot write its ledger, and is set to refuse calls then (journal.on_ledger_failure = \"refuse\")",
            );
            self.refuse(&error, endpoint, Some(key), attribution, model);
            return Err(error);
        }
        let subject = AdmissionSubject {
            app: attribution.app.as_deref(),
            key_name: Some(&key.name),
            end_user: attribution.user.as_deref(),
            session: attribution.session.as_deref(),
            model,
            models: asked.map_or(&[], |asked| &asked.models),
            tags: &attribution.tags,
            opaque_body: asked.is_none(),
        };
        self.book.admit(&subject, self.clock.now()).map_err(|exceeded| {
            let error = OwnError::from(exceeded);
            self.refuse(&error, endpoint, Some(key), attribution, model);
            error
        })
    }

    /// Counts a call that buys inference and is not let through.
    fn refuse(
        &self,
        error: &OwnError,
        endpoint: &Endpoint,
        key: Option<&KeyRef>,
        attribution: &Attribution,
        model: Option<&str>,
    ) {
        if endpoint.inference {
            let refused = Refused {
                at: self.clock.now(),
                cause: error.error_type.to_owned(),
                budget: error.metadata.get("budget").and_then(|budget| budget.as_str()).map(str::to_owned),
                app: attribution.app.clone(),
                key_name: key.map(|key| key.name.clone()),
                requested_model: model.map(str::to_owned),
                endpoint: endpoint.name.clone(),
            };
            self.recorder.refused(error.error_type, refused);
        }
    }

    /// Makes the request that goes upstream.
    fn upstream_request(
        &self,
        parts: &mut request::Parts,
        body: RequestBody,
        swap: Option<HeaderValue>,
    ) -> Result<Request<RequestBody>, OwnError> {
        let wrong =
            |_| OwnError::new(StatusCode::BAD_REQUEST, "invalid_request", "the request's path cannot be passed on");
        let target = parts.uri.path_and_query().cloned().unwrap_or(http::uri::PathAndQuery::from_static("/"));
        let uri = self.upstream.uri(&target).map_err(wrong)?;
        let mut headers = std::mem::take(&mut parts.headers);
        headers::to_upstream(&mut headers);
        if let Some(swap) = swap {
            headers.remove(X_API_KEY);
            headers.insert(AUTHORIZATION, swap);
        }
        let mut request = Request::new(body);
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// Sends a call that makes a row, and has its reply watched.
    async fn forward(
        self: &Arc<Self>,
        request: Request<RequestBody>,
        call: InFlight,
    ) -> Result<Response<ReplyBody>, OwnError> {
        let mut awaited = Awaited::new(self.upstream.send(request), call, Arc::clone(self));
        let head = match awaited.future() {
            Some(future) => self.clock.timeout(HEAD_TIMEOUT, future).await,
            None => None,
        };
        let Some(call) = awaited.into_call() else { return Err(self.no_head()) };
        let reply = match head {
            Some(Ok(reply)) => reply,
            Some(Err(error)) => {
                let (ending, own) = self.unreached(&error);
                call.end(ending, Some(own.facts())).await;
                return Err(own);
            }
            None => {
                let own = self.no_head();
                call.end(Ending::NoReply, Some(own.facts())).await;
                return Err(own);
            }
        };
        Ok(self.watch(reply, call).await)
    }

    /// Records a reply's head and has its body watched.
    async fn watch(self: &Arc<Self>, reply: Response<Incoming>, mut call: InFlight) -> Response<ReplyBody> {
        let (mut parts, body) = reply.into_parts();
        call.head(parts.status, &parts.headers, &self.observe);
        headers::to_client(&mut parts.headers);
        if !body.is_end_stream() {
            let watched = Watched::new(body, call, Arc::clone(self));
            return Response::from_parts(parts, ReplyBody::Watched(Box::new(watched)));
        }
        // No frame will come, so it is the head that shows the end.
        let holds = call.holds_its_end();
        let written = call.end(Ending::Complete, None);
        if holds {
            written.await;
        }
        Response::from_parts(parts, ReplyBody::Passing(body))
    }

    /// Passes a request that buys no inference by its path; a POST whose reply carries an ID makes a row all the same.
    async fn pass_other(
        self: &Arc<Self>,
        mut parts: request::Parts,
        body: Incoming,
        endpoint: &Endpoint,
        payer: Option<Payer>,
        candidate: Option<Attribution>,
    ) -> Result<Response<ReplyBody>, OwnError> {
        let (key, swap) = payer.map_or((None, None), |payer| (Some(payer.key), payer.swap));
        let (at, sent_at) = (self.clock.now(), self.clock.elapsed());
        let request = self.upstream_request(&mut parts, RequestBody::unread(body), swap)?;
        let sending = self.upstream.send(request);
        let reply = match self.clock.timeout(HEAD_TIMEOUT, sending).await {
            Some(Ok(reply)) => reply,
            Some(Err(error)) => return Err(self.unreached(&error).1),
            None => return Err(self.no_head()),
        };
        let row = key.zip(candidate).filter(|_| generation_id(reply.headers()).is_some());
        let Some((key, attribution)) = row else {
            let (mut parts, body) = reply.into_parts();
            headers::to_client(&mut parts.headers);
            return Ok(Response::from_parts(parts, ReplyBody::Passing(body)));
        };
        let call_id = self.entropy.call_id(at);
        self.recorder.sent(Sent {
            call_id,
            at,
            endpoint: endpoint.name.clone(),
            key,
            attribution,
            requested_model: None,
            routing: None,
            streamed: None,
            flags: request_flags(false, false),
        });
        let call = InFlight::new(self.recorder.clone(), self.clock.clone(), call_id, sent_at);
        Ok(self.watch(reply, call).await)
    }

    /// No head came because of an error: what it means for the call, and what the client is told.
    fn unreached(&self, error: &hyper_util::client::legacy::Error) -> (Ending, OwnError) {
        let host = self.upstream.authority();
        if error.is_connect() {
            let why = root_cause(error);
            let message = format!("tallyd cannot reach {host}: {why}; nothing was sent and nothing is billed");
            return (Ending::NeverSent, OwnError::new(StatusCode::BAD_GATEWAY, "upstream_unreachable", message));
        }
        let message = format!("{host} closed the connection without an answer; the call may have been billed");
        (Ending::NoReply, OwnError::new(StatusCode::BAD_GATEWAY, "upstream_no_reply", message))
    }

    fn no_head(&self) -> OwnError {
        let message = format!(
            "{} did not answer within {} minutes; the call may have been billed",
            self.upstream.authority(),
            HEAD_TIMEOUT.as_secs() / 60
        );
        OwnError::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message)
    }
}

impl From<Exceeded> for OwnError {
    fn from(exceeded: Exceeded) -> Self {
        let Exceeded { budget, limit, spent, resets_at } = exceeded;
        let (limit, spent) = (limit.to_decimal(), spent.to_decimal());
        let until = resets_at.as_ref().map_or_else(String::new, |at| format!("; it resets at {at}"));
        let message = format!(
            "budget {budget:?} is spent: ${spent} of ${limit}{until}. Raise its limit, or set when_exceeded = \"alert\", to go on"
        );
        let mut error = Self::new(StatusCode::PAYMENT_REQUIRED, "budget_exceeded", message);
        error.metadata.insert("budget".to_owned(), budget.into());
        error.metadata.insert("limit_usd".to_owned(), limit.into());
        error.metadata.insert("spent_usd".to_owned(), spent.into());
        error.metadata.insert("resets_at".to_owned(), resets_at.into());
        error
    }
}

impl OwnError {
    /// What the row keeps of it.
    fn facts(&self) -> ErrorFacts {
        ErrorFacts {
            code: Some(self.status.as_u16().to_string()),
            error_type: Some(self.error_type.to_owned()),
            message: Some(self.message.clone()),
        }
    }
}

fn no_key() -> OwnError {
    OwnError::new(
        StatusCode::UNAUTHORIZED,
        "authentication",
        "tallyd has no OpenRouter key: set OPENROUTER_API_KEY (or openrouter.api_key), or send your own as Authorization: Bearer",
    )
}

fn requested_model(asked: Option<&Asked>, endpoint: &Endpoint) -> Option<String> {
    asked.and_then(|asked| asked.model.as_ref().or(asked.models.first())).or(endpoint.preset.as_ref()).cloned()
}

/// The innermost words of an error: "connection refused" rather than "client error".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
