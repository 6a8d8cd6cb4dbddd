//! `POST /tally/v1/import`: a piece of an import, in any of the forms that `tallyd import` reads.

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};

use super::{ApiError, ApiState, BadRequest, Refused, TooLarge};
use crate::import::pieces::MAX_PIECE;
use crate::import::{self, ImportError, Kind, Summary, Teller};

/// Import
///
/// A piece of an import: OpenRouter's log export (text/csv), or NDJSON of generation IDs, replies or generation records.
#[utoipa::path(
    post, path = "/tally/v1/import", tag = "telling", request_body(content((String = "application/x-ndjson"), (String = "text/csv")), description = "Whole lines"),
    responses((status = 200, description = "What became of its lines", body = Summary), BadRequest, TooLarge, Refused)
)]
pub(super) async fn import(
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Summary>, ApiError> {
    let Ok(_slot) = state.imports.acquire().await else {
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping"));
    };
    let text = to_bytes(body, MAX_PIECE).await.map_err(|_| {
        let message = format!("the body broke off or is longer than {MAX_PIECE} bytes; send whole lines, in parts");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    })?;
    let Some(kind) = kind(&headers, &text) else {
        let message = "the body is neither OpenRouter's log export (CSV with a column generation_id) nor NDJSON of \
                       generation IDs, replies or generation records";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, message));
    };
    let keys = crate::ledger::intake::NamedKeys::clone(&state.keys);
    let teller = Teller { clock: state.clock.clone(), entropy: state.entropy.clone(), keys };
    let parsed = teller.read_aside(kind, text).await.map_err(|error| match error {
        ImportError::Form(_) => ApiError::new(StatusCode::BAD_REQUEST, error.to_string()),
        ImportError::Reading(_) | ImportError::Ledger(_) => {
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
        }
    })?;
    let summary = import::write(&state.ledger, parsed).await;
    summary.map(Json).map_err(|error| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
}

/// What the body holds, as its `Content-Type` says or, where that says neither, its first line.
fn kind(headers: &HeaderMap, text: &[u8]) -> Option<Kind> {
    let named = headers.get(header::CONTENT_TYPE).and_then(|name| name.to_str().ok()).unwrap_or_default();
    let named = named.split(';').next().unwrap_or_default().trim();
    let known = [Kind::Export, Kind::Lines].into_iter().find(|kind| named.eq_ignore_ascii_case(kind.content_type()));
    known.or_else(|| {
        let first = text.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty())?;
        Kind::of(first)
    })
}
