//! From a template to a response: security headers, errors as pages.

use askama::Template;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};

use super::DashboardState;
use super::frame::{Frame, Page};
use crate::report::overview::OverviewError;
use crate::store::StoreError;

/// What every page runs under: its own files alone, no inline script or style, in nobody's frame.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; form-action 'self'";

const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// Why a page is not shown.
#[derive(Debug)]
pub(super) enum PageError {
    /// There is no such thing.
    NotFound(Box<DashboardState>, &'static str),
    /// The database could not be read.
    Unreadable(Box<DashboardState>, StoreError),
    /// The template refused; a mistake of ours.
    Template(askama::Error),
}

impl std::fmt::Debug for DashboardState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DashboardState").field("address", &self.address).finish_non_exhaustive()
    }
}

impl DashboardState {
    /// Makes a store's error a page.
    pub(super) fn unreadable(&self) -> impl Fn(StoreError) -> PageError + use<> {
        let state = Box::new(self.clone());
        move |error| PageError::Unreadable(state.clone(), error)
    }

    /// Makes an overview's error a page.
    pub(super) fn no_overview(&self, error: OverviewError) -> PageError {
        match error {
            OverviewError::Store(error) => PageError::Unreadable(Box::new(self.clone()), error),
            // Ranges are ours and hold few steps.
            OverviewError::Span(_) => PageError::NotFound(Box::new(self.clone()), "This range can not be shown."),
        }
    }
}

/// Renders a page; it is never stored, as the next look shall see what is new.
pub(super) fn html(template: &impl Template) -> Result<Response, PageError> {
    let text = template.render().map_err(PageError::Template)?;
    Ok(([(CACHE_CONTROL, "no-store")], Html(text)).into_response())
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    frame: Frame,
    title: &'static str,
    what: String,
    /// Whether something is broken, and not merely absent.
    bad: bool,
}

/// What answers for every path that is none.
pub(super) fn not_found(state: DashboardState) -> PageError {
    PageError::NotFound(Box::new(state), "There is no page at this address.")
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let (status, page) = match self {
            Self::NotFound(state, what) => {
                let frame = Frame::new(&state, "Not found", Page::None);
                (StatusCode::NOT_FOUND, ErrorPage { frame, title: "Not found", what: what.to_owned(), bad: false })
            }
            Self::Unreadable(state, error) => {
                tracing::error!(%error, "the database could not be read for a page");
                let frame = Frame::new(&state, "Database not readable", Page::None);
                let kept = if state.journal.accepts_new_calls() {
                    "Nothing is lost: calls pass and are kept in the journal. "
                } else {
                    // The banner above says what becomes of calls.
                    ""
                };
                let what = format!("{error}. {kept}Try again in a moment.");
                (
                    StatusCode::SERVICE_UNAVAILABLE,
                    ErrorPage { frame, title: "The database can not be read", what, bad: true },
                )
            }
            Self::Template(error) => {
                tracing::error!(%error, "a page could not be written");
                return (StatusCode::INTERNAL_SERVER_ERROR, "This page could not be written; please report it.")
                    .into_response();
            }
        };
        match page.render() {
            Ok(text) => (status, [(CACHE_CONTROL, "no-store")], Html(text)).into_response(),
            Err(error) => Self::Template(error).into_response(),
        }
    }
}

/// Adds the security headers that a response has not set itself.
pub(super) async fn with_headers(mut response: Response) -> Response {
    secure(response.headers_mut());
    response.headers_mut().entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

/// Adds the security headers that are not set.
pub(super) fn secure(headers: &mut HeaderMap) {
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "same-origin"),
        (CROSS_ORIGIN_OPENER_POLICY, "same-origin"),
        (PERMISSIONS_POLICY, "camera=(), geolocation=(), microphone=()"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}
