//! `/tally/v1/keys`: tally keys listed, made and revoked. The answer that makes one is the only place its text is ever in.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use super::{ApiError, ApiState, attached};
use crate::domain::tally_key::TallyKeyId;
use crate::keys::{self, KeysError, Listed, Wanted};

/// Keys of one page, unless fewer or more are asked for.
const PAGE: u32 = 100;

/// Most keys of one page.
pub const MAX_PAGE: u32 = 1_000;

/// Which page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Keys made before the one with this ID.
    before: Option<TallyKeyId>,
    limit: Option<u32>,
}

/// A page.
#[derive(Debug, Serialize, Deserialize)]
pub struct KeysPage {
    /// The keys, the last made first.
    pub rows: Vec<Listed>,
    /// `before` of the next page; `None`: this is the last.
    pub next: Option<String>,
}

/// A key that was made.
#[derive(Serialize, Deserialize)]
pub struct MadeKey {
    /// Its text: shown here, and never again.
    pub tally_key: String,
    /// What is kept of it.
    #[serde(flatten)]
    pub listed: Listed,
}

pub(super) async fn list(
    State(state): State<ApiState>,
    Query(asked): Query<Asked>,
) -> Result<Json<KeysPage>, ApiError> {
    page(&state, &asked).await.map(Json)
}

pub(super) async fn csv(State(state): State<ApiState>, Query(asked): Query<Asked>) -> Result<Response, ApiError> {
    attached("tallyd-keys.csv", &keys::table(&page(&state, &asked).await?.rows))
}

async fn page(state: &ApiState, asked: &Asked) -> Result<KeysPage, ApiError> {
    let limit = asked.limit.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, format!("limit is a number from 1 to {MAX_PAGE}")));
    }
    let listing = state.tally_keys.list(asked.before, limit).await.map_err(|error| ApiError::unreadable(&error))?;
    let now = state.clock.now();
    Ok(KeysPage {
        rows: listing.keys.iter().map(|(key, spend)| Listed::new(key, *spend, now)).collect(),
        next: listing.next.map(|id| id.to_string()),
    })
}

pub(super) async fn create(
    State(state): State<ApiState>,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<Response, ApiError> {
    // The parser's own words may repeat what was sent, so they are not passed on.
    let Json(wanted) = wanted.map_err(|_| {
        let message = "the body is not {\"app\"?, \"user\"?, \"session\"?, \"tags\"?: {…}, \"key\"?: \"NAME\", \"expires\"?: \"30d\"} \
                       of type application/json";
        ApiError::new(StatusCode::BAD_REQUEST, message)
    })?;
    let made = state.tally_keys.create(wanted, None).await.map_err(|error| refused(&error))?;
    let listed = state.tally_keys.listed(&made.key).await.map_err(|error| ApiError::unreadable(&error))?;
    let body = Json(MadeKey { tally_key: made.text.expose_secret().to_owned(), listed });
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], body).into_response())
}

pub(super) async fn revoke(State(state): State<ApiState>, Path(name): Path<String>) -> Result<Json<Listed>, ApiError> {
    let key = state.tally_keys.revoke(&name).await.map_err(|error| refused(&error))?;
    state.tally_keys.listed(&key).await.map(Json).map_err(|error| ApiError::unreadable(&error))
}

fn refused(error: &KeysError) -> ApiError {
    let status = match error {
        KeysError::Invalid(_) => StatusCode::BAD_REQUEST,
        KeysError::NotFound(_) => StatusCode::NOT_FOUND,
        KeysError::Full | KeysError::Made(_) | KeysError::Ambiguous(..) => StatusCode::CONFLICT,
        KeysError::Store(error) => {
            tracing::error!(%error, "a tally key could not be written");
            let message = "the ledger's database can not be written at present; nothing was changed, try again";
            return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message);
        }
    };
    ApiError::new(status, error.to_string())
}
