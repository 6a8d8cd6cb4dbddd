//! The gateway: `/api/…` passed through to OpenRouter, byte for byte and chunk by chunk (design.md 3.4).
//!
//! It decides whether a call may go, sends it on, and has every call that may cost money watched and
//! recorded. It changes nothing of a body, adds no header, and never waits for anything but the sync of
//! an outcome at the end of a reply.

mod admission;
mod connection;
mod credentials;
mod drain;
mod endpoint;
mod headers;
mod pool;
mod reply_body;
mod request_body;
mod upstream;

use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, request};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::sync::Semaphore;

pub use self::admission::Admission;
pub use self::endpoint::{Endpoint, INFERENCE, PRESET_INFERENCE};
pub use self::reply_body::{FlushedFirst, ReplyBody, Watched};
pub use self::upstream::UpstreamError;

use self::admission::{Admitted, Payer, Who};
use self::credentials::X_API_KEY;
use self::drain::Awaited;
use self::reply_body::Watching;
use self::request_body::{ReadAhead, RequestBody};
use self::upstream::{SendError, Upstream, UpstreamBody};
use super::guard::Guard;
use super::skin::{OwnError, Skin};
use crate::budget::Reservation;
use crate::capture::allowance::Allowance;
use crate::capture::attribute::attribute;
use crate::capture::in_flight::{InFlight, generation_id, request_flags};
use crate::capture::job::JobLook;
use crate::capture::keys::{Keyring, Proof};
use crate::capture::observe::ObserveLimits;
use crate::capture::recorder::Recorder;
use crate::capture::request::Asked;
use crate::clock::{Clock, Entropy};
use crate::config;
use crate::config::OnLedgerFailure;
use crate::domain::attribution::Attribution;
use crate::domain::ids::CallId;
use crate::domain::observation::{Ending, ErrorFacts, Sent};
use crate::domain::time::Timestamp;
use crate::keys::{TallyKeys, labelled};
use crate::shutdown::Tasks;

/// How long a reply's head may take; longer than any SDK waits by default.
const HEAD_TIMEOUT: Duration = Duration::from_mins(30);

/// How long a client may take to send a body that is read ahead.
const BODY_TIMEOUT: Duration = Duration::from_mins(5);

/// When something happened: by the wall clock, and by the one that never goes back.
#[derive(Clone, Copy)]
struct Moment {
    at: Timestamp,
    elapsed: Duration,
}

/// A call that is about to be sent.
struct NewCall {
    call_id: CallId,
    moment: Moment,
    /// What budgets hold back for it; `None` when nothing is.
    reservation: Option<Reservation>,
    attribution: Attribution,
    flags: Vec<String>,
}

/// What a gateway is made of.
pub struct GatewaySetup {
    /// Where calls go.
    pub openrouter: config::OpenRouter,
    /// The bounds.
    pub settings: config::Gateway,
    /// What becomes of new calls when the journal takes none.
    pub on_ledger_failure: OnLedgerFailure,
    /// Whether callers without a key of their own may spend with the configured one, as long as no tally key was ever made:
    /// a loopback listener.
    pub open: bool,
    /// The tally keys.
    pub tally_keys: Arc<TallyKeys>,
    /// The rules against the browser.
    pub guard: Arc<Guard>,
    /// The keys.
    pub keyring: Arc<Keyring>,
    /// Where observations go.
    pub recorder: Recorder,
    /// Asks the budgets.
    pub admission: Arc<dyn Admission>,
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
    upstream: Arc<Upstream>,
    settings: config::Gateway,
    on_ledger_failure: OnLedgerFailure,
    open: bool,
    tally_keys: Arc<TallyKeys>,
    guard: Arc<Guard>,
    keyring: Arc<Keyring>,
    recorder: Recorder,
    admission: Arc<dyn Admission>,
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
            upstream: Arc::new(Upstream::new(
                &setup.openrouter,
                settings.connection_buffer,
                setup.clock.clone(),
                &setup.tasks,
            )?),
            on_ledger_failure: setup.on_ledger_failure,
            open: setup.open,
            tally_keys: setup.tally_keys,
            guard: setup.guard,
            keyring: setup.keyring,
            recorder: setup.recorder,
            admission: setup.admission,
            clock: setup.clock,
            entropy: setup.entropy,
            tasks: setup.tasks,
            read_ahead: Allowance::new(settings.request_buffer_total),
            observe: ObserveLimits { decoded: settings.observe_limit, memory: Allowance::new(settings.observe_memory) },
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

impl Inner {
    async fn pass(
        self: &Arc<Self>,
        request: Request<Incoming>,
        endpoint: &Endpoint,
    ) -> Result<Response<ReplyBody>, OwnError> {
        let (parts, body) = request.into_parts();
        self.check(&parts).inspect_err(|error| self.refuse(error, endpoint, None, &Attribution::default(), None))?;
        if self.is_free_preflight(&parts) {
            return self.pass_other(parts, body, endpoint, None).await;
        }
        let payer = self.payer(&parts.headers, endpoint)?;
        if endpoint.inference {
            self.pass_inference(parts, body, endpoint, payer).await
        } else {
            self.pass_other(parts, body, endpoint, Some(payer)).await
        }
    }

    /// Passes a request that buys inference: a row, whatever comes of it.
    async fn pass_inference(
        self: &Arc<Self>,
        parts: request::Parts,
        body: Incoming,
        endpoint: &Endpoint,
        payer: Payer,
    ) -> Result<Response<ReplyBody>, OwnError> {
        let messages = endpoint.skin == Skin::Messages;
        let (body, asked) = self.read_ahead(body, &parts.headers).await.inspect_err(|error| {
            let (attribution, _) = attribute(&parts.headers, None, messages);
            let attribution = labelled(attribution, payer.tally.as_deref());
            self.refuse(error, endpoint, Some(&payer.key), &attribution, None);
        })?;
        let (attribution, malformed) = attribute(&parts.headers, asked.as_ref(), messages);
        let attribution = labelled(attribution, payer.tally.as_deref());
        let Admitted { call_id, reservation, on_ledger_failure } =
            self.admit(endpoint, &payer.key, &attribution, asked.as_ref()).await?;
        let (who, swap) = payer.part();
        let request = self
            .upstream_request(parts, body, swap)
            .inspect_err(|error| self.refuse(error, endpoint, Some(&who.key), &attribution, None))?;
        if self.passes_uncounted(on_ledger_failure) {
            self.recorder.uncounted();
            return self.reply(request).await.map(unwatched);
        }
        let flags = request_flags(asked.as_ref(), malformed);
        let new = NewCall { call_id, moment: self.moment(), reservation, attribution, flags };
        let in_flight = self.sent(new, endpoint, who, asked);
        self.forward(request, in_flight).await
    }

    /// Passes any other request; a POST whose reply carries an ID makes a row all the same.
    async fn pass_other(
        self: &Arc<Self>,
        parts: request::Parts,
        body: Incoming,
        endpoint: &Endpoint,
        payer: Option<Payer>,
    ) -> Result<Response<ReplyBody>, OwnError> {
        let (who, swap) = payer.map(Payer::part).map_or((None, None), |(who, swap)| (Some(who), swap));
        let posted = (parts.method == Method::POST).then(|| attribute(&parts.headers, None, false));
        let request = self.upstream_request(parts, RequestBody::unread(body), swap)?;
        let moment = self.moment();
        let reply = self.reply(request).await?;
        let row = who.zip(posted).filter(|_| generation_id(reply.headers()).is_some());
        let Some((who, (attribution, malformed))) = row else {
            let look =
                endpoint.job.as_ref().filter(|_| reply.status() == StatusCode::OK && !reply.body().is_end_stream());
            return match look.filter(|_| !self.passes_uncounted(self.on_ledger_failure)) {
                Some(job) => Ok(self.look(job.clone(), reply).await),
                None => Ok(unwatched(reply)),
            };
        };
        if self.passes_uncounted(self.on_ledger_failure) {
            self.recorder.uncounted();
            return Ok(unwatched(reply));
        }
        let attribution = labelled(attribution, who.tally.as_deref());
        let (call_id, flags) = (self.entropy.call_id(moment.at), request_flags(None, malformed));
        let new = NewCall { call_id, moment, reservation: None, attribution, flags };
        let in_flight = self.sent(new, endpoint, who, None);
        Ok(self.watch(reply, in_flight).await)
    }

    /// Sends a request that makes no row, or not yet.
    async fn reply(&self, request: Request<RequestBody>) -> Result<Response<UpstreamBody>, OwnError> {
        match self.clock.timeout(HEAD_TIMEOUT, self.upstream.send(request)).await {
            Some(Ok(reply)) => Ok(reply),
            Some(Err(error)) => Err(self.unreached(&error).1),
            None => Err(self.no_head()),
        }
    }

    /// Reads a request's body ahead, within the bounds.
    async fn read_ahead(&self, body: Incoming, headers: &HeaderMap) -> Result<(RequestBody, Option<Asked>), OwnError> {
        let bounds = ReadAhead { limit: self.settings.request_buffer, all: &self.read_ahead };
        match self.clock.timeout(BODY_TIMEOUT, RequestBody::read_ahead(body, headers, &bounds)).await {
            Some(Ok(read)) => Ok(read),
            Some(Err(_)) => {
                let message = "the request's body did not come whole";
                Err(OwnError::new(StatusCode::BAD_REQUEST, "invalid_request", message))
            }
            None => {
                let message = "the request's body did not come in time";
                Err(OwnError::new(StatusCode::REQUEST_TIMEOUT, "timeout", message))
            }
        }
    }

    /// Now, by the wall and by the clock that never goes back.
    fn moment(&self) -> Moment {
        Moment { at: self.clock.now(), elapsed: self.clock.elapsed() }
    }

    /// Records that a request is sent.
    fn sent(&self, new: NewCall, endpoint: &Endpoint, who: Who, asked: Option<Asked>) -> InFlight {
        let NewCall { call_id, moment: Moment { at, elapsed }, reservation, attribution, flags } = new;
        let streamed = asked.as_ref().map(|asked| asked.streamed);
        let Asked { model, models, routing, .. } = asked.unwrap_or_default();
        let requested_model = model.or_else(|| models.first().cloned());
        let recorded = self.recorder.sent(Sent {
            call_id,
            at,
            endpoint: endpoint.name.clone(),
            key: who.key,
            tally_key: who.tally.map(|key| key.id),
            attribution,
            requested_model: requested_model.or_else(|| endpoint.preset.clone()),
            models,
            routing,
            streamed,
            flags,
            estimate: reservation.as_ref().map(Reservation::estimate),
        });
        // A call that the ledger never hears of is let go with its end here.
        let unrecorded = match reservation {
            Some(reservation) if recorded => {
                reservation.keep();
                None
            }
            other => other,
        };
        let proof = who.candidate.map(|candidate| Proof::new(Arc::clone(&self.keyring), candidate));
        InFlight::new(self.recorder.clone(), self.clock.clone(), call_id, elapsed).proving(proof).holding(unrecorded)
    }

    /// Makes the request that goes upstream.
    fn upstream_request(
        &self,
        mut parts: request::Parts,
        body: RequestBody,
        swap: Option<HeaderValue>,
    ) -> Result<Request<RequestBody>, OwnError> {
        let wrong =
            |_| OwnError::new(StatusCode::BAD_REQUEST, "invalid_request", "the request's path cannot be passed on");
        let target = parts.uri.path_and_query().cloned().unwrap_or(http::uri::PathAndQuery::from_static("/"));
        let uri = self.upstream.uri(target).map_err(wrong)?;
        headers::to_upstream(&mut parts.headers);
        if let Some(swap) = swap {
            parts.headers.remove(X_API_KEY);
            parts.headers.insert(AUTHORIZATION, swap);
        }
        let mut request = Request::new(body);
        *request.method_mut() = parts.method;
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = parts.headers;
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

    /// Has the reply to a look at a job watched for what the job cost.
    async fn look(self: &Arc<Self>, job: String, reply: Response<UpstreamBody>) -> Response<ReplyBody> {
        let (mut parts, body) = reply.into_parts();
        let look = JobLook::new(self.recorder.clone(), self.clock.clone(), job, &parts.headers, &self.observe);
        headers::to_client(&mut parts.headers);
        let watched = Watched::begin(body, Watching::Job(look), Arc::clone(self)).await;
        Response::from_parts(parts, ReplyBody::watched(watched))
    }

    /// Records a reply's head and has its body watched.
    async fn watch(self: &Arc<Self>, reply: Response<UpstreamBody>, mut call: InFlight) -> Response<ReplyBody> {
        let (mut parts, body) = reply.into_parts();
        call.head(parts.status, &parts.headers, &self.observe);
        headers::to_client(&mut parts.headers);
        if !body.is_end_stream() {
            let watched = Watched::begin(body, Watching::Call(call), Arc::clone(self)).await;
            return Response::from_parts(parts, ReplyBody::watched(watched));
        }
        // No frame will come, so it is the head that shows the end.
        let holds = call.holds_its_end();
        let written = call.end(Ending::Complete, None);
        if holds {
            written.await;
        }
        Response::from_parts(parts, ReplyBody::passing(body))
    }

    /// No head came because of an error: what it means for the call, and what the client is told.
    fn unreached(&self, error: &SendError) -> (Ending, OwnError) {
        let host = self.upstream.authority();
        if let SendError::Connect(error) = error {
            let why = root_cause(&**error);
            let message = format!("tallyd cannot reach {host}: {why}; nothing was sent and nothing is billed");
            return (Ending::NeverSent, OwnError::new(StatusCode::BAD_GATEWAY, "upstream_unreachable", message));
        }
        let how = match error {
            SendError::NoReply => "answered with what is no HTTP reply to this call, or one with too long a head",
            SendError::Broken(_) | SendError::Connect(_) => "closed the connection without an answer",
        };
        let message = format!("{host} {how}; the call may have been billed");
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

/// Passes a reply of which nothing is recorded.
fn unwatched(reply: Response<UpstreamBody>) -> Response<ReplyBody> {
    let (mut parts, body) = reply.into_parts();
    headers::to_client(&mut parts.headers);
    Response::from_parts(parts, ReplyBody::passing(body))
}

/// The innermost words of an error: "connection refused" rather than "client error".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
