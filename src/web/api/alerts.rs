//! `/tally/v1/alerts`: what budgets told, the last crossing first.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::asked::Asked;
use super::{ApiError, ApiState, BadRequest, Refused, attached, wanted};
use crate::definitions::{self, AlertRow};
use crate::domain::budget::BudgetName;
use crate::domain::time::Timestamp;
use crate::store::alerts;

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// Of this budget alone.
    budget: Option<BudgetName>,
    /// Where the page before this one ended: its `next`.
    before: Option<String>,
    /// Rows of the page, 100 unless said otherwise.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// A page of crossings.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AlertsPage {
    /// The crossings.
    pub rows: Vec<AlertRow>,
    /// `before` of the next page; `None`: this is the last.
    pub next: Option<String>,
}

/// Alerts
///
/// What budgets told, the last crossing first.
#[utoipa::path(
    get, path = "/tally/v1/alerts", tag = "budgets", params(Page),
    responses((status = 200, description = "A page", body = AlertsPage), BadRequest, Refused)
)]
pub(super) async fn json(
    State(state): State<ApiState>,
    Asked(asked): Asked<Page>,
) -> Result<Json<AlertsPage>, ApiError> {
    page(&state, &asked).await.map(Json)
}

/// Alerts as CSV
///
/// The same page as CSV.
#[utoipa::path(
    get, path = "/tally/v1/alerts.csv", tag = "budgets", params(Page),
    responses((status = 200, description = "The same as CSV", body = String, content_type = "text/csv"), BadRequest, Refused)
)]
pub(super) async fn csv(State(state): State<ApiState>, Asked(asked): Asked<Page>) -> Result<Response, ApiError> {
    attached("tallyd-alerts.csv", &definitions::alerts_table(&page(&state, &asked).await?.rows))
}

async fn page(state: &ApiState, asked: &Page) -> Result<AlertsPage, ApiError> {
    let limit = wanted(asked.limit)?;
    let before = asked.before.as_deref().map(|text| {
        let (at, id) = text.split_once('_')?;
        Some((Timestamp(at.parse().ok()?), id))
    });
    let Some(before) = before.map_or(Some(None), |place| place.map(Some)) else {
        let message = "before is the `next` of another page; leave it out for the first";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, message));
    };
    let mut told = alerts::history(&state.store, asked.budget.as_ref(), before, limit + 1)
        .await
        .map_err(|error| ApiError::unreadable(&error))?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = told.len() > limit;
    told.truncate(limit);
    let place = |last: &alerts::PastAlert| format!("{}_{}", last.alert.crossed_at.millis(), last.alert.alert_id);
    Ok(AlertsPage { next: told.last().filter(|_| more).map(place), rows: definitions::alert_rows(&told) })
}
