//! `/login` and `/logout`: the admin token in exchange for a cookie. Shows nothing of the ledger.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router, middleware};
use serde::Deserialize;

use super::assets::{URLS, Urls};
use super::respond;
use crate::web::access::{self, SIGN_IN};
use crate::web::guard::{Guard, is_cross_site, sign_out_cookie};

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    urls: &'static Urls,
    next: &'a str,
    wrong: bool,
    /// Another site led here, so that the cookie of a sign-in was not sent: the page may be open to this browser already.
    from_elsewhere: bool,
}

#[derive(Debug, Default, Deserialize)]
struct Wanted {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
struct Given {
    #[serde(default)]
    token: String,
    #[serde(default)]
    next: String,
}

/// Signing in and out. Open to everybody whom the guard takes for no stranger.
pub fn router(guard: &Arc<Guard>) -> Router {
    Router::new()
        .route(SIGN_IN, get(show).post(sign_in))
        .route("/logout", post(sign_out))
        .with_state(Arc::clone(guard))
        .layer(middleware::from_fn_with_state(Arc::clone(guard), access::refuse_strangers))
        .layer(middleware::map_response(respond::with_headers))
}

async fn show(State(guard): State<Arc<Guard>>, headers: HeaderMap, Query(wanted): Query<Wanted>) -> Response {
    if guard.is_open() {
        return Redirect::to(own_path(&wanted.next)).into_response();
    }
    page(own_path(&wanted.next), false, is_cross_site(&headers))
}

async fn sign_in(State(guard): State<Arc<Guard>>, Form(given): Form<Given>) -> Response {
    let next = own_path(&given.next);
    if !guard.is_admin_token(given.token.trim()) {
        return page(next, true, false);
    }
    match guard.sign_in_cookie() {
        Some(cookie) => ([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response(),
        None => Redirect::to(next).into_response(),
    }
}

async fn sign_out() -> Response {
    ([(header::SET_COOKIE, sign_out_cookie())], Redirect::to(SIGN_IN)).into_response()
}

fn page(next: &str, wrong: bool, from_elsewhere: bool) -> Response {
    let status = if wrong { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
    match (LoginPage { urls: &URLS, next, wrong, from_elsewhere }).render() {
        Ok(text) => (status, [(header::CACHE_CONTROL, "no-store")], Html(text)).into_response(),
        Err(error) => {
            tracing::error!(%error, "the sign-in page could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A path of ours, and nothing that leads elsewhere: `//host`, `/\host` and whole URLs become the overview.
fn own_path(next: &str) -> &str {
    let plain = next.starts_with('/')
        && !next[1..].starts_with(['/', '\\'])
        && !next.starts_with(SIGN_IN)
        && next.bytes().all(|byte| byte.is_ascii_graphic());
    if plain { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::own_path;

    #[test]
    fn a_sign_in_leads_nowhere_else() {
        assert_eq!(own_path("/budgets?x=1"), "/budgets?x=1");
        for elsewhere in ["", "//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nb", "/login?next=/"] {
            assert_eq!(own_path(elsewhere), "/", "{elsewhere:?}");
        }
    }
}
