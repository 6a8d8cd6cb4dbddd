//! `POST /tally/v1/record`: generation IDs that are told.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use http_body_util::BodyExt as _;
use serde_json::Value;

use super::{ApiError, ApiState};
use crate::domain::tally_key::TallyKey;
use crate::ledger::intake::{self, MAX_BODY, MAX_ITEMS, Summary};

/// Most of a body that is too long is read and dropped, in bytes; beyond it the connection is closed.
const MAX_DROPPED: usize = 4 * MAX_BODY;

pub(super) async fn record(
    State(state): State<ApiState>,
    teller: Option<Extension<Arc<TallyKey>>>,
    body: Body,
) -> Result<(StatusCode, Json<Summary>), ApiError> {
    let body = whole(body).await?;
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

/// The body, if it is no longer than [`MAX_BODY`]. Of a longer one the rest is read and dropped, so that whoever sends it gets
/// to read the answer.
async fn whole(mut body: Body) -> Result<Vec<u8>, ApiError> {
    let (mut read, mut length) = (Vec::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            let message = "the body did not come whole; nothing was recorded, send it again";
            ApiError::new(StatusCode::BAD_REQUEST, message)
        })?;
        let Some(data) = frame.data_ref() else { continue };
        length = length.saturating_add(data.len());
        if length <= MAX_BODY {
            read.extend_from_slice(data);
        } else {
            read = Vec::new();
        }
        if length > MAX_DROPPED {
            break;
        }
    }
    if length > MAX_BODY {
        let message = format!("the body is longer than {MAX_BODY} bytes; send it in parts");
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    Ok(read)
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
