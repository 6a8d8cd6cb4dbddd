//! The dashboard: pages made on the server, charts as inline SVG, nothing fetched from elsewhere.
//!
//! A page's whole state is its URL and everything works without script. Handlers ask [`crate::report`] and
//! the store, put figures into words and hand them to a template; [`chart`] draws. Who may see pages is
//! decided before a request comes here.

mod alerts;
mod api_docs;
mod assets;
mod budget;
mod budget_changes;
mod budget_forms;
mod budget_replay;
mod budgets;
mod chart;
mod chips;
mod completion;
mod completions;
mod events;
mod explore;
mod failures;
mod frame;
mod keys;
pub mod login;
mod overview;
mod providers;
mod query;
pub mod refused;
mod reports;
mod respond;
mod saved_views;
mod session;
mod sessions;
pub mod snooze;
mod sql;
mod status;

pub(in crate::web) use self::events::described;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::http::Uri;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use chrono_tz::Tz;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::alert::digest::Digests;
use crate::alert::post::Post;
use crate::capture::keys::Keyring;
use crate::capture::recorder::Recorder;
use crate::catalogue::Shelf;
use crate::clock::Clock;
use crate::config::OnLedgerFailure;
use crate::definitions::Definitions;
use crate::domain::snooze::Signer;
use crate::domain::time::Timestamp;
use crate::jobs::Board;
use crate::journal::Journal;
use crate::keys::TallyKeys;
use crate::ledger::Ledger;
use crate::store::Store;
use crate::store::console::Console;
use crate::web::api;

/// Most pages that may wait for news at once; further ones are told to try later.
pub const MAX_LISTENERS: usize = 64;

/// What the pages show and where they ask.
#[derive(Clone)]
pub struct DashboardState {
    /// The database, to read.
    pub store: Store,
    /// The ledger's writer: its health, and when something changed.
    pub ledger: Ledger,
    /// The journal, to ask how it is.
    pub journal: Journal,
    /// What writes to it, to ask what it could not write.
    pub recorder: Recorder,
    /// What becomes of new calls when the journal takes none.
    pub on_ledger_failure: OnLedgerFailure,
    /// The keys that are held; only names and last characters are shown.
    pub keyring: Arc<Keyring>,
    /// The budgets, to be changed.
    pub definitions: Definitions,
    /// The tally keys.
    pub tally_keys: Arc<TallyKeys>,
    /// Whether only this machine reaches the listener.
    pub is_loopback: bool,
    /// The list of models.
    pub catalogue: Shelf,
    /// Whether that list is read from OpenRouter.
    pub reads_catalogue: bool,
    /// SHA-256 of the key that is told the balance; `None`: none is configured.
    pub management_key: Option<String>,
    /// How the periodic jobs are doing.
    pub board: Board,
    /// Signs and checks the links that silence a budget.
    pub signer: Signer,
    /// Sends messages again.
    pub post: Post,
    /// The reports that are mailed on a schedule.
    pub digests: Digests,
    /// The time.
    pub clock: Clock,
    /// The zone of times on pages.
    pub zone: Tz,
    /// The URL that callers reach the daemon by, without a slash at its end.
    pub url: String,
    /// The address served.
    pub address: SocketAddr,
    /// Where calls go: OpenRouter's base URL.
    pub upstream: String,
    /// The database as it may be shown: a path, or a URL without its password.
    pub database: String,
    /// The folder of the journal.
    pub journal_dir: PathBuf,
    /// Whether `[smtp]` is configured.
    pub has_mail_server: bool,
    /// What the configuration warns of.
    pub warnings: Arc<[String]>,
    /// When the daemon started.
    pub started_at: Timestamp,
    /// Falls when the daemon stops: pages that wait for news are let go.
    pub stop: CancellationToken,
    /// Turns of those that replay budgets.
    pub replays: Arc<Semaphore>,
    /// Answers people's own queries.
    pub console: Console,
    /// Places for pages that wait for news; [`listeners`] makes them.
    pub listeners: Arc<Semaphore>,
}

impl DashboardState {
    /// Whether a call without a key spends with the configured one (open mode).
    fn is_open(&self) -> bool {
        self.is_loopback && !self.tally_keys.were_made()
    }
}

/// Places for [`MAX_LISTENERS`] pages.
pub fn listeners() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MAX_LISTENERS))
}

/// The pages, what they load, and the news they wait for: guarded by whoever mounts it.
pub fn router(state: DashboardState) -> Router {
    let pages = Router::new()
        .route("/", get(overview::page))
        .route("/explore", get(explore::page))
        .route("/explore/views", post(saved_views::save))
        .route("/explore/views/rename", post(saved_views::rename))
        .route("/explore/views/remove", post(saved_views::remove))
        .route("/completions", get(completions::page))
        .route("/completions/{id}", get(completion::page))
        .route("/sessions", get(sessions::page))
        .route("/sessions/{id}", get(session::page))
        .route("/providers", get(providers::page))
        .route("/failures", get(failures::page))
        .route("/budgets", get(budgets::page))
        // No budget is called "-".
        .route("/budgets/-/new", get(budget_forms::new).post(budget_forms::make))
        .route("/budgets/-/changes", get(budget_changes::all))
        .route("/budgets/{name}", get(budget::page))
        .route("/budgets/{name}/edit", get(budget_forms::edit).post(budget_forms::change))
        .route("/budgets/{name}/remove", get(budget_forms::ask).post(budget_forms::remove))
        .route("/budgets/{name}/pause", post(budget_forms::pause))
        .route("/budgets/{name}/resume", post(budget_forms::resume))
        .route("/budgets/{name}/override", post(budget_forms::override_limit))
        .route("/budgets/{name}/override/end", post(budget_forms::end_override))
        .route("/budgets/{name}/topup", post(budget_forms::top_up))
        .route("/budgets/{name}/history", get(budget_changes::of_one))
        .route("/budgets/{name}/replay", get(budget_replay::page))
        .route("/alerts", get(alerts::page))
        .route("/alerts/mails/{id}", get(alerts::mail))
        .route("/alerts/mails/{id}/html", get(alerts::mail_html))
        .route("/alerts/mails/{id}/resend", post(alerts::resend))
        .route("/alerts/snoozes/{budget}/end", post(alerts::end_snooze))
        .route("/reports", get(reports::page))
        .route("/reports/{name}", get(reports::preview))
        .route("/reports/{name}/html", get(reports::html_part))
        .route("/keys", get(keys::page).post(keys::create))
        .route("/keys/{id}/revoke", get(keys::ask).post(keys::revoke))
        .route("/sql", get(sql::page))
        .route("/sql/save", post(sql::save))
        .route("/sql/remove", post(sql::remove))
        .route("/status", get(status::page))
        .route("/api-docs", get(api_docs::page))
        .merge(events::described().split_for_parts().0)
        .with_state(state.clone())
        .fallback(move |uri: Uri| std::future::ready(not_found(&state, &uri)));
    pages.layer(middleware::map_response(respond::with_headers))
}

/// What a program is answered, or a person, where nothing is.
fn not_found(state: &DashboardState, uri: &Uri) -> Response {
    if uri.path().starts_with("/tally/") { api::not_found() } else { respond::not_found(state.clone()).into_response() }
}

/// Stylesheet, script and icon: hold nothing of the ledger, so the sign-in page may load them too.
pub fn assets() -> Router {
    Router::new().route("/assets/{file}", get(assets::file)).layer(middleware::map_response(respond::with_headers))
}
