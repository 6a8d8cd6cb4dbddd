//! One call to an inference endpoint, from its behaviour to the body that answers it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, CONNECTION,
    CONTENT_ENCODING, CONTENT_TYPE, LOCATION, PROXY_AUTHENTICATE, SERVER, SET_COOKIE, TRAILER, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::behaviour::{Behaviour, ErrorForm, Framing, Hang};
use super::cache::{Question, TTL};
use super::delivery::{self, Delivery, Pace, Reply, Source};
use super::encode::Encoder;
use super::endpoint::Endpoint;
use super::meter::Meter;
use super::plan::{Account, Asked, Plan};
use super::server::{Answer, Call, Halt, authenticate, rendered, whole};
use super::truth::Tokens;
use super::wire::events::Events;
use super::wire::refusal::Refusal;
use super::wire::{chat, messages, others, responses};
use super::{Shared, Target};

const GENERATION_ID: HeaderName = HeaderName::from_static("x-generation-id");

/// Answers one call.
pub(super) async fn answer(shared: &Arc<Shared>, endpoint: Endpoint, call: &Call) -> Answer {
    let (plan, cached) = prepare(shared, endpoint, call)?;
    let behaviour = plan.behaviour.clone();
    if let Some(status) = behaviour.status {
        return failed(shared, plan, status, call).await;
    }
    // From here on the call is metered: leaving it bills it.
    let mut meter = Meter::start(shared.clone(), plan);
    wait_for_head(shared, &meter).await;
    if Behaviour::on(behaviour.reset) {
        meter.complete();
        return Err(call.reset());
    }
    let mut head = head(meter.plan(), cached.as_ref())?;
    if meter.plan().streamed {
        head.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        return stream(shared, meter, head, call);
    }
    if behaviour.embedded.is_some() {
        meter.fail();
    } else {
        meter.complete();
    }
    let (body, content_type) = body(shared, meter.plan());
    head.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let accepted = meter.plan().endpoint == Endpoint::Videos;
    let mut reply = deliver(shared, &behaviour, body, head, call)?;
    if accepted {
        // The film is still to be made.
        *reply.status_mut() = StatusCode::ACCEPTED;
    }
    Ok(reply)
}

/// What a hit of the response cache tells in its head.
struct Hit {
    source: HeaderValue,
    age: Duration,
}

fn prepare(shared: &Shared, endpoint: Endpoint, call: &Call) -> Result<(Plan, Option<Cached>), Halt> {
    let caller = authenticate(shared, call)?;
    let behaviour = shared.behaviour(Target::Inference, call.header("x-sim"))?;
    if caller.management {
        return Err(Refusal::forbidden("Management keys cannot be used for inference").into());
    }
    if over_limit(shared, &caller) {
        return Err(Refusal::key_limit().into());
    }
    let asked = if call.body.first() == Some(&b'{') || !is_form(call) {
        serde_json::from_slice(&call.body).map_err(|_| Refusal::bad_request("Request body is not valid JSON"))?
    } else {
        Asked::default()
    };
    let session = call.header("x-session-id").map(str::to_owned);
    let asked = Asked { session_id: asked.session_id.or(session), ..asked };
    let now = shared.clock.now();
    let mut plan = Plan::new(endpoint, &caller, asked, behaviour, (call.body.len(), now, shared.entropy.next_u64()))?;
    let cached = from_cache(shared, &mut plan, call);
    Ok((plan, cached))
}

/// What the response cache has to say of a call that asked for it.
enum Cached {
    Hit(Hit),
    Miss,
}

fn from_cache(shared: &Shared, plan: &mut Plan, call: &Call) -> Option<Cached> {
    let forced = Behaviour::on(plan.behaviour.cache_hit);
    if !forced && call.header("x-openrouter-cache") != Some("true") {
        return None;
    }
    let question = Question::of(&plan.account.key, &call.body);
    let now = shared.clock.elapsed();
    let earlier = shared.cache.find(question, now).or_else(|| forced.then(|| (plan.id.clone(), Duration::ZERO)));
    let Some((source, age)) = earlier else {
        shared.cache.remember(question, plan.id.clone(), now);
        return Some(Cached::Miss);
    };
    let shown = HeaderValue::try_from(source.as_str()).ok()?;
    plan.cache_source = Some(source);
    plan.tokens = Tokens::default();
    Some(Cached::Hit(Hit { source: shown, age }))
}

fn over_limit(shared: &Shared, caller: &Account) -> bool {
    use chrono::Datelike as _;
    let Some(limit) = caller.limit else { return false };
    let now = shared.clock.now();
    let today = now.millis().div_euclid(crate::domain::time::DAY_MS);
    let first = today - i64::from(now.to_utc().day0());
    shared.truth.since(&caller.key, first).charged >= limit
}

fn is_form(call: &Call) -> bool {
    call.header("content-type").is_some_and(|kind| kind.starts_with("multipart/"))
}

async fn wait_for_head(shared: &Shared, meter: &Meter) {
    let plan = meter.plan();
    if plan.behaviour.hang == Some(Hang::Head) {
        std::future::pending::<()>().await;
    }
    let paced = if plan.streamed { 0 } else { plan.generation_ms };
    let wait = plan.behaviour.head_ms.map_or_else(|| scaled(paced, shared.config.pace), Duration::from_millis);
    if !wait.is_zero() {
        shared.clock.sleep(wait).await;
    }
}

fn scaled(ms: u32, pace: f64) -> Duration {
    if pace > 0.0 { Duration::from_millis(u64::from(ms)).mul_f64(pace) } else { Duration::ZERO }
}

/// An error status instead of a completion.
async fn failed(shared: &Arc<Shared>, plan: Plan, status: u16, call: &Call) -> Answer {
    let behaviour = plan.behaviour.clone();
    if let Some(ms) = behaviour.head_ms {
        shared.clock.sleep(Duration::from_millis(ms)).await;
    }
    let refusal = Refusal::status(status, behaviour.form.unwrap_or(ErrorForm::Usual), &plan.requested);
    let refusal = refusal.after(behaviour.retry_after);
    let mut response = rendered(&refusal, Some(plan.endpoint), &call.body, call.tape.as_ref());
    let headers = response.headers_mut();
    decorate(headers, &behaviour);
    if let Some(location) = behaviour.location.as_deref().and_then(|text| HeaderValue::from_str(text).ok()) {
        headers.insert(LOCATION, location);
    }
    let billed = Behaviour::on(behaviour.error_billed);
    if billed || Behaviour::on(behaviour.error_id) {
        headers.insert(GENERATION_ID, id_value(&plan)?);
    }
    if billed {
        // A stream that failed before its first event has generated nothing of it yet, but is billed as asked.
        Meter::start(shared.clone(), Plan { streamed: false, ..plan }).fail();
    }
    Ok(response)
}

fn id_value(plan: &Plan) -> io::Result<HeaderValue> {
    HeaderValue::from_str(plan.id.as_str()).map_err(io::Error::other)
}

/// The head of a good reply, without its content type.
fn head(plan: &Plan, cached: Option<&Cached>) -> io::Result<HeaderMap> {
    let mut head = HeaderMap::with_capacity(16);
    head.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    head.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    head.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("X-Generation-Id,X-Provider-Name,cf-ray"));
    if !Behaviour::on(plan.behaviour.no_id) {
        head.insert(GENERATION_ID, id_value(plan)?);
    }
    if Behaviour::on(plan.behaviour.provider_header) {
        head.insert("x-provider-name", HeaderValue::from_static(plan.route.provider.name));
    }
    head.insert(SERVER, HeaderValue::from_static("cloudflare"));
    head.insert("cf-ray", HeaderValue::from_static("0000000000000000-SIM"));
    decorate(&mut head, &plan.behaviour);
    let hit = match cached {
        None => return Ok(head),
        Some(Cached::Miss) => None,
        Some(Cached::Hit(hit)) => Some(hit),
    };
    head.insert("x-openrouter-cache-status", HeaderValue::from_static(if hit.is_some() { "HIT" } else { "MISS" }));
    let age = hit.map_or(Duration::ZERO, |hit| hit.age);
    head.insert("x-openrouter-cache-ttl", TTL.saturating_sub(age).as_secs().into());
    if let Some(hit) = hit {
        head.insert("x-openrouter-cache-age", age.as_secs().into());
        head.insert("x-openrouter-cache-source-id", hit.source.clone());
    }
    Ok(head)
}

/// Headers that have nothing to do with the call.
fn decorate(head: &mut HeaderMap, behaviour: &Behaviour) {
    if let Some(cookie) = &behaviour.cookie {
        head.append(SET_COOKIE, HeaderValue::from_static("__cf_bm=simulated; path=/; HttpOnly; Secure"));
        if let Ok(cookie) = HeaderValue::try_from(format!("{cookie}=simulated; path=/")) {
            head.append(SET_COOKIE, cookie);
        }
    }
    if Behaviour::on(behaviour.hop) {
        head.insert(CONNECTION, HeaderValue::from_static("x-sim-hop"));
        head.insert("x-sim-hop", HeaderValue::from_static("ends here"));
        head.insert("keep-alive", HeaderValue::from_static("timeout=5"));
        head.insert(PROXY_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"sim\""));
    }
}

/// The compressor that the behaviour and the caller agree on.
fn encoder(behaviour: &Behaviour, call: &Call) -> io::Result<Option<(Encoder, &'static str)>> {
    let accepted = call.head.headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("");
    match (behaviour.forced_coding, behaviour.coding) {
        (Some(coding), _) => Encoder::new(coding, true, accepted),
        (None, Some(coding)) => Encoder::new(coding, false, accepted),
        (None, None) => Ok(None),
    }
}

fn coded(behaviour: &Behaviour, call: &Call, head: &mut HeaderMap) -> io::Result<Option<Encoder>> {
    let Some((encoder, name)) = encoder(behaviour, call)? else { return Ok(None) };
    head.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
    head.insert(VARY, HeaderValue::from_static("accept-encoding"));
    Ok(Some(encoder))
}

fn stream(shared: &Shared, meter: Meter, mut head: HeaderMap, call: &Call) -> Answer {
    let plan = meter.plan();
    let behaviour = plan.behaviour.clone();
    let pieces = plan.chunks().max(1);
    let paced = shared.config.pace;
    let gap = scaled(plan.generation_ms.saturating_sub(plan.latency_ms) / pieces, paced);
    let (first, gap) = match behaviour.chunk_ms.map(Duration::from_millis) {
        Some(gap) => (gap, gap),
        None => (scaled(plan.latency_ms, paced), gap),
    };
    let encoder = coded(&behaviour, call, &mut head)?;
    let pace = Pace { clock: shared.clock.clone(), first, gap, reset: call.reset.clone() };
    let source = Source::Events(Box::new(Events::of(plan)), Box::new(meter));
    Ok(bits(Delivery::new(source, pace, behaviour, encoder, call.tape.clone()), head))
}

fn bits(delivery: Delivery, mut head: HeaderMap) -> Response<Reply> {
    if delivery.has_trailers() {
        head.insert(TRAILER, HeaderValue::from_name(delivery::TRAILER));
    }
    let mut response = Response::new(Reply::Bits(Box::new(delivery)));
    *response.status_mut() = StatusCode::OK;
    *response.headers_mut() = head;
    response
}

/// The body of a reply that is not streamed, and its content type.
fn body(shared: &Shared, plan: &Plan) -> (Bytes, &'static str) {
    const JSON: &str = "application/json";
    let text = match plan.endpoint {
        Endpoint::Chat | Endpoint::Completions => chat::whole(plan),
        Endpoint::Responses => responses::whole(plan),
        Endpoint::Messages => messages::whole(plan),
        _ => {
            let (bytes, kind) = others::whole(plan, &shared.base_url);
            return (bytes.into(), kind);
        }
    };
    match plan.behaviour.padding {
        Some(lines) => (format!("{}{text}", "\n         \n".repeat(lines as usize)).into(), JSON),
        None => (text.into(), JSON),
    }
}

fn deliver(shared: &Shared, behaviour: &Arc<Behaviour>, body: Bytes, mut head: HeaderMap, call: &Call) -> Answer {
    let encoder = coded(behaviour, call, &mut head)?;
    let plain = encoder.is_none() && behaviour.split.is_none() && behaviour.cut.is_none();
    let chunked = behaviour.framing == Some(Framing::Chunked) || Behaviour::on(behaviour.trailers);
    if plain && !chunked && behaviour.hang.is_none() {
        let mut response = whole(body, call.tape.as_ref());
        *response.headers_mut() = head;
        return Ok(response);
    }
    let length = (encoder.is_none() && !chunked).then_some(body.len() as u64);
    let pace =
        Pace { clock: shared.clock.clone(), first: Duration::ZERO, gap: Duration::ZERO, reset: call.reset.clone() };
    let mut delivery = Delivery::new(Source::Bytes(body), pace, behaviour.clone(), encoder, call.tape.clone());
    if let Some(length) = length {
        delivery = delivery.with_length(length);
    }
    Ok(bits(delivery, head))
}
