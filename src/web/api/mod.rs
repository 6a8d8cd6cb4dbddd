//! The JSON API under `/tally/v1`, and what operators ask: `/healthz`, `/readyz`, `/metrics`.

mod failures;
mod health;
mod keys;
mod reconciliation;
mod record;
mod spend;

pub use self::keys::{KeysPage, MAX_PAGE, MadeKey};

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use chrono_tz::Tz;
use serde_json::json;

use crate::capture::recorder::Recorder;
use crate::catalogue::Shelf;
use crate::clock::{Clock, Entropy};
use crate::journal::Journal;
use crate::keys::TallyKeys;
use crate::ledger::Ledger;
use crate::ledger::intake::NamedKeys;
use crate::store::Store;
use crate::telemetry::Metrics;

/// What the API works with.
#[derive(Clone)]
pub struct ApiState {
    /// The ledger's writer.
    pub ledger: Ledger,
    /// The database, to read.
    pub store: Store,
    /// The journal, to ask how it is.
    pub journal: Journal,
    /// What writes to it, to ask what it could not write.
    pub recorder: Recorder,
    /// Keys that told IDs may name.
    pub keys: Arc<NamedKeys>,
    /// The tally keys.
    pub tally_keys: Arc<TallyKeys>,
    /// The list of models.
    pub catalogue: Shelf,
    /// SHA-256 of the key that is told the balance; `None`: none is configured.
    pub management_key: Option<String>,
    /// The zone of dates in questions.
    pub zone: Tz,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
    /// What is counted.
    pub metrics: Metrics,
}

/// `/tally/v1/…`: guarded by whoever mounts it.
pub fn router(state: ApiState) -> Router {
    Router::new()
        .route("/tally/v1/keys", get(keys::list).post(keys::create))
        .route("/tally/v1/keys.csv", get(keys::csv))
        .route("/tally/v1/keys/{name}", delete(keys::revoke))
        .route("/tally/v1/failures", get(failures::json))
        .route("/tally/v1/failures.csv", get(failures::csv))
        .route("/tally/v1/reconciliation", get(reconciliation::json))
        .route("/tally/v1/spend", get(spend::json))
        .route("/tally/v1/spend.csv", get(spend::csv))
        .with_state(state)
}

/// `/tally/v1/record`, which takes tally keys as well: guarded by whoever mounts it.
pub fn telling(state: ApiState) -> Router {
    Router::new().route("/tally/v1/record", post(record::record)).with_state(state)
}

/// `/healthz` and `/readyz`, which answer everybody.
pub fn operations(state: ApiState) -> Router {
    Router::new().route("/healthz", get(health::healthz)).route("/readyz", get(health::readyz)).with_state(state)
}

/// `/metrics`, open on loopback only: guarded by whoever mounts it.
pub fn metrics(state: ApiState) -> Router {
    Router::new().route("/metrics", get(health::metrics)).with_state(state)
}

/// An error of the JSON API: `{"error":{"code":400,"message":"…"}}`.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    message: String,
}

impl ApiError {
    /// An answer of `status` with a message that says what to do.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// The database could not be read; the cause is logged here, once.
    pub fn unreadable(error: &crate::store::StoreError) -> Self {
        tracing::error!(error = %error, "the database could not be read for a request");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the ledger's database can not be read at present; try again")
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({ "error": { "code": self.status.as_u16(), "message": self.message } }).to_string();
        (self.status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}
