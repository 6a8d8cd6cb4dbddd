//! The JSON API under `/tally/v1`, and what operators ask: `/healthz`, `/readyz`, `/metrics`.

mod alerts;
mod asked;
mod budgets;
mod completions;
pub mod document;
mod error;
mod explore;
mod failures;
mod health;
mod import;
mod keys;
mod outbox;
mod paging;
mod reconciliation;
mod record;
mod spend;
pub(in crate::web) mod sql;
pub mod traces;

pub use self::alerts::AlertsPage;
pub use self::budgets::{BudgetsPage, COMMAND, ChangesPage, DOOR_HEADER};
pub use self::completions::EXPORTS_AT_ONCE;
pub use self::error::ApiError;
pub use self::keys::{KeysPage, MadeKey};
pub use self::paging::MAX_PAGE;

use self::error::{BadRequest, Busy, Conflict, NotFound, Refused, TooLarge, Unprocessable};
use self::paging::{PAGE, wanted};

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono_tz::Tz;
use tokio::sync::Semaphore;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

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
    /// Exports that may be under way at once.
    pub exports: Arc<Semaphore>,
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
    served(admin(), state)
}

/// `/tally/v1/record`, which takes tally keys as well: guarded by whoever mounts it.
pub fn telling(state: ApiState) -> Router {
    served(tellers(), state)
}

/// `/healthz` and `/readyz`, which answer everybody.
pub fn operations(state: ApiState) -> Router {
    served(everybody(), state)
}

/// `/metrics`, open on loopback only: guarded by whoever mounts it.
pub fn metrics(state: ApiState) -> Router {
    served(measured(), state)
}

/// What is not there: an answer in the API's form.
pub fn not_found() -> Response {
    let message = "there is nothing of this path; /tally/v1/openapi.json lists what there is";
    ApiError::new(StatusCode::NOT_FOUND, message).into_response()
}

async fn wrong_method() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "this path takes other methods; the header Allow lists them")
}

fn served(routes: OpenApiRouter<ApiState>, state: ApiState) -> Router {
    routes.split_for_parts().0.method_not_allowed_fallback(wrong_method).with_state(state)
}

// A route is made of its handler's description alone, so that none is served which the document lacks.

fn admin() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(completions::list))
        .routes(routes!(completions::csv))
        .routes(routes!(completions::ndjson))
        .routes(routes!(completions::parquet))
        .routes(routes!(completions::focus))
        .routes(routes!(completions::show))
        .routes(routes!(spend::json))
        .routes(routes!(spend::csv))
        .routes(routes!(explore::json))
        .routes(routes!(explore::csv))
        .routes(routes!(failures::json))
        .routes(routes!(failures::csv))
        .routes(routes!(sql::linked_json, sql::json))
        .routes(routes!(sql::linked_csv, sql::csv))
        .routes(routes!(budgets::list))
        .routes(routes!(budgets::csv))
        .routes(routes!(budgets::show, budgets::put, budgets::delete))
        .routes(routes!(budgets::replay_known, budgets::replay_draft))
        .routes(routes!(budgets::pause))
        .routes(routes!(budgets::resume))
        .routes(routes!(budgets::override_limit, budgets::end_override))
        .routes(routes!(budgets::top_up))
        .routes(routes!(budgets::changes))
        .routes(routes!(budgets::changes_csv))
        .routes(routes!(alerts::json))
        .routes(routes!(alerts::csv))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::csv))
        .routes(routes!(keys::revoke))
        .routes(routes!(import::import))
        .routes(routes!(outbox::list))
        .routes(routes!(outbox::csv))
        .routes(routes!(outbox::resend))
        .routes(routes!(reconciliation::json))
        .routes(routes!(reconciliation::csv))
        .routes(routes!(budgets::reload))
        .routes(routes!(document::openapi))
}

fn tellers() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(record::record))
}

fn everybody() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(health::healthz)).routes(routes!(health::readyz))
}

fn measured() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(health::metrics))
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
