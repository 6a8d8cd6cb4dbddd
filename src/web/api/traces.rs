//! `POST /v1/traces`: OpenRouter Broadcast's webhook, OTLP/HTTP in JSON.
//!
//! Errors come in OTLP's form, a `Status`; what is answered with 200 is committed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use flate2::read::MultiGzDecoder;
use futures_util::TryStreamExt as _;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::json;
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;
use tokio_util::io::{StreamReader, SyncIoBridge};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::config::Broadcast;
use crate::import::{Teller, pushed};
use crate::ledger::Ledger;
use crate::openrouter::broadcast::{self, BroadcastError, MAX_SPANS, Spans};
use crate::web::guard::{Guard, Surface, bearer};

/// How long a body may take to come.
const READ_TIMEOUT: Duration = Duration::from_mins(1);

/// Marks the push that OpenRouter sends to try the connection.
const TEST_CONNECTION: HeaderName = HeaderName::from_static("x-test-connection");

/// What the endpoint works with.
#[derive(Clone)]
pub struct TracesState(Arc<Inner>);

struct Inner {
    settings: Broadcast,
    ledger: Ledger,
    teller: Arc<Teller>,
    guard: Arc<Guard>,
    /// Bodies that may be read at once.
    slots: Semaphore,
}

/// Why a push is not taken: a `Status` of OTLP.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    message: String,
}

impl TracesState {
    /// What the endpoint works with.
    pub fn new(settings: Broadcast, ledger: Ledger, teller: Teller, guard: Arc<Guard>) -> Self {
        let slots = Semaphore::new(settings.max_concurrent);
        Self(Arc::new(Inner { settings, ledger, teller: Arc::new(teller), guard, slots }))
    }

    /// Whether nothing is taken: others than this machine reach the listener, and no token is set.
    pub fn is_off(&self) -> bool {
        self.0.settings.token.is_none() && !self.0.guard.is_loopback()
    }

    /// Whether a push may come in.
    fn admit(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let Inner { settings, guard, .. } = &*self.0;
        if self.is_off() {
            let message = "tallyd takes no traces from other machines until broadcast.token is set in tallyd.toml; \
                           then the push must carry it";
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, message));
        }
        let Some(token) = &settings.token else {
            // Open to this machine's programs, and to no web page that its user happens to open.
            return guard
                .check(Surface::Pages, method, uri, headers)
                .map_err(|denied| Refusal::new(StatusCode::FORBIDDEN, denied.to_string()));
        };
        let other = headers.get(&settings.header).map(|value| value.as_bytes().trim_ascii());
        let given = [bearer(headers).map(str::as_bytes), other];
        // Each is compared, whatever the first one was.
        let same = |given: &[u8]| bool::from(token.expose_secret().as_bytes().ct_eq(given));
        if given.into_iter().flatten().filter(|given| same(given)).count() > 0 {
            return Ok(());
        }
        let message = format!(
            "the push does not carry broadcast.token: at OpenRouter, give the destination the header Authorization: \
             Bearer TOKEN, or {}: TOKEN",
            settings.header
        );
        Err(Refusal::new(StatusCode::UNAUTHORIZED, message))
    }

    async fn take(&self, headers: &HeaderMap, body: Body) -> Result<Spans, Refusal> {
        let coding = Coding::of(headers)?;
        let Inner { settings, teller, slots, .. } = &*self.0;
        let stopping = || Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping; send it again");
        let Ok(_slot) = slots.acquire().await else { return Err(stopping()) };
        let (max_body, max_decoded) = (settings.max_body, settings.max_decoded);
        let stream = StreamReader::new(body.into_data_stream().map_err(io::Error::other));
        // The parser wants a reader: it runs on a thread that may wait, and holds a buffer of the body at a time.
        let reading = tokio::task::spawn_blocking(move || {
            let mut sent = Bounded { inner: SyncIoBridge::new(stream), left: max_body, beyond: false };
            let (read, unpacked_too_much) = match coding {
                Coding::Identity => (broadcast::read(io::BufReader::new(&mut sent)), false),
                Coding::Gzip => {
                    let unpacked = MultiGzDecoder::new(io::BufReader::new(&mut sent));
                    let mut unpacked = Bounded { inner: unpacked, left: max_decoded, beyond: false };
                    let read = broadcast::read(io::BufReader::new(&mut unpacked));
                    (read, unpacked.beyond)
                }
            };
            (read, sent.beyond, unpacked_too_much)
        });
        let (read, too_long, unpacked_too_much) = match teller.clock.timeout(READ_TIMEOUT, reading).await {
            Some(Ok(read)) => read,
            Some(Err(_)) => return Err(stopping()),
            None => return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
        };
        if too_long || unpacked_too_much {
            let (what, bound, setting) = if too_long {
                ("", max_body, "broadcast.max_body")
            } else {
                (" unpacked", max_decoded, "broadcast.max_decoded")
            };
            let message = format!("the body{what} is larger than {bound} bytes; raise {setting}, or use Privacy Mode");
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message));
        }
        read.map_err(|error| {
            let message = match &error {
                BroadcastError::Body(_) => "the body broke off, or its gzip is damaged".to_owned(),
                BroadcastError::Syntax { .. } => error.to_string(),
            };
            Refusal::new(StatusCode::BAD_REQUEST, message)
        })
    }
}

/// `/v1/traces`, which guards itself.
pub fn router(state: TracesState) -> Router {
    described().split_for_parts().0.with_state(state)
}

/// The same with its description.
pub(super) fn described() -> OpenApiRouter<TracesState> {
    OpenApiRouter::default().routes(routes!(traces))
}

/// An error in OTLP's form.
#[derive(Serialize, ToSchema)]
#[schema(as = OtlpStatus)]
struct Status<'a> {
    /// A code of gRPC.
    code: u8,
    /// What is wrong, and what to do.
    message: &'a str,
}

/// Take a push
///
/// OpenRouter's Broadcast: OTLP/HTTP traces in JSON, as they are or gzipped. With `broadcast.token` set it must be carried, in
/// `Authorization: Bearer` or the configured header; without, it is taken from this machine alone.
#[utoipa::path(
    method(post, put), path = "/v1/traces", tag = "telling",
    request_body(content = Object, description = "An ExportTraceServiceRequest of OTLP"),
    responses(
        (status = 200, description = "It is committed; `partialSuccess` tells of spans that were not taken", body = Object),
        (status = 400, description = "It is no OTLP in JSON", body = Status),
        (status = 401, description = "The token is missing or wrong", body = Status),
        (status = 403, description = "It comes from another site", body = Status),
        (status = 408, description = "The body did not come in time", body = Status),
        (status = 413, description = "The body is too long", body = Status),
        (status = 415, description = "It is of another type or coding", body = Status),
        (status = 503, description = "It can not be written at present: send it again", body = Status)
    )
)]
async fn traces(
    State(state): State<TracesState>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match answer(&state, (&method, &uri, &headers), body).await {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn answer(
    state: &TracesState,
    (method, uri, headers): (&Method, &Uri, &HeaderMap),
    body: Body,
) -> Result<String, Refusal> {
    state.admit(method, uri, headers)?;
    let is_test = headers.get(TEST_CONNECTION).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    if is_test {
        return Ok("{}".to_owned());
    }
    let spans = state.take(headers, body).await?;
    if spans.too_many {
        let message = format!("the body holds more than {MAX_SPANS} generations; send them in parts");
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    let (rejected, reason) = (spans.rejected, spans.reason);
    pushed::write(&state.0.ledger, &state.0.teller, spans.spans)
        .await
        .map_err(|error| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    if rejected == 0 {
        return Ok("{}".to_owned());
    }
    // OTLP's JSON writes 64-bit numbers as text.
    let success = json!({ "rejectedSpans": rejected.to_string(), "errorMessage": reason.unwrap_or_default() });
    Ok(json!({ "partialSuccess": success }).to_string())
}

#[derive(Clone, Copy, Debug)]
enum Coding {
    Identity,
    Gzip,
}

impl Coding {
    /// The body's coding, if it is OTLP in JSON in one that is read.
    fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let text =
            |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok()).unwrap_or_default();
        let form = text(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if !matches!(form.as_str(), "application/json" | "") {
            let message = "only OTLP in JSON is read (Content-Type: application/json), which is what OpenRouter's Broadcast sends; protobuf is not";
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        match text(header::CONTENT_ENCODING).trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            _ => Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "only gzip is unpacked, or the body as it is")),
        }
    }
}

/// A reader that fails beyond a bound, and says so.
struct Bounded<R> {
    inner: R,
    left: u64,
    beyond: bool,
}

impl<R: io::Read> io::Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        let Some(left) = self.left.checked_sub(read as u64) else {
            self.beyond = true;
            return Err(io::Error::other("larger than allowed"));
        };
        self.left = left;
        Ok(read)
    }
}

impl Refusal {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        // The codes of gRPC, which a `Status` carries.
        let code = match self.status {
            StatusCode::UNAUTHORIZED => 16,
            StatusCode::FORBIDDEN => 7,
            StatusCode::SERVICE_UNAVAILABLE => 14,
            StatusCode::REQUEST_TIMEOUT => 4,
            _ => 3,
        };
        (self.status, Json(Status { code, message: &self.message })).into_response()
    }
}
