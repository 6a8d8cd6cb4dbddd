//! `/tally/v1/sql`: what `tallyd sql` answers.
//!
//! Programs post JSON; GET answers the links of pages and dashboards. A query only reads, so a GET of it is one. No other
//! site's page comes this far: the guard refuses all that it could send to `/tally/v1`.

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::asked::Asked;
use super::{ApiError, ApiState, BadRequest, Busy, Refused, TooLarge, attached};
use crate::report::output;
use crate::store::console::{Answer, MAX_QUERY, Question, SqlError, Value};

/// Longest body, in bytes: the longest query as JSON, and values for its parameters.
const MAX_BODY: usize = 4 * MAX_QUERY;

/// What the name of a parameter begins with in a link.
pub const PARAMETER: &str = "p.";

/// The name under which the file of an answer is saved.
const FILE: &str = "tallyd-query.csv";

/// A query.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Query)]
struct Query {
    /// One SELECT over the views of docs/sql.md.
    #[schema(example = "SELECT model, cost_usd FROM usage LIMIT 5")]
    query: String,
    /// Values for `:name` in it: null, true or false, a number or a text each.
    #[serde(default)]
    #[schema(value_type = Object)]
    parameters: serde_json::Map<String, serde_json::Value>,
}

/// A query's answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = QueryAnswer)]
pub(super) struct Answered {
    /// The names of its columns, in their order.
    columns: Vec<String>,
    /// One object a row.
    #[schema(value_type = Vec<Object>)]
    rows: Vec<serde_json::Map<String, serde_json::Value>>,
    /// Why rows are missing at the end; null: all are here.
    cut: Option<String>,
    /// How long it took, in milliseconds.
    took_ms: u64,
}

/// A query in a link.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the fields describe the pairs that are read")]
pub(super) struct LinkParams {
    /// The query; each of its parameters stands beside it as `p.NAME`.
    q: String,
}

type Link = Asked<Vec<(String, String)>>;

/// Query
///
/// One read-only SELECT over the views; what may be asked stands in docs/sql.md.
#[utoipa::path(
    post, path = "/tally/v1/sql", tag = "sql", request_body = Query,
    responses((status = 200, description = "The answer", body = Answered), BadRequest, TooLarge, Busy, Refused)
)]
pub(super) async fn json(state: State<ApiState>, body: Body) -> Result<Response, ApiError> {
    let question = read(body).await?;
    as_json(&state, &question).await
}

/// Query, as CSV
///
/// The answer as CSV; `X-Tally-Cut` says why rows are missing, if some are.
#[utoipa::path(
    post, path = "/tally/v1/sql.csv", tag = "sql", request_body = Query,
    responses((status = 200, description = "The same as CSV", body = String, content_type = "text/csv"), BadRequest, TooLarge, Busy, Refused)
)]
pub(super) async fn csv(state: State<ApiState>, body: Body) -> Result<Response, ApiError> {
    let question = read(body).await?;
    as_csv(&state, &question).await
}

/// Query by link
///
/// One read-only SELECT over the views; what may be asked stands in docs/sql.md.
#[utoipa::path(
    get, path = "/tally/v1/sql", tag = "sql", params(LinkParams),
    responses((status = 200, description = "The answer", body = Answered), BadRequest, Busy, Refused)
)]
pub(super) async fn linked_json(state: State<ApiState>, Asked(pairs): Link) -> Result<Response, ApiError> {
    as_json(&state, &linked(pairs)?).await
}

/// Query by link, as CSV
///
/// The answer as CSV; `X-Tally-Cut` says why rows are missing, if some are.
#[utoipa::path(
    get, path = "/tally/v1/sql.csv", tag = "sql", params(LinkParams),
    responses((status = 200, description = "The same as CSV", body = String, content_type = "text/csv"), BadRequest, Busy, Refused)
)]
pub(super) async fn linked_csv(state: State<ApiState>, Asked(pairs): Link) -> Result<Response, ApiError> {
    as_csv(&state, &linked(pairs)?).await
}

async fn as_json(state: &ApiState, question: &Question) -> Result<Response, ApiError> {
    let Answer { table, took } = state.console.ask(question).await.map_err(failed)?;
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let body = Answered { rows: output::json(&table), columns: table.columns, cut: table.cut, took_ms };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

async fn as_csv(state: &ApiState, question: &Question) -> Result<Response, ApiError> {
    let Answer { table, .. } = state.console.ask(question).await.map_err(failed)?;
    let mut response = attached(FILE, &table)?;
    if let Some(why) = table.cut.as_deref().and_then(|why| HeaderValue::from_str(why).ok()) {
        response.headers_mut().insert("x-tally-cut", why);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn read(body: Body) -> Result<Question, ApiError> {
    let wrong = |message: String| ApiError::new(StatusCode::BAD_REQUEST, message);
    let bytes = to_bytes(body, MAX_BODY).await.map_err(|_| {
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body broke off or is longer than {MAX_BODY} bytes"))
    })?;
    let asked: Query = serde_json::from_slice(&bytes).map_err(|error| {
        wrong(format!(
            "the body is not understood ({error}); write {{\"query\": \"SELECT …\", \"parameters\": {{}}}}, in UTF-8"
        ))
    })?;
    let mut parameters = Vec::with_capacity(asked.parameters.len());
    for (name, value) in asked.parameters {
        let value = match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(truth) => Value::Boolean(truth),
            serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(number), _) => Value::Integer(number),
                (None, Some(number)) => Value::Real(number),
                (None, None) => return Err(wrong(format!("the number of {name} can not be read"))),
            },
            serde_json::Value::String(text) => Value::Text(text),
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
                return Err(wrong(format!("{name} is a list or an object; a parameter is one value")));
            }
        };
        parameters.push((name.strip_prefix(':').unwrap_or(&name).to_owned(), value));
    }
    Ok(Question { query: asked.query, parameters })
}

/// The question of a link: `q`, and `p.NAME` for each parameter.
fn linked(pairs: Vec<(String, String)>) -> Result<Question, ApiError> {
    let mut question = Question::default();
    for (name, value) in pairs {
        if name == "q" {
            question.query = value;
        } else if let Some(name) = name.strip_prefix(PARAMETER) {
            question.parameters.push((name.to_owned(), Value::typed(&value)));
        } else {
            let message =
                format!("{name:?} is not known here; a link has q=SELECT… and p.NAME=VALUE for each parameter");
            return Err(ApiError::new(StatusCode::BAD_REQUEST, message));
        }
    }
    Ok(question)
}

/// The status by which a program knows whether another query, or another time, would help.
pub fn status(error: &SqlError) -> StatusCode {
    match error {
        SqlError::Refused(_) | SqlError::Unbound(_) | SqlError::TimedOut(_) | SqlError::TooLarge(_) => {
            StatusCode::BAD_REQUEST
        }
        SqlError::Busy => StatusCode::TOO_MANY_REQUESTS,
        SqlError::NotAvailable(_) | SqlError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn failed(error: SqlError) -> ApiError {
    let told = ApiError::new(status(&error), error.to_string());
    match error {
        SqlError::Store(error) => ApiError::unreadable(&error),
        SqlError::Refused(refusal) => match refusal.place {
            Some(place) => told.at(place.line, place.column),
            None => told,
        },
        _ => told,
    }
}
