//! The JSON API under `/tally/v1`, and what operators ask: `/healthz`, `/readyz`, `/metrics`.

mod alerts;
mod budgets;
mod explore;
mod failures;
mod health;
mod import;
mod keys;
mod outbox;
mod reconciliation;
mod record;
mod spend;
pub(in crate::web) mod sql;
pub mod traces;

pub use self::alerts::AlertsPage;
pub use self::budgets::{BudgetsPage, COMMAND, ChangesPage, DOOR_HEADER, MAX_PAGE as MAX_BUDGETS_PAGE};
pub use self::keys::{KeysPage, MAX_PAGE, MadeKey};

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use chrono_tz::Tz;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::alert::post::Post;
use crate::capture::recorder::Recorder;
use crate::catalogue::Shelf;
use crate::clock::{Clock, Entropy};
use crate::definitions::Definitions;
use crate::domain::table::Table;
use crate::journal::Journal;
use crate::keys::TallyKeys;
use crate::ledger::Ledger;
use crate::ledger::intake::NamedKeys;
use crate::report::output;
use crate::store::Store;
use crate::store::console::Console;
use crate::telemetry::Metrics;

/// Imports read at once; each holds a piece of at most [`crate::import::pieces::MAX_PIECE`] and what is read of it.
pub const IMPORTS_AT_ONCE: usize = 4;

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
    /// Imports that may be read at once.
    pub imports: Arc<Semaphore>,
    /// Turns of those that replay budgets.
    pub replays: Arc<Semaphore>,
    /// Answers people's own queries.
    pub console: Console,
    /// The budgets.
    pub definitions: Definitions,
    /// The tally keys.
    pub tally_keys: Arc<TallyKeys>,
    /// The list of models.
    pub catalogue: Shelf,
    /// Sends messages again.
    pub post: Post,
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
        .route("/tally/v1/budgets", get(budgets::list))
        .route("/tally/v1/budgets.csv", get(budgets::csv))
        .route("/tally/v1/budgets/{name}", get(budgets::show).put(budgets::put).delete(budgets::delete))
        .route("/tally/v1/budgets/{name}/replay", get(budgets::replay_known).post(budgets::replay_draft))
        .route("/tally/v1/budgets/{name}/pause", post(budgets::pause))
        .route("/tally/v1/budgets/{name}/resume", post(budgets::resume))
        .route("/tally/v1/budgets/{name}/override", post(budgets::override_limit).delete(budgets::end_override))
        .route("/tally/v1/budgets/{name}/topup", post(budgets::top_up))
        .route("/tally/v1/budget-changes", get(budgets::changes))
        .route("/tally/v1/budget-changes.csv", get(budgets::changes_csv))
        .route("/tally/v1/alerts", get(alerts::json))
        .route("/tally/v1/alerts.csv", get(alerts::csv))
        .route("/tally/v1/reload", post(budgets::reload))
        .route("/tally/v1/keys", get(keys::list).post(keys::create))
        .route("/tally/v1/keys.csv", get(keys::csv))
        .route("/tally/v1/keys/{name}", delete(keys::revoke))
        .route("/tally/v1/failures", get(failures::json))
        .route("/tally/v1/failures.csv", get(failures::csv))
        .route("/tally/v1/reconciliation", get(reconciliation::json))
        .route("/tally/v1/outbox", get(outbox::list))
        .route("/tally/v1/outbox/{id}/resend", post(outbox::resend))
        .route("/tally/v1/import", post(import::import))
        .route("/tally/v1/explore", get(explore::json))
        .route("/tally/v1/explore.csv", get(explore::csv))
        .route("/tally/v1/spend", get(spend::json))
        .route("/tally/v1/spend.csv", get(spend::csv))
        .route("/tally/v1/sql", get(sql::linked_json).post(sql::json))
        .route("/tally/v1/sql.csv", get(sql::linked_csv).post(sql::csv))
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

/// A table as a CSV file of that name.
fn attached(name: &str, table: &Table) -> Result<Response, ApiError> {
    let mut body = Vec::new();
    output::csv(table, &mut body)
        .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let head = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    Ok((head, body).into_response())
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
