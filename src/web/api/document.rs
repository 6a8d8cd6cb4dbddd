//! The description of what programs may ask: OpenAPI 3.1, put together from the descriptions that stand beside the handlers.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{Components, Info, License, OpenApi, PathItem};

use super::{admin, everybody, measured, tellers, traces};
use crate::web::dashboard;

/// What stands before everything else.
const ABOUT: &str = "\
What pages, `tallyd report` and `tallyd sql` know, as JSON and CSV.

Amounts in dollars are decimal strings with all significant digits; pico-dollars are strings of digits. Instants are UTC with \
milliseconds. null is unknown, or does not apply: an unknown cost is never 0. Lists come in pages: `next` of one is where the \
next begins. Errors are `{\"error\": {\"code\", \"message\"}}`, and the message says what to do.

The admin token goes in `Authorization: Bearer`. Without one set, on a listener that only this machine reaches, none is needed.";

/// The groups of operations, in the order in which they are shown.
const TAGS: [(&str, &str); 7] = [
    ("completions", "The rows of the ledger, singly, in pages, and as files."),
    ("spend", "Sums over any time, by any names."),
    ("sql", "Read-only questions of one's own."),
    ("budgets", "Budgets, where they stand, what they told, and what became of them."),
    ("keys", "Tally keys: made, listed, revoked."),
    ("telling", "Generations that did not pass through the gateway."),
    ("operations", "How the daemon is, and what it may be told to do."),
];

/// The name of the scheme.
const TOKEN: &str = "admin_token";

/// The whole document.
pub fn document() -> &'static OpenApi {
    static DOCUMENT: LazyLock<OpenApi> = LazyLock::new(build);
    &DOCUMENT
}

/// The same as JSON text, as it is served.
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        // A document of ours has nothing that is no JSON. Its texts are the code's own, where null is called None.
        let mut text = serde_json::to_string_pretty(document()).unwrap_or_default().replace("`None`", "null");
        text.push('\n');
        text
    });
    &TEXT
}

/// The same as JSON, to be shown.
pub fn value() -> &'static Value {
    static VALUE: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(text()).unwrap_or_default());
    &VALUE
}

/// This document
///
/// OpenAPI 3.1, as it is built from the program itself.
#[utoipa::path(
    get, path = "/tally/v1/openapi.json", tag = "operations",
    responses((status = 200, description = "The document", body = Object), super::Refused)
)]
pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text()).into_response()
}

fn build() -> OpenApi {
    let mut document = OpenApi::default();
    document.info = Info::builder()
        .title("tallyd")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(License::new("MIT OR Apache-2.0")))
        .build();
    let guarded = [admin().into_openapi(), tellers().into_openapi(), dashboard::described().into_openapi()];
    let token = || SecurityRequirement::new::<_, [&str; 0], &str>(TOKEN, []);
    for mut part in guarded {
        secure(&mut part, &[token()]);
        document.merge(part);
    }
    // On loopback it is free.
    let mut measured = measured().into_openapi();
    secure(&mut measured, &[SecurityRequirement::default(), token()]);
    document.merge(measured);
    document.merge(everybody().into_openapi());
    document.merge(traces::described().into_openapi());
    let scheme = Http::builder().scheme(HttpAuthScheme::Bearer).description(Some("`admin_token` of the configuration"));
    document
        .components
        .get_or_insert_with(Components::new)
        .add_security_scheme(TOKEN, SecurityScheme::Http(scheme.build()));
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            let name = path.trim_start_matches("/tally/v1/").replace(['/', '.', '-'], "_").replace(['{', '}'], "");
            operation.operation_id = Some(format!("{method}_{}", name.trim_matches('_')));
        }
    }
    let tag = |(name, about)| TagBuilder::new().name(name).description(Some(about)).build();
    document.tags = Some(TAGS.map(tag).to_vec());
    document
}

/// Says of every operation of a part what it needs: one of these.
fn secure(part: &mut OpenApi, needs: &[SecurityRequirement]) {
    for item in part.paths.paths.values_mut() {
        for (_, operation) in operations(item) {
            operation.security = Some(needs.to_vec());
        }
    }
}

/// The operations of a path, with their methods.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let all = [("get", &mut item.get), ("put", &mut item.put), ("post", &mut item.post), ("delete", &mut item.delete)];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}
