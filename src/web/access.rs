//! Who may see pages and use `/tally/v1`: the guard's rules as a layer, and signing in and out.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::api::ApiError;
use super::dashboard::refused;
use super::guard::{Guard, Surface, bearer};
use crate::domain::tally_key::PREFIX;
use crate::keys::TallyKeys;

/// The sign-in page.
pub const SIGN_IN: &str = "/login";

/// Lets a request through to pages and `/tally/v1`, or says why not.
pub async fn require_admin(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let api = surface(&request) == Surface::Data;
    if let Some(refusal) = denied(&guard, &request) {
        return refusal;
    }
    if guard.is_admin(request.headers()) {
        return next.run(request).await;
    }
    if !api && matches!(*request.method(), Method::GET | Method::HEAD) {
        let wanted = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let wanted: String =
            percent_encoding::utf8_percent_encode(wanted, percent_encoding::NON_ALPHANUMERIC).collect();
        return (StatusCode::SEE_OTHER, [(header::LOCATION, format!("{SIGN_IN}?next={wanted}"))]).into_response();
    }
    let message = "the admin token is needed: send it as Authorization: Bearer, or sign in at /login";
    let mut response = ApiError::new(StatusCode::UNAUTHORIZED, message).into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// What [`require_teller`] goes by.
#[derive(Clone, Debug)]
pub struct Tellers {
    /// The rules of the listener.
    pub guard: Arc<Guard>,
    /// The tally keys.
    pub keys: Arc<TallyKeys>,
}

/// As [`require_admin`], but a tally key will do: it then goes with the request, as an extension.
pub async fn require_teller(State(tellers): State<Tellers>, mut request: Request, next: Next) -> Response {
    let Tellers { guard, keys } = tellers;
    if let Some(refusal) = denied(&guard, &request) {
        return refusal;
    }
    let token = bearer(request.headers()).filter(|token| token.starts_with(PREFIX));
    match token.filter(|token| !guard.is_admin_token(token)).map(|token| keys.admit(token)) {
        Some(Ok(key)) => {
            request.extensions_mut().insert(key);
            next.run(request).await
        }
        Some(Err(refused)) => ApiError::new(StatusCode::UNAUTHORIZED, refused.message()).into_response(),
        None => require_admin(State(guard), request, next).await,
    }
}

/// Refuses what comes from another site; for what needs no token (signing in, health).
pub async fn refuse_strangers(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match denied(&guard, &request) {
        Some(refusal) => refusal,
        None => next.run(request).await,
    }
}

/// Lets everybody on loopback read `/metrics`, and admins elsewhere.
pub async fn require_admin_beyond_loopback(guard: State<Arc<Guard>>, request: Request, next: Next) -> Response {
    if guard.is_loopback() {
        refuse_strangers(guard, request, next).await
    } else {
        require_admin(guard, request, next).await
    }
}

/// Pages are for people; everything else is for programs.
fn surface(request: &Request<Body>) -> Surface {
    let path = request.uri().path();
    let data = path == "/tally/v1" || path.starts_with("/tally/v1/") || path == "/metrics";
    if data { Surface::Data } else { Surface::Pages }
}

fn denied(guard: &Guard, request: &Request<Body>) -> Option<Response> {
    let surface = surface(request);
    let denied = guard.check(surface, request.method(), request.uri(), request.headers()).err()?;
    let reads_pages = request
        .headers()
        .get_all(header::ACCEPT)
        .iter()
        .any(|accept| accept.to_str().is_ok_and(|accept| accept.contains("text/html")));
    if surface == Surface::Pages && reads_pages {
        return Some(refused::page(denied, request.uri()));
    }
    Some(ApiError::new(StatusCode::FORBIDDEN, denied.to_string()).into_response())
}
