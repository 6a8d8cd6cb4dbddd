//! `GET /tally/v1/reconciliation`: what OpenRouter counted for each configured key beside the ledger, and the balance.

use axum::Json;
use axum::extract::State;
use axum::response::Response;

use super::{ApiError, ApiState, Refused, attached};
use crate::report::reconciliation::{self, Told};

/// Reconciliation
///
/// What OpenRouter counted for each configured key beside the ledger, a UTC day each, and the balance.
#[utoipa::path(
    get, path = "/tally/v1/reconciliation", tag = "operations",
    responses((status = 200, description = "The comparison", body = Told), Refused)
)]
pub(super) async fn json(State(state): State<ApiState>) -> Result<Json<Told>, ApiError> {
    let read = reconciliation::read(&state.store, state.management_key.as_deref(), state.clock.now()).await;
    Ok(Json(read.map_err(|error| ApiError::unreadable(&error))?.told()))
}

/// Reconciliation as CSV
///
/// The days as CSV.
#[utoipa::path(
    get, path = "/tally/v1/reconciliation.csv", tag = "operations",
    responses((status = 200, description = "The same as CSV", body = String, content_type = "text/csv"), Refused)
)]
pub(super) async fn csv(State(state): State<ApiState>) -> Result<Response, ApiError> {
    let read = reconciliation::read(&state.store, state.management_key.as_deref(), state.clock.now()).await;
    let told = read.map_err(|error| ApiError::unreadable(&error))?.told();
    attached("tallyd-reconciliation.csv", &told.table())
}
