//! `/tally/v1/sql`: what `tallyd sql` answers.
//!
//! Programs post JSON; GET answers the links of pages and dashboards. A query only reads, so a GET of it is one. No other
//! site's page comes this far: the guard refuses all that it could send to `/tally/v1`.

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::{ApiError, ApiState, attached};
use crate::report::output;
use crate::store::console::{Answer, MAX_QUERY, Question, SqlError, Value};

/// Longest body, in bytes: the longest query as JSON, and values for its parameters.
const MAX_BODY: usize = 4 * MAX_QUERY;

/// What the name of a parameter begins with in a link.
pub const PARAMETER: &str = "p.";

/// The name under which the file of an answer is saved.
const FILE: &str = "tallyd-query.csv";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    query: String,
    #[serde(default)]
    parameters: serde_json::Map<String, serde_json::Value>,
}

type Link = Query<Vec<(String, String)>>;

pub(super) async fn json(state: State<ApiState>, body: Body) -> Result<Response, SqlFailure> {
    let question = read(body).await?;
    as_json(&state, &question).await
}

pub(super) async fn csv(state: State<ApiState>, body: Body) -> Result<Response, SqlFailure> {
    let question = read(body).await?;
    as_csv(&state, &question).await
}

pub(super) async fn linked_json(state: State<ApiState>, Query(pairs): Link) -> Result<Response, SqlFailure> {
    as_json(&state, &linked(pairs)?).await
}

pub(super) async fn linked_csv(state: State<ApiState>, Query(pairs): Link) -> Result<Response, SqlFailure> {
    as_csv(&state, &linked(pairs)?).await
}

async fn as_json(state: &ApiState, question: &Question) -> Result<Response, SqlFailure> {
    let Answer { table, took } = state.console.ask(question).await?;
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let body = json!({ "columns": table.columns, "rows": output::json(&table), "cut": table.cut, "took_ms": took_ms });
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

async fn as_csv(state: &ApiState, question: &Question) -> Result<Response, SqlFailure> {
    let Answer { table, .. } = state.console.ask(question).await?;
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
    let asked: Asked = serde_json::from_slice(&bytes).map_err(|error| {
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

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum SqlFailure {
    /// The request.
    Api(ApiError),
    /// The query.
    Sql(SqlError),
}

impl From<ApiError> for SqlFailure {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<SqlError> for SqlFailure {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
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

impl IntoResponse for SqlFailure {
    fn into_response(self) -> Response {
        let error = match self {
            Self::Api(error) => return error.into_response(),
            Self::Sql(SqlError::Store(error)) => return ApiError::unreadable(&error).into_response(),
            Self::Sql(error) => error,
        };
        let status = status(&error);
        let mut body = json!({ "error": { "code": status.as_u16(), "message": error.to_string() } });
        if let SqlError::Refused(refusal) = &error
            && let Some(place) = refusal.place
        {
            body["error"]["line"] = place.line.into();
            body["error"]["column"] = place.column.into();
        }
        let mut response = (status, Json(body)).into_response();
        if matches!(error, SqlError::Busy) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
