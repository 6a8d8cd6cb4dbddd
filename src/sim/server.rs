//! Connections, paths, keys: everything before a call is known to be one.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};

use super::behaviour::{Behaviour, BehaviourError, ErrorForm};
use super::connection::{Connection, Spawner};
use super::delivery::Reply;
use super::endpoint::Endpoint;
use super::exchange::Tape;
use super::picos::Notation;
use super::plan::Account;
use super::truth::{Billed, Reading};
use super::wire::refusal::Refusal;
use super::wire::{account, others, record};
use super::{Shared, Target, inference};
use crate::domain::ids::GenerationId;

/// Largest request read.
const MAX_REQUEST: usize = 64 << 20;

/// One request, read.
pub(super) struct Call {
    pub(super) head: Parts,
    pub(super) body: Bytes,
    pub(super) tape: Option<Tape>,
    pub(super) reset: Arc<AtomicBool>,
}

impl Call {
    /// A request header as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.head.headers.get(name)?.as_bytes()).ok()
    }

    /// Ends the connection with a reset, without a reply.
    pub(super) fn reset(&self) -> Halt {
        self.reset.store(true, Ordering::Relaxed);
        Halt::Broken(io::ErrorKind::ConnectionReset.into())
    }
}

/// Why a call gets no ordinary reply.
#[derive(Debug)]
pub(super) enum Halt {
    /// It gets an error reply.
    Refused(Refusal),
    /// Its connection ends.
    Broken(io::Error),
}

impl From<Refusal> for Halt {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl From<BehaviourError> for Halt {
    fn from(error: BehaviourError) -> Self {
        Self::Refused(Refusal::bad_request(error.to_string()))
    }
}

/// An ordinary reply, or why there is none.
pub(super) type Answer = Result<Response<Reply>, Halt>;

/// Takes connections until told to stop.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                shared.tasks.spawn(serve(stream, shared.clone()));
            }
            // The peer is gone already, or files have run out: others get their turn first.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // Without it small events wait for acknowledgements; a socket that refuses is slower, not wrong.
    let _ = stream.set_nodelay(true);
    let reset = Arc::new(AtomicBool::new(false));
    let connection = TokioIo::new(Connection::new(stream, reset.clone()));
    let service = service_fn(|request| handle(shared.clone(), reset.clone(), request));
    let builder = auto::Builder::new(Spawner(shared.tasks.clone()));
    let serving = builder.serve_connection(connection, service);
    tokio::select! {
        () = shared.stop.cancelled() => {}
        // Errors are peers that left and faults that were asked for.
        _ = serving => {}
    }
}

async fn handle(
    shared: Arc<Shared>,
    reset: Arc<AtomicBool>,
    request: Request<Incoming>,
) -> Result<Response<Reply>, io::Error> {
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, MAX_REQUEST).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Ok(rendered(&Refusal::status(413, ErrorForm::Usual, ""), None, &[], None));
        }
        Err(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
    };
    let tape = shared.exchanges.keep(&head, &body);
    let call = Call { head, body, tape, reset };
    let path = call.head.uri.path().strip_prefix("/api/v1/");
    let endpoint = path.and_then(Endpoint::at);
    let answer = match (&call.head.method, path, endpoint) {
        (&Method::POST, _, Some(endpoint)) => {
            shared.calls.fetch_add(1, Ordering::Relaxed);
            inference::answer(&shared, endpoint, &call).await
        }
        (&Method::GET | &Method::HEAD, Some(path), None) => look_up(&shared, path, &call).await,
        (_, _, Some(_)) => Err(Refusal::status(405, ErrorForm::Usual, "").into()),
        _ => Err(Refusal::not_found("Not Found").into()),
    };
    match answer {
        Ok(reply) => Ok(reply),
        Err(Halt::Refused(refusal)) => Ok(rendered(&refusal, endpoint, &call.body, call.tape.as_ref())),
        Err(Halt::Broken(error)) => Err(error),
    }
}

/// Who calls, or why nobody does.
pub(super) fn authenticate(shared: &Shared, call: &Call) -> Result<Arc<Account>, Refusal> {
    let bearer = call.head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("bearer ")));
    let key = bearer.or_else(|| call.header("x-api-key")).map(str::trim).filter(|key| !key.is_empty());
    shared.account(key.ok_or_else(Refusal::missing_key)?).ok_or_else(Refusal::wrong_key)
}

async fn look_up(shared: &Shared, path: &str, call: &Call) -> Answer {
    let reading = path == "generation";
    if reading {
        shared.readings.fetch_add(1, Ordering::Relaxed);
    }
    if path == "models" {
        let behaviour = shared.behaviour(Target::Models, call.header("x-sim"))?;
        disturb(shared, call, &behaviour).await?;
        if behaviour.garbage_reads.is_some_and(|reads| reads > 0) {
            return Ok(json(shared, GARBAGE.to_owned(), call));
        }
        let list = shared.list.read().unwrap_or_else(PoisonError::into_inner);
        return Ok(json(shared, account::models(&list, call.head.uri.query().unwrap_or("")), call));
    }
    let caller = authenticate(shared, call)?;
    let target = if reading { Target::Generation } else { Target::Account };
    let behaviour = shared.behaviour(target, call.header("x-sim"))?;
    disturb(shared, call, &behaviour).await?;
    if behaviour.garbage_reads.is_some_and(|reads| reads > 0) {
        return Ok(json(shared, GARBAGE.to_owned(), call));
    }
    let body = match path {
        "generation" => generation(shared, &caller, call).await?,
        "key" => account::key(&caller, &shared.truth, shared.clock.now()),
        "credits" => account::credits(&caller, shared.config.credits, shared.truth.totals().charged),
        "activity" | "keys" => {
            return Err(Refusal::forbidden("Only management keys can perform this operation").into());
        }
        _ => video(shared, &caller, path).ok_or_else(|| Refusal::not_found("Not Found"))?,
    };
    Ok(json(shared, body, call))
}

/// What a behaviour does to a look-up before anything is looked up.
async fn disturb(shared: &Shared, call: &Call, behaviour: &Behaviour) -> Result<(), Halt> {
    if let Some(ms) = behaviour.head_ms {
        shared.clock.sleep(Duration::from_millis(ms)).await;
    }
    if behaviour.hang.is_some() {
        std::future::pending::<()>().await;
    }
    if Behaviour::on(behaviour.reset) {
        return Err(call.reset());
    }
    if let Some(status) = behaviour.status {
        let refusal = Refusal::status(status, behaviour.form.unwrap_or(ErrorForm::Usual), "");
        return Err(refusal.after(behaviour.retry_after).into());
    }
    Ok(())
}

async fn generation(shared: &Shared, caller: &Account, call: &Call) -> Result<String, Halt> {
    let query = call.head.uri.query().unwrap_or("");
    let asked = query.split('&').find_map(|pair| pair.strip_prefix("id=")).unwrap_or("");
    let asked = percent_encoding::percent_decode_str(asked).decode_utf8_lossy();
    let missing = || Refusal::not_found(&format!("Generation {asked} not found"));
    let id = asked.parse::<GenerationId>().map_err(|_| missing())?;
    let Reading::Found { billed, behaviour, nth } = shared.truth.read(&id, &caller.key, shared.clock.elapsed()) else {
        return Err(missing().into());
    };
    // The first readings go wrong in this order: hung, bad status, garbage, not yet final.
    let hung = behaviour.hung_reads.unwrap_or(0);
    let bad = hung + behaviour.bad_reads.unwrap_or(0);
    let garbled = bad + behaviour.garbage_reads.unwrap_or(0);
    let unready = garbled + behaviour.zero_reads.unwrap_or(0);
    if nth < hung {
        std::future::pending::<()>().await;
    }
    if nth < bad {
        let refusal = Refusal::status(behaviour.read_status.unwrap_or(500), ErrorForm::Usual, "");
        return Err(refusal.after(behaviour.read_retry_after).into());
    }
    if nth < garbled {
        return Ok(GARBAGE.to_owned());
    }
    let unready = nth < unready || !is_made(shared, &billed, &behaviour);
    Ok(record::whole(&billed, &behaviour, unready))
}

/// The film of `videos/{job}`, if it is the caller's.
fn video(shared: &Shared, caller: &Account, path: &str) -> Option<String> {
    let job = path.strip_prefix("videos/")?;
    let id = job.replacen("job-", "gen-", 1);
    let (billed, behaviour) = shared.truth.find(&id).filter(|(billed, _)| billed.key == caller.key)?;
    let cost = billed.cost.json(behaviour.notation.unwrap_or(Notation::JavaScript));
    let bill = is_made(shared, &billed, &behaviour).then_some((&*cost, billed.is_byok));
    Some(others::video(job, &id, bill))
}

/// Whether a film is made; everything else is, when it is billed.
fn is_made(shared: &Shared, billed: &Billed, behaviour: &Behaviour) -> bool {
    let made_at = i64::try_from(behaviour.job_ms.unwrap_or(0)).unwrap_or(i64::MAX);
    shared.clock.now().millis().saturating_sub(billed.billed_at.millis()) >= made_at
}

/// What looks like a record and is none.
const GARBAGE: &str = "{\"data\":{\"id\":\"gen-17";

fn json(shared: &Shared, body: String, call: &Call) -> Response<Reply> {
    let mut response = whole(body.into(), call.tape.as_ref());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // By the clock by which it counts days; the HTTP library would tell the machine's.
    let date = shared.clock.now().to_utc().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(date) = HeaderValue::try_from(date) {
        response.headers_mut().insert(DATE, date);
    }
    response
}

/// A reply whose body is all there.
pub(super) fn whole(body: Bytes, tape: Option<&Tape>) -> Response<Reply> {
    if let Some(tape) = tape {
        tape.record(&body);
    }
    Response::new(Reply::Whole(Some(body)))
}

/// The error reply of `refusal`, in the skin of `endpoint`.
pub(super) fn rendered(
    refusal: &Refusal,
    endpoint: Option<Endpoint>,
    asked: &[u8],
    tape: Option<&Tape>,
) -> Response<Reply> {
    let error = refusal.render(endpoint, asked);
    let mut response = whole(error.body.into(), tape);
    *response.status_mut() = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(error.content_type));
    for (name, value) in error.headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    response
}
