//! `POST /analytics/query` with the dimension `generation_id`: which generations there were.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::domain::time::Timestamp;
use crate::sim::truth::Billed;

/// Queries taken in a minute.
const A_MINUTE: usize = 64;

/// When the queries of the last minute came, on the clock's elapsed time.
#[derive(Debug, Default)]
pub(in crate::sim) struct Queries(Mutex<VecDeque<Duration>>);

impl Queries {
    /// Whether one more is taken now.
    pub(in crate::sim) fn admit(&self, now: Duration) -> bool {
        let mut queries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while queries.front().is_some_and(|at| *at + Duration::from_mins(1) <= now) {
            queries.pop_front();
        }
        let admitted = queries.len() < A_MINUTE;
        if admitted {
            queries.push_back(now);
        }
        admitted
    }
}

/// The answer's body, with at most `rows` rows or as many as were asked for; `None` for a query that is none.
pub(in crate::sim) fn answer(query: &[u8], billed: &[Arc<Billed>], rows: usize) -> Option<String> {
    let query: Value = serde_json::from_slice(query).ok()?;
    if query["dimensions"] != serde_json::json!(["generation_id"]) || query["metrics"].as_array()?.is_empty() {
        return None;
    }
    let time = |name: &str| Timestamp::parse(query["time_range"][name].as_str()?);
    let (start, end) = (time("start")?, time("end")?);
    let limit = usize::try_from(query["limit"].as_u64().unwrap_or(1_000)).ok()?.min(rows);
    let mut found = billed.iter().filter(|billed| start <= billed.created_at && billed.created_at < end);
    let mut text = String::from("{\"data\":{\"data\":[");
    let shown = found.by_ref().take(limit);
    let mut count = 0;
    for billed in shown {
        let comma = if count == 0 { "" } else { "," };
        count += 1;
        let _ = write!(text, "{comma}{{\"generation_id\":\"{}\",\"request_count\":\"1\"}}", billed.id);
    }
    let truncated = found.next().is_some();
    let _ = write!(text, "],\"metadata\":{{\"query_time_ms\":4,\"row_count\":{count},\"truncated\":{truncated}}}}}}}");
    Some(text)
}
