//! `/tally/v1/completions`: the rows of the page Completions under the same filters, one of them whole, and all of them as a
//! file.

use std::io;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde::ser::Serializer;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::{IntoParams, ToSchema};

use super::asked::{Asked, Named};
use super::{ApiError, ApiState, BadRequest, Busy, NotFound, PAGE, Refused, wanted};
use crate::domain::call::Call;
use crate::report::completion::{self, Detail};
use crate::report::export::rows::Rows;
use crate::report::export::{Encoder, Form};
use crate::report::filters::Filters;
use crate::report::usage::{Completion, Row};
use crate::store::calls::{self, CompletionFilter, Cursor};

/// Exports under way at once; each holds a page of rows, or a row group of Parquet.
pub const EXPORTS_AT_ONCE: usize = 4;

/// What completions and sums are narrowed down by, as on the pages; read from the pairs of the URL.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the fields describe the pairs that Filters reads")]
pub(super) struct Narrowed {
    /// The model that answered.
    model: Option<String>,
    /// The model asked for.
    requested: Option<String>,
    /// The application.
    app: Option<String>,
    /// The key's name.
    key: Option<String>,
    /// The provider, by its display name.
    provider: Option<String>,
    /// The end user.
    user: Option<String>,
    /// The session.
    session: Option<String>,
    /// pending, settled, unsettled or failed.
    #[param(pattern = "^(pending|settled|unsettled|failed)$")]
    state: Option<String>,
    /// The path below `/api/v1/`.
    endpoint: Option<String>,
    /// The error's type.
    error: Option<String>,
    /// A tag, as name=value.
    #[param(pattern = "^[^=]+=.*$")]
    tag: Option<String>,
    /// Names the field of which rows have no value: model, requested, app, key, provider, user, session, endpoint or error.
    #[param(pattern = "^(model|requested|app|key|provider|user|session|endpoint|error)$")]
    none: Option<String>,
}

/// What rows alone are narrowed down by.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the fields describe the pairs that Filters reads")]
pub(super) struct RowsNarrowed {
    /// The reply's HTTP status.
    #[param(pattern = "^[1-5][0-9]{2}$")]
    status: Option<String>,
    /// One of the row's flags.
    flag: Option<String>,
    /// Created from then on: a date, a local time, an instant, or a span back from now such as `7d`.
    #[param(pattern = r"^([1-9][0-9]{0,2}[hdw]|[1-9][0-9]{3}-[01][0-9]-[0-3][0-9](T[0-9:.]+(Z|[+-][0-9:]+)?)?)$")]
    since: Option<String>,
    /// Created before.
    #[param(pattern = r"^([1-9][0-9]{0,2}[hdw]|[1-9][0-9]{3}-[01][0-9]-[0-3][0-9](T[0-9:.]+(Z|[+-][0-9:]+)?)?)$")]
    until: Option<String>,
}

/// Which page.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the fields describe pairs that are read beside the filters")]
pub(super) struct PageParams {
    /// Rows of the page, 100 unless said otherwise.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Where the page before this one ended: its `next`.
    before: Option<String>,
}

/// A page of completions, newest first.
#[derive(Debug, serde::Serialize, ToSchema)]
pub(super) struct CompletionsPage {
    /// The rows.
    #[serde(serialize_with = "as_rows")]
    #[schema(value_type = Vec<Completion>)]
    rows: Vec<Call>,
    /// `before` of the next page; null: this is the last.
    next: Option<String>,
}

fn as_rows<S: Serializer>(rows: &[Call], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(rows.iter().map(Row))
}

type Pairs = Vec<(String, String)>;

/// Completions
///
/// The ledger's rows, newest first, under the filters of the page Completions.
#[utoipa::path(
    get, path = "/tally/v1/completions", tag = "completions", params(Narrowed, RowsNarrowed, PageParams),
    responses((status = 200, description = "A page", body = CompletionsPage), BadRequest, Refused)
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    Asked(pairs): Asked<Pairs>,
) -> Result<Json<CompletionsPage>, ApiError> {
    let filter = filter(&state, &pairs, &["limit", "before"])?;
    let given = |name: &str| pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let wrong = |message: &str| ApiError::new(StatusCode::BAD_REQUEST, message);
    let limit = match given("limit") {
        None => PAGE,
        Some(text) => wanted(Some(text.parse().unwrap_or(0)))?,
    };
    let before = match given("before") {
        None => None,
        Some(text) => Some(
            text.parse::<Cursor>()
                .map_err(|_| wrong("before is the `next` of another page; leave it out for the first"))?,
        ),
    };
    let mut rows =
        calls::page(&state.store, &filter, before, limit + 1).await.map_err(|error| ApiError::unreadable(&error))?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|last| Cursor::after(last).to_string());
    Ok(Json(CompletionsPage { rows, next }))
}

/// A completion
///
/// One completion by its generation or call ID, with all that its page shows.
#[utoipa::path(
    get, path = "/tally/v1/completions/{id}", tag = "completions",
    params(("id" = String, Path, description = "Its generation ID (gen-…) or call ID")),
    responses((status = 200, description = "The completion", body = Detail), BadRequest, NotFound, Refused)
)]
pub(super) async fn show(State(state): State<ApiState>, Named(id): Named<String>) -> Result<Response, ApiError> {
    let found = calls::find(&state.store, &id).await.map_err(|error| ApiError::unreadable(&error))?;
    let Some((call, record)) = found.filter(|(call, _)| completion::is_told(call)) else {
        let message = "the ledger has no completion with this ID; a call under way is told once its ID is known";
        return Err(ApiError::new(StatusCode::NOT_FOUND, message));
    };
    let detail = Detail::new(&call, completion::record(record.as_deref()), &state.catalogue.load());
    Ok(Json(detail).into_response())
}

/// Completions as CSV
///
/// Every row that the filters leave, newest first, with the columns of the view `usage`. It comes as it is read, in constant
/// memory; a file that ends early breaks the connection.
#[utoipa::path(
    get, path = "/tally/v1/completions.csv", tag = "completions", params(Narrowed, RowsNarrowed),
    responses((status = 200, description = "The file", body = String, content_type = "text/csv"), BadRequest, Refused, Busy)
)]
pub(super) async fn csv(state: State<ApiState>, asked: Asked<Pairs>) -> Result<Response, ApiError> {
    export(state, asked, Form::Csv).await
}

/// Completions as NDJSON
///
/// The same, one JSON object a line.
#[utoipa::path(
    get, path = "/tally/v1/completions.ndjson", tag = "completions", params(Narrowed, RowsNarrowed),
    responses(
        (status = 200, description = "The file: a `Completion` a line", body = String, content_type = "application/x-ndjson"),
        BadRequest, Refused, Busy
    )
)]
pub(super) async fn ndjson(state: State<ApiState>, asked: Asked<Pairs>) -> Result<Response, ApiError> {
    export(state, asked, Form::Ndjson).await
}

/// Completions as Parquet
///
/// The same as Apache Parquet, with amounts as DECIMAL(20, 12) and instants as timestamps.
#[utoipa::path(
    get, path = "/tally/v1/completions.parquet", tag = "completions", params(Narrowed, RowsNarrowed),
    responses(
        (status = 200, description = "The file", body = Vec<u8>, content_type = "application/vnd.apache.parquet"),
        BadRequest, Refused, Busy
    )
)]
pub(super) async fn parquet(state: State<ApiState>, asked: Asked<Pairs>) -> Result<Response, ApiError> {
    export(state, asked, Form::Parquet).await
}

/// Completions as FOCUS
///
/// What was charged, in the columns of the FinOps Open Cost and Usage Specification 1.2, as CSV.
#[utoipa::path(
    get, path = "/tally/v1/completions.focus.csv", tag = "completions", params(Narrowed, RowsNarrowed),
    responses((status = 200, description = "The file", body = String, content_type = "text/csv"), BadRequest, Refused, Busy)
)]
pub(super) async fn focus(state: State<ApiState>, asked: Asked<Pairs>) -> Result<Response, ApiError> {
    export(state, asked, Form::Focus).await
}

/// The rows that the pairs of a URL ask for; `besides` are names that are no filters.
fn filter(state: &ApiState, pairs: &Pairs, besides: &[&str]) -> Result<CompletionFilter, ApiError> {
    let refused = |problem: String| ApiError::new(StatusCode::BAD_REQUEST, problem);
    let filters: Vec<(String, String)> =
        pairs.iter().filter(|(name, _)| !besides.contains(&name.as_str())).cloned().collect();
    let filters = Filters::read_all(&filters).map_err(refused)?;
    filters.of_rows(state.zone, state.clock.now()).map_err(refused)
}

/// A file under way.
struct Export {
    rows: Rows,
    /// `None` once the file is ended.
    encoder: Option<Encoder>,
    _slot: OwnedSemaphorePermit,
}

async fn export(State(state): State<ApiState>, Asked(pairs): Asked<Pairs>, form: Form) -> Result<Response, ApiError> {
    let filter = filter(&state, &pairs, &[])?;
    let Ok(slot) = Arc::clone(&state.exports).try_acquire_owned() else {
        return Err(ApiError::busy(format!("{EXPORTS_AT_ONCE} exports are under way; try again when one is done")));
    };
    let rows = Rows::begin(state.store.clone(), state.clock.clone(), filter)
        .await
        .map_err(|error| ApiError::unreadable(&error))?;
    let encoder =
        Encoder::new(form).map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let export = Export { rows, encoder: Some(encoder), _slot: slot };
    let pieces = stream::try_unfold(export, |mut export| async move {
        let piece = export.next().await.inspect_err(|error| tracing::error!(%error, "an export broke off"))?;
        Ok::<_, io::Error>(piece.map(|piece| (piece, export)))
    });
    let head = [
        (header::CONTENT_TYPE, form.content_type().to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", form.file_name())),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((head, Body::from_stream(pieces)).into_response())
}

impl Export {
    /// The next piece of the file; `None`: it is whole.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while let Some(mut encoder) = self.encoder.take() {
            let rows = self.rows.next().await.map_err(io::Error::other)?;
            // Thousands of rows take milliseconds, which no call on this thread shall wait for.
            let working = tokio::task::spawn_blocking(move || match rows {
                Some(rows) => encoder.write(&rows).map(|bytes| (bytes, Some(encoder))),
                None => encoder.finish().map(|bytes| (bytes, None)),
            });
            let (bytes, encoder) = working.await.map_err(io::Error::other)??;
            self.encoder = encoder;
            if !bytes.is_empty() {
                return Ok(Some(bytes.into()));
            }
        }
        Ok(None)
    }
}
