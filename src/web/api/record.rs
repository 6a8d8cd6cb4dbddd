//! `POST /tally/v1/record`: generation IDs that are told.

use std::error::Error as _;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::{Extension, Json};
use http_body_util::LengthLimitError;
use serde_json::Value;

use super::{ApiError, ApiState};
use crate::domain::tally_key::TallyKey;
use crate::ledger::intake::{self, MAX_BODY, MAX_ITEMS, Summary};

pub(super) async fn record(
    State(state): State<ApiState>,
    teller: Option<Extension<Arc<TallyKey>>>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Summary>), ApiError> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > MAX_BODY) {
        return Err(too_long());
    }
    let body = to_bytes(body, MAX_BODY).await.map_err(|error| {
        if error.source().is_some_and(|cause| cause.is::<LengthLimitError>()) {
            return too_long();
        }
        ApiError::new(StatusCode::BAD_REQUEST, "the body did not come whole; nothing was recorded, send it again")
    })?;
    let items = items(&body)?;
    if items.len() > MAX_ITEMS {
        let message = format!("{} items are more than {MAX_ITEMS}; send them in parts", items.len());
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    let teller = teller.as_ref().map(|Extension(key)| &**key);
    let summary = intake::take(&state.ledger, &state.clock, &state.entropy, &state.keys, teller, &items)
        .await
        .map_err(|error| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    Ok((StatusCode::ACCEPTED, Json(summary)))
}

fn too_long() -> ApiError {
    let message = format!("the body is longer than {MAX_BODY} bytes; send it in parts");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
}

/// One object, an array, or NDJSON; a line of NDJSON that does not parse is refused alone.
fn items(body: &[u8]) -> Result<Vec<Value>, ApiError> {
    match serde_json::from_slice(body) {
        Ok(Value::Array(items)) => return Ok(items),
        Ok(item @ Value::Object(_)) => return Ok(vec![item]),
        _ => {}
    }
    let wrong = || {
        let message = "the body is neither an object {\"id\":\"gen-…\"}, nor an array of them, nor one on each line";
        ApiError::new(StatusCode::BAD_REQUEST, message)
    };
    let text = std::str::from_utf8(body).map_err(|_| wrong())?;
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let parsed: Vec<Option<Value>> =
        lines.iter().map(|line| serde_json::from_str(line).ok().filter(Value::is_object)).collect();
    if parsed.iter().all(Option::is_none) {
        return Err(wrong());
    }
    let of_line = |(value, line): (Option<Value>, &&str)| value.unwrap_or_else(|| Value::String((*line).to_owned()));
    Ok(parsed.into_iter().zip(&lines).map(of_line).collect())
}
