//! `/tally/v1/keys`: tally keys listed, made and revoked. The answer that makes one is the only place its text is ever in.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::asked::{Asked, Named};
use super::{ApiError, ApiState, BadRequest, Conflict, NotFound, Refused, attached, wanted};
use crate::domain::tally_key::TallyKeyId;
use crate::keys::{self, KeysError, Listed, Wanted};

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// Keys made before the one with this ID.
    #[param(value_type = Option<String>)]
    before: Option<TallyKeyId>,
    /// Rows of the page, 100 unless said otherwise.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// A page.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct KeysPage {
    /// The keys, the last made first.
    pub rows: Vec<Listed>,
    /// `before` of the next page; `None`: this is the last.
    pub next: Option<String>,
}

/// A key that was made.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct MadeKey {
    /// Its text: shown here, and never again.
    pub tally_key: String,
    /// What is kept of it.
    #[serde(flatten)]
    pub listed: Listed,
}

/// Tally keys
///
/// The last made first, each with what its calls of the last 30 days cost; never their text.
#[utoipa::path(
    get, path = "/tally/v1/keys", tag = "keys", params(Page),
    responses((status = 200, description = "A page", body = KeysPage), BadRequest, Refused)
)]
pub(super) async fn list(State(state): State<ApiState>, Asked(asked): Asked<Page>) -> Result<Json<KeysPage>, ApiError> {
    page(&state, &asked).await.map(Json)
}

/// Tally keys as CSV
///
/// The same page as CSV.
#[utoipa::path(
    get, path = "/tally/v1/keys.csv", tag = "keys", params(Page),
    responses((status = 200, description = "The same as CSV", body = String, content_type = "text/csv"), BadRequest, Refused)
)]
pub(super) async fn csv(State(state): State<ApiState>, Asked(asked): Asked<Page>) -> Result<Response, ApiError> {
    attached("tallyd-keys.csv", &keys::table(&page(&state, &asked).await?.rows))
}

async fn page(state: &ApiState, asked: &Page) -> Result<KeysPage, ApiError> {
    let limit = wanted(asked.limit)?;
    let listing = state.tally_keys.list(asked.before, limit).await.map_err(|error| ApiError::unreadable(&error))?;
    let now = state.clock.now();
    Ok(KeysPage {
        rows: listing.keys.iter().map(|(key, spend)| Listed::new(key, *spend, now)).collect(),
        next: listing.next.map(|id| id.to_string()),
    })
}

/// Make a tally key
///
/// The answer is the only place its text is ever in.
#[utoipa::path(
    post, path = "/tally/v1/keys", tag = "keys", request_body = Wanted,
    responses((status = 201, description = "It was made", body = MadeKey), BadRequest, Conflict, Refused)
)]
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

/// Revoke a tally key
///
/// From now on it is refused.
#[utoipa::path(
    delete, path = "/tally/v1/keys/{name}", tag = "keys", params(("name" = String, Path, description = "Its ID, or the last characters of its text where they name one key")),
    responses((status = 200, description = "The key", body = Listed), BadRequest, NotFound, Conflict, Refused)
)]
pub(super) async fn revoke(
    State(state): State<ApiState>,
    Named(name): Named<String>,
) -> Result<Json<Listed>, ApiError> {
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
