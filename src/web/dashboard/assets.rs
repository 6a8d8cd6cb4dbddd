//! Stylesheet, script and icon, in the binary. A file's URL holds a hash of its content, so it may be kept for ever.

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use rust_embed::RustEmbed;

/// Hex digits of the hash in a URL.
const HASH_DIGITS: usize = 16;

#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/dashboards/assets"]
struct Files;

/// The URLs of the files that pages load.
#[derive(Debug)]
pub(super) struct Urls {
    /// The stylesheet.
    pub(super) css: String,
    /// The script.
    pub(super) script: String,
    /// The icon.
    pub(super) icon: String,
}

/// The URLs, made once.
pub(super) static URLS: LazyLock<Urls> =
    LazyLock::new(|| Urls { css: url("look.css"), script: url("app.js"), icon: url("icon.svg") });

fn url(name: &str) -> String {
    let (stem, kind) = name.rsplit_once('.').unwrap_or((name, ""));
    format!("/assets/{stem}.{}.{kind}", hash(name).unwrap_or_default())
}

fn hash(name: &str) -> Option<String> {
    let digest = Files::get(name)?.metadata.sha256_hash();
    let mut text = String::with_capacity(HASH_DIGITS);
    for byte in digest.iter().take(HASH_DIGITS / 2) {
        let _ = write!(text, "{byte:02x}");
    }
    Some(text)
}

/// `/assets/{stem}.{hash}.{kind}`.
pub(super) async fn file(Path(file): Path<String>, headers: HeaderMap) -> Response {
    let mut parts = file.splitn(3, '.');
    let (Some(stem), Some(asked), Some(kind)) = (parts.next(), parts.next(), parts.next()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let name = format!("{stem}.{kind}");
    let (Some(content), true) = (Files::get(&name), hash(&name).as_deref() == Some(asked)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag = format!("\"{asked}\"");
    let cached = [
        (header::ETAG, tag.clone()),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable".to_owned()),
        (header::CONTENT_TYPE, content_type(kind).to_owned()),
    ];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|seen| seen.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, cached).into_response();
    }
    (cached, content.data).into_response()
}

fn content_type(kind: &str) -> &'static str {
    match kind {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => "application/octet-stream",
    }
}
