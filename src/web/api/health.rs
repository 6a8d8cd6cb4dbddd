//! `/healthz`: the process answers. `/readyz`: it takes calls and keeps them. `/metrics`: what it counts.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::ApiState;
use super::error::ErrorBody;
use crate::report::reconciliation;
use crate::store::budgets::{BudgetStatus, StoredBudget};
use crate::telemetry::{BudgetTold, METRICS_CONTENT_TYPE};

/// Whether calls are taken and kept.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Readiness {
    /// Both journal and ledger are well.
    ready: bool,
    /// The journal.
    journal: JournalReadiness,
    /// The ledger's database.
    ledger: LedgerReadiness,
}

/// How the journal is.
#[derive(Debug, Serialize, ToSchema)]
struct JournalReadiness {
    /// Whether new calls are kept.
    accepts_new_calls: bool,
    /// What waits for the database, in bytes.
    undrained_bytes: u64,
    /// Calls that passed without a record since the start.
    uncounted_calls: u64,
    /// Records that were lost since the start.
    lost_records: u64,
}

/// How the ledger's database is.
#[derive(Debug, Serialize, ToSchema)]
struct LedgerReadiness {
    /// Whether it can be written.
    writable: bool,
    /// Since when it can not; null: it can.
    #[schema(format = DateTime)]
    since: Option<String>,
}

/// Health
///
/// The process answers.
#[utoipa::path(
    get, path = "/healthz", tag = "operations",
    responses((status = 200, description = "It does", body = String))
)]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Readiness
///
/// It takes calls and keeps them; 503 while they would not be kept, or while the ledger's database can not be written.
#[utoipa::path(
    get, path = "/readyz", tag = "operations",
    responses((status = 200, description = "It is ready", body = Readiness), (status = 503, description = "It is not", body = Readiness))
)]
pub(super) async fn readyz(State(state): State<ApiState>) -> (StatusCode, Json<Readiness>) {
    let journal = state.journal.health();
    let ledger = state.ledger.health();
    let ready = journal.accepts_new_calls && ledger.trouble.is_none();
    let body = Readiness {
        ready,
        journal: JournalReadiness {
            accepts_new_calls: journal.accepts_new_calls,
            undrained_bytes: journal.held_bytes,
            uncounted_calls: state.recorder.uncounted_calls(),
            lost_records: state.recorder.lost(),
        },
        ledger: LedgerReadiness {
            writable: ledger.trouble.is_none(),
            since: ledger.trouble.as_ref().map(|trouble| trouble.since.to_iso()),
        },
    };
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(body))
}

/// Metrics
///
/// For Prometheus, as OpenMetrics text. Free on loopback; elsewhere it needs the admin token.
#[utoipa::path(
    get, path = "/metrics", tag = "operations",
    responses((status = 200, description = "The metrics", body = String, content_type = "application/openmetrics-text"), (status = 401, description = "The admin token is missing or wrong", body = ErrorBody), (status = 403, description = "It comes from another site", body = ErrorBody))
)]
pub(super) async fn metrics(State(state): State<ApiState>) -> impl IntoResponse {
    let journal = state.journal.health();
    state.metrics.journal_size.set(i64::try_from(journal.held_bytes).unwrap_or(i64::MAX));
    state.metrics.journal_segments.set(i64::try_from(journal.segments).unwrap_or(i64::MAX));
    let metrics = &state.metrics;
    metrics.set_drain_lag(journal.oldest_undrained.unwrap_or_default());
    // A database that can not be asked leaves the last figure; /readyz says that it is in trouble.
    if let Ok(outbox) = crate::store::outbox::counts(&state.store).await {
        metrics.outbox_waiting.set(outbox.uncomposed + outbox.queued + outbox.waiting);
    }
    let now = state.clock.now();
    if let Ok(read) = reconciliation::read(&state.store, state.management_key.as_deref(), now).await {
        metrics.set_used_elsewhere(read.elsewhere());
        metrics.set_balance(read.balance.map(|balance| balance.left()));
    }
    metrics.set_catalogue_age(state.catalogue.load().fetched_at.map(|at| at.age(now)));
    let text = match crate::store::budgets::list(&state.store).await {
        Ok(budgets) => state.metrics.text_with(budgets.into_iter().filter_map(told).collect()),
        Err(_) => state.metrics.text(),
    };
    ([(header::CONTENT_TYPE, METRICS_CONTENT_TYPE)], text)
}

/// Where a budget stands; `None`: it was never turned yet.
fn told((stored, status): (StoredBudget, Option<BudgetStatus>)) -> Option<BudgetTold> {
    let status = status?;
    Some(BudgetTold {
        name: stored.budget.name.to_string(),
        spent: status.spent.cost,
        reserved: status.reserved,
        limit: status.limit.limit(),
        resets_at: status.window.end.filter(|_| !stored.budget.window.is_rolling()),
    })
}
