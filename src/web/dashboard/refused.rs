//! What a browser is shown that may not see a page. Shows nothing of the ledger.

use askama::Template;
use axum::http::{StatusCode, Uri, header};
use axum::response::{Html, IntoResponse as _, Response};

use super::assets::{URLS, Urls};
use super::respond;
use crate::web::guard::Denied;

#[derive(Template)]
#[template(path = "refused.html")]
struct RefusedPage<'a> {
    urls: &'static Urls,
    what: String,
    /// The page that was asked for, where asking for it from here helps.
    again: Option<&'a str>,
}

/// The page that says why another is refused.
pub fn page(denied: Denied, wanted: &Uri) -> Response {
    let page = match denied {
        Denied::CrossSite => RefusedPage {
            urls: &URLS,
            what: "Another web site has asked for this page, and not you by a link. tallyd answers no other site."
                .to_owned(),
            again: Some(wanted.path_and_query().map_or("/", |path| path.as_str())),
        },
        Denied::Host | Denied::Document => {
            let mut what = denied.to_string();
            what.replace_range(..1, &what[..1].to_ascii_uppercase());
            what.push('.');
            RefusedPage { urls: &URLS, what, again: None }
        }
    };
    let mut response = match page.render() {
        Ok(text) => (StatusCode::FORBIDDEN, [(header::CACHE_CONTROL, "no-store")], Html(text)).into_response(),
        Err(error) => {
            tracing::error!(%error, "the page of a refusal could not be written");
            StatusCode::FORBIDDEN.into_response()
        }
    };
    respond::secure(response.headers_mut());
    response
}
