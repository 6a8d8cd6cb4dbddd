//! How many rows a page has.

use axum::http::StatusCode;

use super::ApiError;

/// Rows of one page, unless fewer or more are asked for.
pub(super) const PAGE: u32 = 100;

/// Most rows of one page.
pub const MAX_PAGE: u32 = 1_000;

/// How many rows are wanted of a page.
pub(super) fn wanted(limit: Option<u32>) -> Result<u32, ApiError> {
    match limit.unwrap_or(PAGE) {
        limit @ 1..=MAX_PAGE => Ok(limit),
        _ => Err(ApiError::new(StatusCode::BAD_REQUEST, format!("limit is a number from 1 to {MAX_PAGE}"))),
    }
}
