//! `GET /tally/v1/reconciliation`: what OpenRouter counted for each configured key beside the ledger, and the balance.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::{ApiError, ApiState};
use crate::report::reconciliation;

pub(super) async fn json(State(state): State<ApiState>) -> Result<Json<Value>, ApiError> {
    let read = reconciliation::read(&state.store, state.management_key.as_deref(), state.clock.now()).await;
    Ok(Json(read.map_err(|error| ApiError::unreadable(&error))?.json()))
}
