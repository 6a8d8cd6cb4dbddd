//! `POST /tally/v1/record`: generation IDs that are told.

use std::fmt;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use http_body_util::BodyExt as _;
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::{RawValue, to_raw_value};

use super::{ApiError, ApiState, BadRequest, Refused, TooLarge};
use crate::domain::tally_key::TallyKey;
use crate::ledger::intake::{self, MAX_BODY, MAX_ITEMS, Summary};

/// Most of a body that is too long is read and dropped, in bytes; beyond it the connection is closed.
const MAX_DROPPED: usize = 4 * MAX_BODY;

/// A generation ID, and whose it is.
#[derive(utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "it describes an item, of which each is read by itself so that one that is wrong is refused alone"
)]
struct RecordItem {
    /// The generation ID.
    #[schema(pattern = "^gen-[A-Za-z0-9_-]+$", max_length = 128, example = "gen-1789000001-A1b2C3d4E5f6G7h8I9j0")]
    id: String,
    /// Name of the configured key that made it.
    key: Option<String>,
    /// The application.
    app: Option<String>,
    /// The end user.
    user: Option<String>,
    /// The session.
    session: Option<String>,
    /// Tags.
    tags: Option<std::collections::BTreeMap<String, String>>,
}

/// Record generation IDs
///
/// One object, an array of at most 10,000, or one on each line. A tally key may do so, too, with its labels. What is wrong with an item is told in the answer.
#[utoipa::path(
    post, path = "/tally/v1/record", tag = "telling", request_body(content((Vec<RecordItem> = "application/json"), (String = "application/x-ndjson")), description = "The IDs"),
    responses((status = 202, description = "What became of them", body = Summary), BadRequest, TooLarge, Refused)
)]
pub(super) async fn record(
    State(state): State<ApiState>,
    teller: Option<Extension<Arc<TallyKey>>>,
    body: Body,
) -> Result<(StatusCode, Json<Summary>), ApiError> {
    let body = whole(body).await?;
    let items = items(&body)?;
    let teller = teller.as_ref().map(|Extension(key)| &**key);
    let summary = intake::take(&state.ledger, &state.clock, &state.entropy, &state.keys, teller, &items)
        .await
        .map_err(|error| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    Ok((StatusCode::ACCEPTED, Json(summary)))
}

/// The body, if it is no longer than [`MAX_BODY`]. Of a longer one the rest is read and dropped, so that whoever sends it gets
/// to read the answer.
async fn whole(mut body: Body) -> Result<Vec<u8>, ApiError> {
    let (mut read, mut length) = (Vec::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            let message = "the body did not come whole; nothing was recorded, send it again";
            ApiError::new(StatusCode::BAD_REQUEST, message)
        })?;
        let Some(data) = frame.data_ref() else { continue };
        length = length.saturating_add(data.len());
        if length <= MAX_BODY {
            read.extend_from_slice(data);
        } else {
            read = Vec::new();
        }
        if length > MAX_DROPPED {
            break;
        }
    }
    if length > MAX_BODY {
        let message = format!("the body is longer than {MAX_BODY} bytes; send it in parts");
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    Ok(read)
}

/// One object, an array, or NDJSON; a line of NDJSON that does not parse is refused alone. Each item as its own text.
fn items(body: &[u8]) -> Result<Vec<Box<RawValue>>, ApiError> {
    let wrong = || {
        let message = "the body is neither an object {\"id\":\"gen-…\"}, nor an array of them, nor one on each line";
        ApiError::new(StatusCode::BAD_REQUEST, message)
    };
    let too_many = |count: usize| {
        let message = format!("{count} items are more than {MAX_ITEMS}; send them in parts");
        Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message))
    };
    let text = std::str::from_utf8(body).map_err(|_| wrong())?.trim_ascii();
    match text.as_bytes().first() {
        Some(b'[') => {
            let Elements { items, count } = serde_json::from_str(text).map_err(|_| wrong())?;
            return if count > MAX_ITEMS { too_many(count) } else { Ok(items) };
        }
        Some(b'{') => {
            if let Ok(item) = serde_json::from_str(text) {
                return Ok(vec![item]);
            }
        }
        _ => {}
    }
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let object = |line: &str| serde_json::from_str::<Box<RawValue>>(line).ok().filter(|_| line.starts_with('{'));
    if !lines().any(|line| object(line).is_some()) {
        return Err(wrong());
    }
    let count = lines().count();
    if count > MAX_ITEMS {
        return too_many(count);
    }
    // A line that is none stays a text, so that the answer can name it.
    let of_line = |line: &str| object(line).map_or_else(|| to_raw_value(line), Ok);
    lines().map(of_line).collect::<Result<_, _>>().map_err(|_| wrong())
}

/// The elements of an array, of which no more are held than are taken at once; all are counted.
struct Elements {
    items: Vec<Box<RawValue>>,
    count: usize,
}

impl<'de> Deserialize<'de> for Elements {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Elements;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Elements, A::Error> {
                let mut items = Vec::new();
                while items.len() < MAX_ITEMS {
                    let Some(item) = list.next_element()? else { break };
                    items.push(item);
                }
                let mut count = items.len();
                while list.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Elements { items, count })
            }
        }
        deserializer.deserialize_seq(List)
    }
}
